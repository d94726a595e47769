"""Single-level deformable attention (Deformable DETR, as used by the map decoder of Section 3.3).

Each query looks at ``points`` places around itself in each head; the value map is read there bilinearly (zero outside)
and the readings are averaged with the attention weights.

Places and weights are held as planes, with the queries in the last dimension: the softmax over points and the
arithmetic of the corners then run over long contiguous lines, on any device.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddp_repro.networks.attention.backend import attention_backend, attention_by
from ddp_repro.networks.attention.mmcv import attend_mmcv
from ddp_repro.networks.caching import kept
from ddp_repro.networks.kernels import attention as native_attention
from ddp_repro.networks.kernels import operator as native_operator
from ddp_repro.settings.errors import ConfigError

__all__ = ["BACKENDS", "DeformableAttention", "attention_backend", "attention_by"]

Shape = tuple[int, int]
Lines = tuple[Tensor, Tensor]  # something per row (h, ...) and per column (w, ...)


def attend_reference(value: Tensor, locations: Tensor, weights: Tensor, shape: Shape) -> Tensor:
    """Gather through ``grid_sample``: runs everywhere and can be exported.

    Args:
        value: (B, h·w, heads, c), row-major tokens of an h×w map.
        locations: (B, 2, heads, points, N), x and y in pixels; the centre of the first pixel is (0, 0).
        weights: (B, heads, points, N), summing to one over points.
        shape: (h, w).

    Returns:
        (B, N, heads·c)
    """
    (height, width), (batch, heads, points, queries) = shape, weights.shape
    maps = value.permute(0, 2, 3, 1).reshape(batch * heads, -1, height, width)
    x, y = locations.unbind(1)
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1).flatten(0, 1)
    read = F.grid_sample(maps.to(grid.dtype), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    read = (read * weights.reshape(batch * heads, 1, points, queries)).sum(2)
    return read.view(batch, -1, queries).transpose(1, 2)


def bags(locations: Tensor, weights: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
    """One image's attention as the weighted sum that it is: index and weight of the terms, both (N·heads, 4·points).

    Bilinear weights are products of hat functions of the distance along each axis, zero from one pixel away on.  The
    two pixels that are read along an axis lie always within it: outside, both are too far away to count.

    Args:
        locations: (2, heads, points, N), in pixels.
        weights: (heads, points, N).
        shape: (h, w), both at least 2.

    Returns:
        The index is the row in the flattened value, token·heads + head; int32.
    """
    (height, width), (heads, points, queries) = shape, weights.shape
    last = _constant((width - 2, height - 2), locations.dtype, locations.device).view(2, 1, 1, 1)
    low = locations.detach().floor().clamp_(torch.zeros_like(last), last)
    distance = (locations - low)[:, :, None] - _constant((0, 1), low.dtype, low.device).view(2, 1, 1)
    at_x, at_y = (1 - distance.abs()).relu().unbind(0)  # (heads, 2, points, N)
    weight = (weights[:, None] * at_x)[:, None] * at_y[:, :, None]
    x, y = low.int().unbind(0)
    corners = (0, heads, heads * width, heads * (width + 1))
    steps = _constant(tuple(head + step for head in range(heads) for step in corners), x.dtype, x.device)
    index = torch.add(steps.view(heads, 4, 1, 1), torch.add(x, y, alpha=width)[:, None], alpha=heads)
    index, weight = (terms.view(-1, queries).t().reshape(-1, 4 * points) for terms in (index, weight))
    return index, weight


@kept(64)
def _constant(numbers: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(numbers, dtype=dtype, device=device)


def attend_cpu(value: Tensor, locations: Tensor, weights: Tensor, shape: Shape) -> Tensor:
    """Sum as one weighted ``embedding_bag`` over corners × points: no sampled tensor is ever stored."""
    value, shape = _at_least_two_pixels(value, shape)
    value = value.to(weights.dtype)  # autocast leaves the weights in float32
    read = []
    for image, places, shares in zip(value, locations, weights, strict=True):
        index, weight = bags(places, shares, shape)
        read.append(F.embedding_bag(index, image.flatten(0, 1), mode="sum", per_sample_weights=weight))
    whole = torch.stack(read) if len(read) > 1 else read[0]
    return whole.view(len(value), weights.shape[-1], -1)


def _at_least_two_pixels(value: Tensor, shape: Shape) -> tuple[Tensor, Shape]:
    """Append zeros where the map is one pixel wide or high: two are read along each axis."""
    height, width = max(2, shape[0]), max(2, shape[1])
    if (height, width) == shape:
        return value, shape
    maps = F.pad(value.unflatten(1, shape), (0, 0, 0, 0, 0, width - shape[1], 0, height - shape[0]))
    return maps.flatten(1, 2), (height, width)


def attend_native(value: Tensor, locations: Tensor, weights: Tensor, shape: Shape) -> Tensor:
    """Sum by compiled code, on a CPU; in a graph as an operator."""
    attend = native_operator.attend_in_graph if torch.compiler.is_compiling() else native_attention.attend_native
    return attend(value, locations, weights, shape)


def attend_triton(value: Tensor, locations: Tensor, weights: Tensor, shape: Shape) -> Tensor:
    """Sum by one Triton kernel, on CUDA devices."""
    from ddp_repro.networks.attention import triton as triton_attention  # which imports Triton

    return triton_attention.attend_triton(value, locations, weights, shape)


BACKENDS: dict[str, Callable[[Tensor, Tensor, Tensor, Shape], Tensor]] = {
    "reference": attend_reference,
    "cpu": attend_cpu,
    "native": attend_native,
    "triton": attend_triton,
    "mmcv": attend_mmcv,
}


class DeformableAttention(nn.Module):
    """Multi-head deformable attention of a map's tokens over the map itself.

    Args:
        channels: D.
        heads: attention heads; must divide D.
        points: sampled places per head and query.

    Raises:
        ConfigError: ``heads`` does not divide ``channels``.
    """

    def __init__(self, channels: int, heads: int, points: int) -> None:
        super().__init__()
        if channels % heads:
            raise ConfigError(f"channels ({channels}) must be a multiple of heads ({heads})")
        self.heads, self.points = heads, points
        self.sampling_offsets = nn.Linear(channels, heads * points * 2)
        self.attention_weights = nn.Linear(channels, heads * points)
        self.value_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)

    def reset_parameters(self) -> None:
        """Start as attention to ``points`` rings around the query: head k looks in direction 2πk/heads."""
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        directions = torch.stack([angles.cos(), angles.sin()], -1)
        directions = directions / directions.abs().amax(-1, keepdim=True)
        rings = directions[:, None] * torch.arange(1, self.points + 1)[None, :, None]
        with torch.no_grad():
            for layer in (self.sampling_offsets, self.attention_weights):
                layer.weight.zero_()
                layer.bias.zero_()
            self.sampling_offsets.bias.copy_(rings.flatten())
            for layer in (self.value_proj, self.output_proj):
                nn.init.xavier_uniform_(layer.weight)
                layer.bias.zero_()

    def forward(self, tokens: Tensor, lines: Lines, shape: Shape) -> Tensor:
        """Attend; the residual connection is the caller's.

        Args:
            tokens: (B, h·w, D).
            lines: position encoding of the rows (h, D/2) and of the columns (w, D/2), added to the query that chooses
                where to look, not to the value.
            shape: (h, w).

        Returns:
            (B, h·w, D)
        """
        value = self.value_proj(tokens).unflatten(-1, (self.heads, -1))
        weight, of_rows, of_columns = self.query(lines)
        query = torch.bmm(weight.expand(tokens.shape[0], -1, -1), tokens.transpose(1, 2)).unflatten(-1, shape)
        planes = (query + (of_rows[:, :, None] + of_columns[:, None])).flatten(2)
        planes = planes.unflatten(1, (3, self.heads, self.points))
        attend = BACKENDS[attention_backend(tokens.device)]
        return self.output_proj(attend(value, planes[:, :2], planes[:, 2].softmax(2), shape))

    def query(self, lines: Lines) -> tuple[Tensor, Tensor, Tensor]:
        """Return the linear map from a token to (x, y, logit) × heads × points, and what its place adds to that.

        The position encoding is a sum of one half that is the same along a row and one that is the same along a column,
        and so is all that follows from it linearly: h + w lines are projected instead of h·w tokens.  Pixel coordinates
        are added here too, in float32 under any autocast.

        Returns:
            weight (3·heads·points, D), of the rows (3·heads·points, h), of the columns (3·heads·points, w); contiguous.
        """
        offsets, logits = self.sampling_offsets, self.attention_weights
        weight = torch.cat([offsets.weight[0::2], offsets.weight[1::2], logits.weight])
        bias = torch.cat([offsets.bias[0::2], offsets.bias[1::2], logits.bias])
        rows, columns = lines
        of_rows = F.linear(rows, weight[:, : rows.shape[1]], bias).t()
        of_columns = F.linear(columns, weight[:, rows.shape[1] :]).t()
        of_x, of_y = (_axis(index, self.heads * self.points, weight.device) for index in (0, 1))
        of_rows, of_columns = of_rows + of_y * _count(rows), of_columns + of_x * _count(columns)
        return weight, of_rows.contiguous(), of_columns.contiguous()


def _axis(index: int, places: int, device: torch.device) -> Tensor:
    """(3·places, 1): one for x (index 0) or y (1), zero for the other and the logits."""
    return (torch.arange(3, device=device) == index).repeat_interleave(places)[:, None]


def _count(lines: Tensor) -> Tensor:
    """0, 1, 2 ... for each of the lines; float32."""
    # Not len(lines): in a graph that is exported, it would fix the map's size to that of the example.
    return torch.arange(lines.shape[0], dtype=torch.float32, device=lines.device)
