"""Sparse 3-D convolution in plain PyTorch.

Which input site meets which output site at which kernel position is written into a *rulebook* once per resolution; a
convolution then gathers, multiplies and adds, one kernel position after the other.  Weights have the layout of the
released checkpoints, (kx, ky, kz, C_in, C_out), and are applied as a cross-correlation.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ddp_repro.networks.precision import full_precision

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Sites:
    """Occupied sites of a batch of grids.

    Attributes:
        coordinates: (N, 4) int64, sample, x, y, z; sorted, no site twice.
        shape: (X, Y, Z).
        batch: number of grids.
    """

    coordinates: Tensor
    shape: Triple
    batch: int

    def keys(self, margin: int = 0) -> Tensor:
        """Return a number per site (N,), ascending; with a margin, neighbours' differ by the same everywhere."""
        key = self.coordinates[:, 0]
        for axis, length in enumerate(self.shape):
            key = key * (length + 2 * margin) + self.coordinates[:, axis + 1] + margin
        return key

    def dense(self, features: Tensor) -> Tensor:
        """Features (N, C) -> (B, C, X, Y, Z), zero where there is no site."""
        grid = features.new_zeros(self.batch * math.prod(self.shape), features.shape[1])
        grid = grid.index_copy(0, self.keys(), features)
        return grid.view(self.batch, *self.shape, -1).movedim(-1, 1)


@dataclass(frozen=True)
class Rulebook:
    """For each kernel position (in row-major order), the pairs of input and output site that meet there.

    Attributes:
        pairs: (input numbers, output numbers), int64, per kernel position; an output occurs at most once in each.
        sites: the output's.
    """

    pairs: tuple[tuple[Tensor, Tensor], ...]
    sites: Sites


def submanifold_rulebook(sites: Sites) -> Rulebook:
    """3×3×3 kernel, stride 1; the output has the input's sites."""
    keys, numbers = sites.keys(margin=1), torch.arange(len(sites.coordinates), device=sites.coordinates.device)
    _, height, depth = (length + 2 for length in sites.shape)
    pairs = []
    for x, y, z in list(itertools.product((-1, 0, 1), repeat=3))[:13]:  # the other half mirrors this one
        wanted = keys + (x * height + y) * depth + z
        place = torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)
        outputs = (keys[place] == wanted).nonzero()[:, 0]
        pairs.append((place[outputs], outputs))
    mirrored = [(outputs, inputs) for inputs, outputs in reversed(pairs)]
    return Rulebook((*pairs, (numbers, numbers), *mirrored), sites)


def strided_rulebook(sites: Sites, kernel: Triple, stride: Triple, padding: Triple) -> Rulebook:
    """Any kernel; an output site exists where at least one input site falls into its window."""
    shape: Triple = tuple(
        (n + 2 * p - k) // s + 1 for n, k, s, p in zip(sites.shape, kernel, stride, padding, strict=True)
    )  # type: ignore[assignment]
    reached = [  # per axis and kernel position: the output coordinate, and whether there is one
        [_output_coordinate(sites.coordinates[:, axis + 1] + padding[axis] - k, stride[axis], shape[axis])
         for k in range(kernel[axis])]
        for axis in range(3)
    ]  # fmt: skip
    inputs, keys = [], []
    for (x, in_x), (y, in_y), (z, in_z) in itertools.product(*reached):
        chosen = (in_x & in_y & in_z).nonzero()[:, 0]
        key = ((sites.coordinates[:, 0] * shape[0] + x) * shape[1] + y) * shape[2] + z
        inputs.append(chosen)
        keys.append(key[chosen])
    unique, outputs = torch.unique(torch.cat(keys), return_inverse=True)
    pairs = zip(inputs, outputs.split([len(i) for i in inputs]), strict=True)
    return Rulebook(tuple(pairs), Sites(_coordinates(unique, shape), shape, sites.batch))


def _output_coordinate(offset: Tensor, stride: int, length: int) -> tuple[Tensor, Tensor]:
    coordinate = offset.div(stride, rounding_mode="floor")
    return coordinate, (offset % stride == 0) & (coordinate >= 0) & (coordinate < length)


def _coordinates(keys: Tensor, shape: Triple) -> Tensor:
    columns = []
    for length in reversed(shape):
        columns.append(keys % length)
        keys = keys // length
    return torch.stack([keys, *reversed(columns)], dim=1)


class _GatherMultiplyAdd(torch.autograd.Function):
    """Keeps features, weight and rulebook for the backward pass, and nothing else."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, rulebook: Rulebook) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.rulebook = rulebook
        result = features.new_zeros(len(rulebook.sites.coordinates), weight.shape[-1])
        for (inputs, outputs), matrix in zip(rulebook.pairs, weight.flatten(0, 2), strict=True):
            result.index_add_(0, outputs, features.index_select(0, inputs) @ matrix)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, weight = ctx.saved_tensors
        to_features = torch.zeros_like(features) if ctx.needs_input_grad[0] else None
        to_weight = torch.empty_like(weight).flatten(0, 2) if ctx.needs_input_grad[1] else None
        with full_precision(gradient.device):
            for position, (inputs, outputs) in enumerate(ctx.rulebook.pairs):
                arrived = gradient.index_select(0, outputs)
                if to_features is not None:
                    to_features.index_add_(0, inputs, arrived @ weight.flatten(0, 2)[position].T)
                if to_weight is not None:
                    torch.mm(features.index_select(0, inputs).T, arrived, out=to_weight[position])
        return to_features, None if to_weight is None else to_weight.view_as(weight), None


class SparseConv3d(nn.Module):
    """Sparse convolution without bias; what it connects is the rulebook's business.

    Args:
        kernel: sizes along x, y and z.
    """

    def __init__(self, inputs: int, outputs: int, kernel: Triple = (3, 3, 3)) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(*kernel, inputs, outputs))
        # On the raw five axes, as released: the bound is 1 / sqrt(ky · kz · C_in · C_out)
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, features: Tensor, rulebook: Rulebook) -> Tensor:
        """Features (N, C_in) of the input's sites -> (N', C_out) of ``rulebook.sites``; in full precision."""
        with full_precision(features.device):  # up to 27 products are added into a site
            return _GatherMultiplyAdd.apply(features.to(self.weight.dtype), self.weight, rulebook)
