"""What a model must bring to be trained and evaluated; :mod:`ddp_repro.papers.ddp.model` is an example."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from ddp_repro.settings.errors import ConfigError


class Method(nn.Module):
    """A paper's model of one task.  Any module with these parts will do: the class adds their types alone.

    Attributes:
        config: its settings, a subclass of :class:`ddp_repro.settings.kinds.ModelSettings`, of which training and
            evaluation ask the ``task``.
        mean, std: of the image normalisation, RGB on the 0..255 scale.
        has_noise: whether a prediction depends on random numbers: only then are seeds tried, and generators given.
        has_steps: whether it takes a number of steps: only then are several tried, and ``steps`` given.
        encode: ``encode(batch)`` -> what ``sample`` needs of a batch's inputs ("image" (B, 3, H, W)), computed once.
        sample: ``sample(features=…, steps=…, generator=…)`` -> the prediction (B, C, h, w) of what ``encode`` returned;
            one generator for the batch or one per image, so that a batch gives what its images give. With ``has_steps``
            also ``return_trajectory`` and ``on_step``, which is told the :class:`Trajectory` so far after every step.
        training_loss: ``training_loss(batch)`` -> "loss", to minimise, and its parts for the log, of a batch with the
            task's ground truth.

    What some models have besides:
        undecayed(name): whether a parameter has no weight decay (in its absence: all have).
        self_aligned_loss(batch, variant): the loss of ``train.self_aligned``.
        dialects: foreign checkpoints that it understands, see :mod:`ddp_repro.protocols.dialect`.
        error_bounds: by numbers of steps, what turns the uncertainty of predictions into the error that it stands for:
            a dict of :class:`ddp_repro.evaluation.uncertainty.bounds.ErrorBound`.
        backbone, decoder: what compiling, gradient checkpointing and ``train.backbone_weights`` work on.
    """

    config: Any
    mean: Sequence[float]
    std: Sequence[float]
    has_noise: bool
    has_steps: bool
    encode: Callable[..., Any]
    sample: Callable[..., Any]
    training_loss: Callable[..., dict[str, Tensor]]


Use = Literal["training", "evaluation"]
_PARTS: dict[Use, tuple[str, ...]] = {
    "training": ("config", "mean", "std", "training_loss"),
    "evaluation": ("config", "mean", "std", "has_noise", "has_steps", "encode", "sample"),
}


def check_method(model: Any, use: Use, *more: str) -> None:
    """Refuse a model that lacks a part of :class:`Method`.

    Args:
        more: further parts that are needed.

    Raises:
        ConfigError: names the parts that it lacks.
    """
    missing = [name for name in (*_PARTS[use], *more) if not hasattr(model, name)]
    if missing:
        raise ConfigError(f"a {type(model).__name__} cannot be used for {use}: it lacks {', '.join(missing)}")
