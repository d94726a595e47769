"""Single-level deformable attention (Deformable DETR, as used by the map decoder of Section 3.3).

Each query looks at ``points`` places around itself in each head; the value map is read there bilinearly (zero outside)
and the readings are averaged with the attention weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Shape = tuple[int, int]


def attend_reference(value: Tensor, locations: Tensor, weights: Tensor, shape: Shape) -> Tensor:
    """Gather through ``grid_sample``: runs everywhere and can be exported.

    Args:
        value: (B, h·w, heads, c), row-major tokens of an h×w map.
        locations: (B, N, heads, points, 2), (x, y) in pixels; the centre of the first pixel is (0, 0).
        weights: (B, N, heads, points), summing to one over points.
        shape: (h, w).

    Returns:
        (B, N, heads·c)
    """
    (height, width), (batch, queries, heads, points, _) = shape, locations.shape
    maps = value.permute(0, 2, 3, 1).reshape(batch * heads, -1, height, width)
    size = locations.new_tensor([width, height])
    grid = ((2 * locations + 1) / size - 1).transpose(1, 2).flatten(0, 1)
    read = F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    read = (read * weights.transpose(1, 2).reshape(batch * heads, 1, queries, points)).sum(-1)
    return read.view(batch, -1, queries).transpose(1, 2)


def bilinear_corners(locations: Tensor, weights: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
    """The four corners around each location as (token index, weight), both (B, N, heads, points, 4).

    Corners outside the map get weight zero, and some valid index.
    """
    height, width = shape
    low = locations.floor()
    fraction = locations - low
    x0, y0 = low.unbind(-1)
    (fx, fy), indices, corner_weights = fraction.unbind(-1), [], []
    for dy, wy in ((0, 1 - fy), (1, fy)):
        for dx, wx in ((0, 1 - fx), (1, fx)):
            x, y = x0 + dx, y0 + dy
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            indices.append(y.clamp(0, height - 1) * width + x.clamp(0, width - 1))
            corner_weights.append(wx * wy * weights * inside)
    return torch.stack(indices, -1).long(), torch.stack(corner_weights, -1)


def attend_cpu(value: Tensor, locations: Tensor, weights: Tensor, shape: Shape) -> Tensor:
    """The same sum as one weighted ``embedding_bag`` over corners × points: no sampled tensor is ever stored."""
    batch, queries, heads, points, _ = locations.shape
    tokens, channels = value.shape[1], value.shape[-1]
    index, weight = bilinear_corners(locations, weights, shape)
    # row of (image b, token n, head k) in the flattened value is (b·tokens + n)·heads + k
    offset = torch.arange(batch, device=value.device).view(-1, 1, 1, 1, 1) * tokens
    head = torch.arange(heads, device=value.device).view(1, 1, -1, 1, 1)
    rows = (index + offset) * heads + head
    read = F.embedding_bag(
        rows.view(-1, points * 4),
        value.reshape(-1, channels).to(weight.dtype),  # autocast leaves the weights in float32
        mode="sum",
        per_sample_weights=weight.view(-1, points * 4),
    )
    return read.view(batch, queries, heads * channels)


BACKENDS: dict[str, Callable[[Tensor, Tensor, Tensor, Shape], Tensor]] = {
    "reference": attend_reference,
    "cpu": attend_cpu,
}


def attention_backend(device: torch.device) -> str:
    """Name of the fastest backend for tensors on ``device``."""
    return "cpu" if device.type == "cpu" and not torch.jit.is_tracing() else "reference"


class DeformableAttention(nn.Module):
    """Multi-head deformable attention of a map's tokens over the map itself.

    Args:
        channels: D.
        heads: attention heads; must divide D.
        points: sampled places per head and query.

    Raises:
        ValueError: ``heads`` does not divide ``channels``.
    """

    def __init__(self, channels: int, heads: int, points: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"channels ({channels}) must be a multiple of heads ({heads})")
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

    def forward(self, tokens: Tensor, position: Tensor, centres: Tensor, shape: Shape) -> Tensor:
        """Attend; the residual connection is the caller's.

        Args:
            tokens: (B, h·w, D).
            position: (h·w, D), added to the query that chooses where to look, not to the value.
            centres: (h·w, 2), pixel coordinates (x, y) of the tokens.
            shape: (h, w).

        Returns:
            (B, h·w, D)
        """
        split = (*tokens.shape[:2], self.heads)
        query = tokens + position
        offsets = self.sampling_offsets(query).view(*split, self.points, 2)
        weights = self.attention_weights(query).view(*split, self.points).softmax(-1)
        value = self.value_proj(tokens).view(*split, -1)
        attend = BACKENDS[attention_backend(tokens.device)]
        return self.output_proj(attend(value, centres[:, None, None] + offsets, weights, shape))
