"""A one-step pipeline as one graph, for ``ddp-repro export``: from the normalised image to the task's map."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from ddp_repro.interop.export.parts import EXAMPLE_BATCH, Exportable, Part
from ddp_repro.papers.genpercept.method import Encoded
from ddp_repro.papers.genpercept.settings import ModelConfig

# Of the example, in multiples of the stride.  No level of the U-Net halves the latent of it without remainder: the path
# of the U-Net that holds for any size, where it hands on the size of every level.
ROWS, COLUMNS = 9, 11


class SizedUpsample(Upsample2D):
    """diffusers' layer of the same parameters, for graphs alone: it asks no question of the size that it doubles."""

    def forward(self, hidden_states: Tensor, output_size: Any = None, *args: Any, **kwargs: Any) -> Tensor:
        """(B, C, h, w) -> (B, C, 2·h, 2·w), or of another size."""
        size = [2 * length for length in hidden_states.shape[-2:]] if output_size is None else output_size
        return self.conv(F.interpolate(hidden_states, size=size, mode="nearest"))  # type: ignore[misc]


class OneStep(nn.Module):
    """The whole inference of a one-step pipeline."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1], H and W multiples of the model's stride -> the task's map (B, C, H, W)."""
        height, width = image.shape[-2:]
        # Without the padding of encode_image: every size in the graph would be a formula of it.
        return self.model.sample(features=Encoded(self.model.latent(image), (height, width)))


def one_graph(model: Any) -> Exportable:
    """Return the graph of a copy of a one-step pipeline, and what its values are."""
    model = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    for module in model.modules():
        if type(module) is Upsample2D:
            module.__class__ = SizedUpsample
    example = {"image": torch.zeros(EXAMPLE_BATCH, 3, ROWS * model.stride, COLUMNS * model.stride)}
    facts = {"multiple": model.stride, "output": _output(model.config)}
    return Exportable({"model": Part(OneStep(model), example, ("prediction",))}, facts)


def _output(config: ModelConfig) -> dict[str, Any]:
    """Return what a graph's values are, for ``model.json``."""
    match config.task:
        case "segmentation":
            return {"kind": "scores"}
        case "normals":
            return {"kind": "values", "low": -1, "high": 1, "unit": None, "of": "unit normals"}
        case "affine_depth":
            return {"kind": "values", "low": 0, "high": 1, "unit": None, "of": f"affine-invariant {config.space}"}
        case _:
            return {"kind": "values", "low": 0, "high": 1, "unit": None, "of": "share of the foreground"}
