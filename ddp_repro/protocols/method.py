"""What a model must bring; :class:`ddp_repro.papers.ddp.model.DDP` is an example."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn


class Method(nn.Module):
    """A paper's model of one task.  Any module with these parts will do: the class adds their types alone.

    Attributes:
        config: its settings, a subclass of :class:`ddp_repro.settings.kinds.ModelSettings`.
        mean, std: normalisation of its pictures, RGB on the 0..255 scale.
        encode: a batch -> the feature that is sampled from (or whatever ``sample`` takes as ``features``).
        encode_image: normalised pictures (B, 3, H, W) -> the same.
        sample: ``sample(features=…, steps=…, generator=…)`` -> the prediction (B, C, h, w); without diffusion it
            takes the features alone.
        finish: the decoder's outputs of the steps -> the model's output, of the last or averaged.
        training_loss: a batch -> ``loss`` to minimise, and its parts, detached.
    """

    config: Any
    mean: Sequence[float]
    std: Sequence[float]
    encode: Callable[..., Any]
    encode_image: Callable[..., Any]
    sample: Callable[..., Any]
    finish: Callable[..., Tensor]
    training_loss: Callable[..., dict[str, Tensor]]
