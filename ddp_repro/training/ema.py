"""An exponential moving average of the weights: what a recipe with ``train.ema_momentum`` evaluates and saves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ddp_repro.settings.recipe import TrainConfig


class MovingAverage:
    """The average E ← (1-m) E + m W of the weights W, taken every ``ema_every`` iterations with m = ``ema_momentum``.

    As released with DDPS: constant momentum, from the initial weights on, running statistics included.  The release
    also averages its constant tables, some of whose entries are minus infinity; what does not change is not averaged
    here.  Every process holds the average, and since weights and statistics are the same on all of them, so is it.

    Attributes:
        averages: by name in the state dict: trainable parameters, and running means and variances.
    """

    def __init__(self, model: nn.Module, config: TrainConfig, saved: Mapping[str, Tensor]) -> None:
        """Start from the model's weights, or from what was ``saved``; call when they are where they will be trained."""
        self._every, self._momentum = config.ema_every, config.ema_momentum or 0.0
        averaged = _averaged(model) if config.ema_momentum is not None else {}
        self._weights = list(averaged.values())
        self.averages = {name: saved.get(name, value).detach().to(value, copy=True) for name, value in averaged.items()}

    @torch.no_grad()
    def update(self, iterations: int) -> None:
        """Take the weights after so many iterations into the average, if it is time."""
        if self._weights and iterations % self._every == 0:
            torch._foreach_lerp_(list(self.averages.values()), self._weights, self._momentum)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within, the model has the averaged weights."""
        raw = [weight.detach().clone() for weight in self._weights]
        self._copy(list(self.averages.values()))
        try:
            yield
        finally:
            self._copy(raw)

    @torch.no_grad()
    def _copy(self, values: list[Tensor]) -> None:
        for weight, value in zip(self._weights, values, strict=True):
            weight.copy_(value)


def _averaged(model: nn.Module) -> dict[str, Tensor]:
    """Return what training changes, by name in the state dict, counters of batches apart."""
    tensors: dict[str, Tensor] = {name: each for name, each in model.named_parameters() if each.requires_grad}
    for prefix, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            tensors |= {f"{prefix}.{name}": each for name, each in module.named_buffers() if each.is_floating_point()}
    return tensors
