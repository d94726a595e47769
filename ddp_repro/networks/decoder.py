"""The map decoder (Section 3.3): deformable-attention layers on one stride-4 level, each modulated by the time."""

from __future__ import annotations

import functools
import math
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ddp_repro.networks.attention.deformable import DeformableAttention, Lines, Shape
from ddp_repro.networks.caching import kept
from ddp_repro.networks.kernels import decoder as native_decoder
from ddp_repro.networks.precision import full_precision


@kept(16)
def position_lines(shape: Shape, channels: int, device: torch.device) -> Lines:
    """Sine position encoding of the rows (h, channels / 2) and of the columns (w, channels / 2) of an h×w map.

    Positions run over (0, 2π); sines and cosines alternate.  The encoding of a token is its row's, then its column's.
    """
    half = channels // 2
    exponent = 2 * (torch.arange(half, device=device) // 2) / half
    wavelength = torch.pow(torch.tensor(10000.0, device=device), exponent)

    def axis(length: int) -> Tensor:
        position = (torch.arange(1, length + 1, device=device) - 0.5) / (length + 1e-6) * 2 * math.pi
        angle = position[:, None] / wavelength
        return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], dim=-1).flatten(1)

    return axis(shape[0]), axis(shape[1])


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

    def forward(self, tokens: Tensor, lines: Lines, shape: Shape, time: Tensor | None) -> Tensor:
        """tokens (B, h·w, D), position encoding of rows and columns, time (B, 4·D) -> (B, h·w, D)"""
        tokens = self.norms[0](tokens + self.attention(tokens, lines, shape))
        tokens = self.norms[1](tokens + self.feedforward(tokens))
        if self.modulation is None:
            return tokens
        scale, shift = self.modulation(time)[:, None].chunk(2, dim=-1)
        return torch.addcmul(shift, tokens, scale + 1)


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
        self.checkpointing = False  # of the layers in training: see ddp_repro.networks.acceleration
        self.layers = nn.ModuleList(
            DecoderLayer(channels, heads, points, feedforward_channels, time_channels) for _ in range(layers)
        )

    def read_out(self, tokens: Tensor, shape: Shape) -> Tensor:
        """Tokens (B, h·w, D) -> prediction (B, C, h, w)."""
        raise NotImplementedError

    def forward(self, tokens: Tensor, shape: Shape, time: Tensor | None = None) -> Tensor:
        """Fused tokens (B, h·w, D) of an h×w map, time embedding (B, 4·D) -> prediction (B, C, h, w)."""
        rows, columns = position_lines(shape, self.channels, tokens.device)
        if native_decoder.can_run(self.layers, tokens):
            tokens = native_decoder.run(self.layers, tokens, (rows, columns), shape, time)
            return self.read_out(tokens, shape)
        lines = rows.to(tokens.dtype), columns.to(tokens.dtype)
        for layer in self.layers:
            run = functools.partial(checkpoint, layer, use_reentrant=False) if self.checkpointing else layer
            tokens = run(tokens, lines, shape, time)
        return self.read_out(tokens, shape)

    @classmethod
    def of(cls, config: Any, time_channels: int | None = None) -> Self:
        """Return the decoder that ``config`` describes; ``time_channels`` = 0 leaves the time out."""
        usual = 4 * config.channels if config.time_conditioned else 0
        trunk = (config.channels, config.layers, config.heads, config.points, config.feedforward_channels)
        return cls._build(config, *trunk, usual if time_channels is None else time_channels)

    @classmethod
    def _build(cls, config: Any, *trunk: int) -> Self:
        raise NotImplementedError


class LabelDecoder(MapDecoder):
    """Reads class logits by a linear classifier."""

    def __init__(self, num_classes: int, channels: int, *trunk: int) -> None:
        super().__init__(channels, *trunk)
        self.classifier = nn.Linear(channels, num_classes)

    def read_out(self, tokens: Tensor, shape: Shape) -> Tensor:
        """Return class logits (B, K, h, w) of tokens (B, h·w, D)."""
        return self.classifier(tokens).transpose(1, 2).unflatten(-1, shape)

    @classmethod
    def _build(cls, config: Any, *trunk: int) -> Self:
        return cls(config.num_classes, *trunk)


class DepthDecoder(MapDecoder):
    """Reads depth by a 3×3 convolution and a ReLU; bounded below, not above.

    As released, the untrained convolution is below 0 for nearly all or none of a picture, by the chance of its weights;
    from below 0 the scale-invariant loss may pull the rest down, too, and the ReLU stays 0.  A bias of some metres
    (``initial_depth``) starts above.
    """

    def __init__(self, min_depth: float, initial_depth: float, channels: int, *trunk: int) -> None:
        super().__init__(channels, *trunk)
        self.min_depth = min_depth
        self.depth_convolution = nn.Conv2d(channels, 1, 3, padding=1)
        if initial_depth and (bias := self.depth_convolution.bias) is not None:
            nn.init.constant_(bias, initial_depth)

    def read_out(self, tokens: Tensor, shape: Shape) -> Tensor:
        """Return depth (B, 1, h, w), in metres, of tokens (B, h·w, D)."""
        with full_precision(tokens.device):  # metres need more digits than half precision has
            maps = tokens.to(self.depth_convolution.weight.dtype).transpose(1, 2).unflatten(-1, shape)
            return self.depth_convolution(maps).relu() + self.min_depth

    @classmethod
    def _build(cls, config: Any, *trunk: int) -> Self:
        return cls(config.min_depth, config.initial_depth, *trunk)
