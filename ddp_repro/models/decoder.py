"""The map decoder (Section 3.3): deformable-attention layers on one stride-4 level, each modulated by the time."""

from __future__ import annotations

import functools
import math
from typing import Self

import torch
from torch import Tensor, nn

from ddp_repro.config import ModelConfig
from ddp_repro.models.deformable_attention import DeformableAttention, Shape


@functools.lru_cache(maxsize=16)
def position_encoding(shape: Shape, channels: int, device: torch.device) -> Tensor:
    """Sine position encoding of an h×w map, (h·w, channels): first half from y, second half from x.

    Positions run over (0, 2π); sines and cosines alternate.
    """
    half = channels // 2
    exponent = 2 * (torch.arange(half, device=device) // 2) / half
    wavelength = torch.pow(torch.tensor(10000.0, device=device), exponent)

    def axis(length: int) -> Tensor:
        position = (torch.arange(1, length + 1, device=device) - 0.5) / (length + 1e-6) * 2 * math.pi
        angle = position[:, None] / wavelength
        return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], dim=-1).flatten(1)

    height, width = shape
    rows = axis(height)[:, None].expand(height, width, half)
    columns = axis(width)[None].expand(height, width, half)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)


@functools.lru_cache(maxsize=16)
def pixel_centres(shape: Shape, device: torch.device) -> Tensor:
    """(x, y) of every token of an h×w map in row-major order, (h·w, 2), float32."""
    y, x = torch.meshgrid(*(torch.arange(n, device=device, dtype=torch.float32) for n in shape), indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)


class DecoderLayer(nn.Module):
    """Attention, norm, feed-forward, norm; then scale and shift from the time embedding, last of all.

    Args:
        time_channels: width of the time embedding; 0 for the non-diffusion baseline.
    """

    def __init__(self, channels: int, heads: int, points: int, feedforward_channels: int, time_channels: int) -> None:
        super().__init__()
        self.attention = DeformableAttention(channels, heads, points)
        self.norms = nn.ModuleList([nn.LayerNorm(channels), nn.LayerNorm(channels)])
        self.feedforward = nn.Sequential(
            nn.Linear(channels, feedforward_channels), nn.GELU(), nn.Linear(feedforward_channels, channels)
        )
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(time_channels, 2 * channels)) if time_channels else None

    def forward(self, tokens: Tensor, position: Tensor, centres: Tensor, shape: Shape, time: Tensor | None) -> Tensor:
        """tokens (B, h·w, D), time (B, 4·D) -> (B, h·w, D)"""
        tokens = self.norms[0](tokens + self.attention(tokens, position, centres, shape))
        tokens = self.norms[1](tokens + self.feedforward(tokens))
        if self.modulation is None:
            return tokens
        scale, shift = self.modulation(time)[:, None].chunk(2, dim=-1)
        return tokens * (scale + 1) + shift


class MapDecoder(nn.Module):
    """L layers over the fused map; a task reads the prediction off the tokens (:meth:`read_out`).

    Args:
        time_channels: width of the time embedding; 0 for a decoder without time.
    """

    def __init__(
        self, channels: int, layers: int, heads: int, points: int, feedforward_channels: int, time_channels: int
    ) -> None:
        super().__init__()
        self.channels = channels
        self.layers = nn.ModuleList(
            DecoderLayer(channels, heads, points, feedforward_channels, time_channels) for _ in range(layers)
        )

    def read_out(self, tokens: Tensor, shape: Shape) -> Tensor:
        """Tokens (B, h·w, D) -> prediction (B, C, h, w)."""
        raise NotImplementedError

    def forward(self, tokens: Tensor, shape: Shape, time: Tensor | None = None) -> Tensor:
        """Fused tokens (B, h·w, D) of an h×w map, time embedding (B, 4·D) -> prediction (B, C, h, w)."""
        position = position_encoding(shape, self.channels, tokens.device).to(tokens.dtype)
        centres = pixel_centres(shape, tokens.device)
        for layer in self.layers:
            tokens = layer(tokens, position, centres, shape, time)
        return self.read_out(tokens, shape)

    @classmethod
    def of(cls, config: ModelConfig, time_channels: int | None = None) -> Self:
        """The decoder that ``config`` describes; ``time_channels`` = 0 leaves the time out."""
        if time_channels is None:
            time_channels = 4 * config.channels if config.time_conditioned else 0
        trunk = (config.channels, config.layers, config.heads, config.points, config.feedforward_channels)
        return cls._build(config, *trunk, time_channels)

    @classmethod
    def _build(cls, config: ModelConfig, *trunk: int) -> Self:
        raise NotImplementedError


class LabelDecoder(MapDecoder):
    """Reads class logits by a linear classifier."""

    def __init__(self, num_classes: int, channels: int, *trunk: int) -> None:
        super().__init__(channels, *trunk)
        self.classifier = nn.Linear(channels, num_classes)

    def read_out(self, tokens: Tensor, shape: Shape) -> Tensor:
        return self.classifier(tokens).transpose(1, 2).unflatten(-1, shape)

    @classmethod
    def _build(cls, config: ModelConfig, *trunk: int) -> Self:
        return cls(config.num_classes, *trunk)


class DepthDecoder(MapDecoder):
    """Reads depth by a 3×3 convolution and a ReLU; bounded below, not above."""

    def __init__(self, min_depth: float, channels: int, *trunk: int) -> None:
        super().__init__(channels, *trunk)
        self.min_depth = min_depth
        self.depth_convolution = nn.Conv2d(channels, 1, 3, padding=1)

    def read_out(self, tokens: Tensor, shape: Shape) -> Tensor:
        return self.depth_convolution(tokens.transpose(1, 2).unflatten(-1, shape)).relu() + self.min_depth

    @classmethod
    def _build(cls, config: ModelConfig, *trunk: int) -> Self:
        return cls(config.min_depth, *trunk)
