"""One iteration: micro-batches to gradients, gradients to weights."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from ddp_repro.protocols.method import Method
from ddp_repro.settings.recipe import TrainConfig
from ddp_repro.training.curves import betas, learning_rate
from ddp_repro.training.interruption import StopSignal
from ddp_repro.training.optimizer import build_optimizer
from ddp_repro.training.running_statistics import RunningStatistics
from ddp_repro.training.stream import BatchLayout, model_seed

Batch = dict[str, Any]  # "image" (b, 3, h, w), "label" or "depth" (b, h, w), "id" list of b; or that of models.bev


class TrainingDiverged(RuntimeError):
    """A loss or gradient is not finite; the last saved state is from before that."""


class TrainingLoss(nn.Module):
    """A model's loss as a forward pass, which is where DistributedDataParallel and autocast hook in."""

    def __init__(self, model: Method, self_aligned: str) -> None:
        super().__init__()
        self.model = model
        self.self_aligned = self_aligned

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the batch's loss under ``loss``, and its parts."""
        if self.self_aligned == "off":
            return self.model.training_loss(batch)
        return cast(Any, self.model).self_aligned_loss(batch, self.self_aligned)


class Step:
    """Updates the weights by one global batch.

    Attributes:
        optimizer: accelerate's wrapper of the recipe's.
    """

    def __init__(self, model: Method, config: TrainConfig, accelerator: Accelerator, layout: BatchLayout) -> None:
        self.model, self.config, self.accelerator, self.layout = model, config, accelerator, layout
        loss, optimizer = TrainingLoss(model, config.self_aligned), build_optimizer(model, config)
        self.loss, self.optimizer = accelerator.prepare(loss, optimizer)
        self.statistics = RunningStatistics(model, accelerator, layout)

    def __call__(self, iteration: int, batches: list[Batch], stop: StopSignal) -> dict[str, float]:
        """Train on this process's micro-batches of one iteration.

        Args:
            iteration: counted from 0.
            batches: one per number in ``layout.own_micro_batches``.
            stop: tells whether this process has been asked to stop.

        Returns:
            ``learning_rate``; the losses, averaged over the global batch; ``grad_norm`` before clipping; ``stop`` > 0
            where any process has been asked to stop.  The same on all processes.

        Raises:
            TrainingDiverged: a loss or gradient is not finite; the weights are still those before the iteration.
        """
        rate = learning_rate(self.config, iteration)
        for group in self.optimizer.param_groups:
            group["lr"], group["betas"] = rate, betas(self.config, iteration)
        self.optimizer.zero_grad()
        losses = self._accumulate_gradients(iteration, batches)
        norm = cast(
            Tensor, self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.clip_norm or math.inf)
        )
        values = {name: torch.stack([each[name] for each in losses]).mean() for name in losses[0]}
        asked = torch.tensor(float(stop.received), device=norm.device)
        numbers = self._average({**values, "grad_norm": norm, "stop": asked})
        self._refuse_not_finite(iteration, numbers, batches, losses)
        self.optimizer.step()
        return {"learning_rate": rate, **numbers}

    def _accumulate_gradients(self, iteration: int, batches: list[Batch]) -> list[dict[str, Tensor]]:
        """Average the gradients over the micro-batches; processes exchange theirs during the last."""
        own, losses = self.layout.own_micro_batches, []
        self.statistics.begin_iteration()
        for micro_batch, batch in zip(own, batches, strict=True):
            torch.manual_seed(model_seed(self.config.seed, iteration, micro_batch))
            tensors = on_device(batch, self.accelerator.device)
            with nullcontext() if micro_batch == own[-1] else self.accelerator.no_sync(self.loss):
                loss = self.loss(tensors)
                with self.statistics.unchanged() if self.config.gradient_checkpointing else nullcontext():
                    self.accelerator.backward(loss["loss"] / len(own))
            self.statistics.after_micro_batch(micro_batch)
            losses.append({name: value.detach() for name, value in loss.items()})
        self.statistics.end_iteration()
        return losses

    def _average(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Average over processes: one exchange, and one transfer from the device, for all values."""
        together = torch.stack([value.float() for value in values.values()])
        averages = cast(Tensor, self.accelerator.reduce(together, "mean"))
        return dict(zip(values, averages.tolist(), strict=True))

    def _refuse_not_finite(
        self, iteration: int, values: dict[str, float], batches: list[Batch], losses: list[dict[str, Tensor]]
    ) -> None:
        # With fp16, an infinite gradient is part of the search for the loss scale: the scaler skips that step.
        checked = ("loss",) if self.accelerator.scaler else ("loss", "grad_norm")
        bad = next((name for name in checked if not math.isfinite(values[name])), None)
        if bad is None:
            return
        everything = bad == "grad_norm"  # it is a sum over all images
        own = [b["id"] for b, each in zip(batches, losses, strict=True) if everything or not each["loss"].isfinite()]
        ids = [name for batch in gather_object(own) for name in batch]
        raise TrainingDiverged(
            f"iteration {iteration + 1}: {bad} is {values[bad]} for the images {', '.join(ids)}; the weights of the "
            "last checkpoint are kept. Look at these images, lower train.learning_rate or set train.clip_norm"
        )


def on_device(batch: Batch, device: torch.device) -> Batch:
    """Return a batch's tensors on a device, without the images' names."""
    return {name: _moved(value, device) for name, value in batch.items() if name != "id"}


def _moved(value: Tensor | list[Tensor], device: torch.device) -> Tensor | list[Tensor]:
    """Return a tensor, or a list of LiDAR clouds, on ``device``."""
    if isinstance(value, list):
        return [each.to(device, non_blocking=True) for each in value]
    return value.to(device, non_blocking=True)
