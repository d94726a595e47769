"""What the code of a model and its task does, in numbers: a small model of its family on a made-up batch.

Two versions of the code with equal numbers behave the same as far as this goes: pre-processing and augmentation,
network, losses and gradients, sampling, predictions at the pictures' own size, and what is counted of them.  Reading
files, and what the trainer does around a step, are not in it.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ddp_repro.data.spec import IGNORE
from ddp_repro.diffusion import image_generator
from ddp_repro.evaluation.views import View, ViewedImage, inference_mode, views_of
from ddp_repro.protocols.registry import task_named
from ddp_repro.protocols.task import Tally
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.kinds import DataSettings, ModelSettings
from ddp_repro.store.work import COUNTED

Numbers = dict[str, float | None]
STEPS, SEED = 2, 0
SHIFT = 7  # pixels
PLACES = 4  # of an output, that are looked at one by one


def probe_scores(model: ModelSettings, data: DataSettings, evaluation: Any) -> Numbers:
    """Return numbers of what decides scores: samples, and tallies of their predictions and of the truth shifted.

    Args:
        model, data, evaluation: of a recipe.

    Raises:
        ConfigError: the small model or the made-up batch fails; says of which model and task.
    """
    with _alone(model):
        task, network = task_named(model.task), _filled(model.small().build())
        batch = cast(Any, task).made_up_batch(network.config, data, False)
        with inference_mode(network):
            samples = _sampled(network, batch, min(STEPS, max(evaluation.steps)))
            return _summary("sample", samples) | _tallied(task, network, batch, samples, evaluation)


def probe_weights(
    model: ModelSettings, data: DataSettings, train: Any, optimizer: Callable[[nn.Module], torch.optim.Optimizer]
) -> Numbers:
    """Return numbers of what decides trained weights: initial ones, losses, their gradient, and how far a step goes.

    Args:
        model, data, train: of a recipe.
        optimizer: makes the optimiser of a network.

    Raises:
        ConfigError: as :func:`probe_scores`.
    """
    with _alone(model):
        torch.manual_seed(SEED)
        network = model.small().build()
        first = sum(float(parameter.detach().flatten()[0]) for parameter in network.parameters())
        batch = cast(Any, task_named(model.task)).made_up_batch(network.config, data, True)
        tensors = {name: value for name, value in batch.items() if name != "id"}
        torch.manual_seed(SEED)
        network: Any = _filled(network).train()
        aligned = getattr(train, "self_aligned", "off")
        losses = network.training_loss(tensors) if aligned == "off" else network.self_aligned_loss(tensors, aligned)
        losses["loss"].backward()
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
        before = [parameter.detach().clone() for parameter in network.parameters()]
        optimizer(network).step()
        pairs = zip(network.parameters(), before, strict=True)
        step = torch.stack([(parameter.detach() - old).norm() for parameter, old in pairs]).norm()
        pictures = _summary("training image", batch["image"]) if "image" in batch else {}
        values = {f"loss {name}": _number(value) for name, value in losses.items()}
        return {"initial weights": first} | pictures | values | {
            "gradient norm": _number(norm), "gradient step": _number(step),
        }  # fmt: skip


@contextmanager
def _alone(model: ModelSettings) -> Iterator[None]:
    """Leave torch's random numbers and modes as they were, and say whose code it is that fails."""
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
            yield
    except Exception as error:
        raise ConfigError(
            f"trying the code of {type(model).__name__} failed ({error!r}): its small() must build, and take what "
            f"made_up_batch of task {model.task!r} makes"
        ) from error


def _filled(network: nn.Module) -> nn.Module:
    """Return the network with weights that follow from their names, whatever order it draws its initial ones in."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
            noise = torch.from_numpy(np.asarray(rng.standard_normal(tuple(parameter.shape), dtype=np.float32)))
            if parameter.dim() > 1:
                noise /= math.sqrt(math.prod(parameter.shape[1:]))
            else:
                noise = 0.1 * noise + float(name.endswith("weight"))
            parameter.copy_(noise)
    return network


def _sampled(network: Any, batch: dict[str, Any], steps: int) -> Tensor:
    options: dict[str, Any] = {"steps": steps} if network.has_steps else {}
    if network.has_noise:
        options["generator"] = [image_generator(SEED, name) for name in batch["id"]]
    return network.sample(features=network.encode(batch), **options)


def _tallied(task: Any, network: nn.Module, batch: dict[str, Any], samples: Tensor, evaluation: Any) -> Numbers:
    truths = batch[task.truth]
    counted, tally = task.tally(network.config, evaluation), task.tally(network.config, evaluation)
    if task.evaluate is None:
        views = [View(), View(flip=True)][: len(views_of(evaluation))]
        shown = [[picture, picture.flip(-1)][: len(views)] for picture in batch["image"]]
        images = [ViewedImage(*each) for each in zip(batch["id"], shown, truths, strict=True)]
        predictor = task.predictor(network, images, views, evaluation.view_average)
        steps = min(STEPS, max(evaluation.steps))
        run = (steps if network.has_steps else 1, SEED if network.has_noise else None)
        predictions: Any = predictor.predictions(*run)
    else:
        predictions = samples
    for prediction, truth in zip(predictions, truths, strict=True):
        _count(counted, prediction, truth)
        _count(tally, _as_prediction(truth.roll(SHIFT, -1)).to(prediction.dtype), truth)
    values = {COUNTED: counted, "tally": tally}
    return {f"{name} {metric}": _finite(each.value(metric)) for name, each in values.items() for metric in each.metrics}


def _as_prediction(truth: Tensor) -> Tensor:
    """Return truth as a model could predict it: no class is "ignored"."""
    return truth if truth.is_floating_point() else truth.masked_fill(truth == IGNORE, 0)


def _count(tally: Tally, prediction: Tensor, truth: Tensor) -> None:
    """Count one image by the parts of a tally that the protocol asks for."""
    tally.add({name: np.asarray(value)[None] for name, value in tally.image_statistics(prediction, truth).items()})


def _summary(name: str, values: Tensor) -> Numbers:
    flat = values.detach().double().flatten()
    places = np.random.default_rng(SEED).integers(0, len(flat), PLACES)
    return {
        f"{name} mean": _number(flat.mean()), f"{name} deviation": _number(flat.std()),
        **{f"{name} at {place}": _number(flat[place]) for place in places.tolist()},
    }  # fmt: skip


def _number(value: Tensor) -> float | None:
    return _finite(float(value.detach()))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
