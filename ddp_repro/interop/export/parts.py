"""What is exported of a model: modules with example inputs, and the facts that a loop around their graphs needs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

EXAMPLE_BATCH, EXAMPLE_SIZE = 2, (296, 404)  # of any size: a graph holds for others; several windows of every level


@dataclass(frozen=True)
class Part:
    """A module that becomes one graph.

    Attributes:
        example: inputs by the names of the module's arguments.  Batch, height and width are free in the graph: the
            first dimension of every input, and the last two of those with four.
        outputs: names of what the module returns.
    """

    module: nn.Module
    example: Mapping[str, Tensor]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Exportable:
    """Graphs by name, and facts for ``model.json``: of the sampling loop, of what comes out."""

    parts: Mapping[str, Part]
    facts: dict[str, Any] = field(default_factory=dict)


class Encoder(nn.Module):
    """Normalised images to image features, once per image."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, D, h, w)"""
        if self.model.backbone.family == "swin":
            from ddp_repro.interop.export.indexed import whole_patches

            image = whole_patches(image, self.model.stride)
        return self.model.encode_image(image)


class Step(nn.Module):
    """One pass of the map decoder, and the clean map that its prediction stands for."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, noisy_map: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, D, h, w), map (B, M, h, w), times (B,) -> prediction (B, C, h, w), clean map (B, M, h, w)."""
        prediction = self.model.decode(features, noisy_map, time)
        return prediction, self.model.clean_map(prediction)


def encoder_and_step(model: Any) -> dict[str, Part]:
    """Return a copy's parts of a model with ``backbone``, ``encode_image``, ``decode`` and ``clean_map``."""
    from ddp_repro.interop.export.indexed import index_padding

    model = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    index_padding(model)
    height, width = (size // model.stride for size in EXAMPLE_SIZE)
    example = {
        "features": torch.zeros(EXAMPLE_BATCH, model.config.channels, height, width),
        "noisy_map": torch.zeros(EXAMPLE_BATCH, model.map_channels, height, width),
        "time": torch.ones(EXAMPLE_BATCH),
    }
    image = {"image": torch.zeros(EXAMPLE_BATCH, 3, *EXAMPLE_SIZE)}
    return {
        "encoder": Part(Encoder(model), image, ("features",)),
        "step": Part(Step(model), example, ("prediction", "clean_map")),
    }
