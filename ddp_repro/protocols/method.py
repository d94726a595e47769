"""What a model must bring to be trained and evaluated; :mod:`ddp_repro.papers.ddp.model` is an example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.kinds import ModelSettings


class Method(Protocol):
    """A model, which is also a :class:`torch.nn.Module`.

    Attributes:
        config: its settings, of which training and evaluation ask the ``task``.
        mean, std: of the image normalisation, RGB on the 0..255 scale.
        has_noise: whether a prediction depends on random numbers: only then are seeds tried, and generators given.
        has_steps: whether it takes a number of steps: only then are several tried, and ``steps`` given.

    What some models have besides:
        undecayed(name): whether a parameter has no weight decay (in its absence: all have).
        self_aligned_loss(batch, variant): the loss of ``train.self_aligned``.
        dialects: foreign checkpoints that it understands, see :mod:`ddp_repro.protocols.dialect`.
        backbone, decoder: what compiling, gradient checkpointing and ``train.backbone_weights`` work on.
    """

    config: ModelSettings
    mean: Sequence[float]
    std: Sequence[float]
    has_noise: bool
    has_steps: bool

    def encode(self, batch: Any) -> Any:
        """Return what :meth:`sample` needs of a batch's inputs ("image" (B, 3, H, W)), computed once."""
        ...

    def sample(
        self,
        *,
        features: Any,
        steps: int = 1,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
    ) -> Tensor:
        """Return the prediction (B, C, h, w) of what :meth:`encode` returned.

        Args:
            generator: one for the batch or one per image, so that a batch gives what its images give.
        """
        ...

    def training_loss(self, batch: Any) -> dict[str, Tensor]:
        """Return "loss", to minimise, and its parts for the log, of a batch with the task's ground truth."""
        ...


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
