"""The prior U-Net: tells a class map's denoised feature from the noisy map, the image feature and the time.

Modules and parameters carry the released names, so that checkpoints load one to one; attention and normalisation are
those of the common DDPM U-Nets (Ho et al. 2020; weight standardisation of Qiao et al. 2019; linear attention of Shen et
al. 2021).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEADS, HEAD_CHANNELS = 4, 32
GROUPS = 8
EPSILON = 1e-5  # in every precision; the released 1e-3 of half precision would be another network


class TimeEncoding(nn.Module):
    """Sines, then cosines of the step at ``dim`` / 2 frequencies from 1 down to 1e-4."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, step: Tensor) -> Tensor:
        """Embed steps (B,) as (B, dim)."""
        half = self.dim // 2
        frequency = torch.exp(torch.arange(half, device=step.device) * (-math.log(10000) / (half - 1)))
        angle = step[:, None] * frequency
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


class StandardizedConvolution(nn.Conv2d):
    """3×3 convolution whose filters have mean 0 and variance 1."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(channels, out_channels, 3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h, w)"""
        filters = self.weight.flatten(1)  # (C', C·9)
        filters = F.layer_norm(filters, filters.shape[1:], eps=EPSILON)
        return F.conv2d(input, filters.view_as(self.weight), self.bias, padding=1)


class ConvolutionBlock(nn.Module):
    """Convolution, group norm, scale and shift from the time, SiLU."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.proj = StandardizedConvolution(channels, out_channels)
        self.norm = nn.GroupNorm(GROUPS, out_channels)

    def forward(self, x: Tensor, scale_shift: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """(B, C, h, w), scale and shift (B, C', 1, 1) -> (B, C', h, w)"""
        x = self.norm(self.proj(x))
        if scale_shift is not None:
            x = torch.addcmul(scale_shift[1], x, scale_shift[0] + 1)
        return F.silu(x)


class ResidualBlock(nn.Module):
    """Two convolution blocks, the first told the time, and a shortcut."""

    def __init__(self, channels: int, out_channels: int, time_channels: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(time_channels, 2 * out_channels))
        self.block1 = ConvolutionBlock(channels, out_channels)
        self.block2 = ConvolutionBlock(out_channels, out_channels)
        self.res_conv = nn.Conv2d(channels, out_channels, 1) if channels != out_channels else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(B, C, h, w), time (B, 4·dim) -> (B, C', h, w)"""
        scale, shift = self.mlp(time)[:, :, None, None].chunk(2, dim=1)
        return self.block2(self.block1(x, (scale, shift))) + self.res_conv(x)


class ChannelNorm(nn.Module):
    """Layer norm over the channels of every pixel, with a gain and no bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> same"""
        x = x - x.mean(1, keepdim=True)  # torch.var_mean takes ten times as long on a CPU
        variance = x.square().mean(1, keepdim=True, dtype=torch.float32)  # (B, 1, h, w)
        return x * (variance + EPSILON).rsqrt().to(x.dtype) * self.g


class LinearAttention(nn.Module):
    """Attention whose cost is linear in the pixels: keys and values are summed up before the queries come."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = HEADS * HEAD_CHANNELS
        self.to_qkv = nn.Conv2d(channels, 3 * width, 1, bias=False)
        self.to_out = nn.Sequential(nn.Conv2d(width, channels, 1), ChannelNorm(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> same"""
        height, width = x.shape[-2:]
        query, key, value = _heads(self.to_qkv(x))  # (B, heads, 32, h·w)
        query = query.softmax(-2) * HEAD_CHANNELS**-0.5
        key = key.softmax(-1)
        context = key @ (value / (height * width)).transpose(-1, -2)  # (B, heads, 32, 32)
        mixed = context.transpose(-1, -2) @ query  # (B, heads, 32, h·w)
        return self.to_out(mixed.flatten(1, 2).unflatten(-1, (height, width)))


class Attention(nn.Module):
    """Attention among all pixels; only the coarsest level can afford it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = HEADS * HEAD_CHANNELS
        self.to_qkv = nn.Conv2d(channels, 3 * width, 1, bias=False)
        self.to_out = nn.Conv2d(width, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> same"""
        shape = x.shape[-2:]
        query, key, value = (part.transpose(-1, -2) for part in _heads(self.to_qkv(x)))  # (B, heads, h·w, 32)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.to_out(mixed.transpose(-1, -2).flatten(1, 2).unflatten(-1, shape))


def _heads(qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, 3·heads·32, h, w) -> queries, keys, values, each (B, heads, 32, h·w)."""
    query, key, value = qkv.flatten(2).unflatten(1, (3, HEADS, HEAD_CHANNELS)).unbind(1)
    return query, key, value


class NormedAttention(nn.Module):
    """Normalise, then attend."""

    def __init__(self, channels: int, attention: nn.Module) -> None:
        super().__init__()
        self.fn = attention
        self.norm = ChannelNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> same"""
        return self.fn(self.norm(x))


class ResidualAttention(nn.Module):
    """Attention added to its input."""

    def __init__(self, channels: int, attention: nn.Module) -> None:
        super().__init__()
        self.fn = NormedAttention(channels, attention)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> same"""
        return self.fn(x) + x


def _downsample(channels: int, out_channels: int, last: bool) -> nn.Module:
    if last:
        return nn.Conv2d(channels, out_channels, 3, padding=1)
    return nn.Conv2d(channels, out_channels, 4, stride=2, padding=1)


def _upsample(channels: int, out_channels: int, last: bool) -> nn.Module:
    convolution = nn.Conv2d(channels, out_channels, 3, padding=1)
    return convolution if last else nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), convolution)


class PriorUNet(nn.Module):
    """The time-conditioned U-Net.

    Args:
        channels: of the input, image feature and embedded map together.
        dim: width of the finest level.
        out_channels: of the output.
        multipliers: width of the levels in units of ``dim``; every level but the last halves the resolution.

    Attributes:
        stride: what height and width of the input must be multiples of.
    """

    def __init__(self, channels: int, dim: int, out_channels: int, multipliers: Sequence[int] = (1, 1, 1)) -> None:
        super().__init__()
        self.channels, self.stride = channels, 2 ** (len(multipliers) - 1)
        time_channels = 4 * dim
        self.init_conv = nn.Conv2d(channels, dim, 7, padding=3)
        self.time_mlp = nn.Sequential(
            TimeEncoding(dim), nn.Linear(dim, time_channels), nn.GELU(), nn.Linear(time_channels, time_channels)
        )
        widths = [dim, *(dim * multiplier for multiplier in multipliers)]
        levels, last = list(itertools.pairwise(widths)), len(multipliers) - 1
        self.downs = nn.ModuleList(
            _level(narrow, narrow, time_channels, _downsample(narrow, wide, index == last))
            for index, (narrow, wide) in enumerate(levels)
        )
        self.ups = nn.ModuleList(
            _level(wide + narrow, wide, time_channels, _upsample(wide, narrow, index == last))
            for index, (narrow, wide) in enumerate(reversed(levels))
        )
        self.mid_block1 = ResidualBlock(widths[-1], widths[-1], time_channels)
        self.mid_attn = ResidualAttention(widths[-1], Attention(widths[-1]))
        self.mid_block2 = ResidualBlock(widths[-1], widths[-1], time_channels)
        self.final_res_block = ResidualBlock(2 * dim, dim, time_channels)
        self.final_conv = nn.Conv2d(dim, out_channels, 1)

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        """Denoise.

        Args:
            x: (B, C, h, w), h and w multiples of :attr:`stride`.
            step: (B,), integers; 0 is the noisiest.

        Returns:
            (B, C', h, w)

        Raises:
            ValueError: another number of channels, or a size that the levels cannot halve.
        """
        if x.shape[1] != self.channels or x.shape[-2] % self.stride or x.shape[-1] % self.stride:
            raise ValueError(
                f"the prior U-Net takes (B, {self.channels}, h, w) with h and w multiples of {self.stride}; "
                f"got {tuple(x.shape)}"
            )
        time = self.time_mlp(step)  # (B, 4·dim)
        x = first = self.init_conv(x)  # (B, dim, h, w)
        skipped = []
        for block1, block2, attention, downsample in cast(Iterable[Iterable[Any]], self.downs):
            x = block1(x, time)
            skipped.append(x)
            x = attention(block2(x, time))
            skipped.append(x)
            x = downsample(x)
        x = self.mid_block2(self.mid_attn(self.mid_block1(x, time)), time)  # (B, dim·m, h/4, w/4)
        for block1, block2, attention, upsample in cast(Iterable[Iterable[Any]], self.ups):
            x = block1(torch.cat([x, skipped.pop()], dim=1), time)
            x = block2(torch.cat([x, skipped.pop()], dim=1), time)
            x = upsample(attention(x))
        x = self.final_res_block(torch.cat([x, first], dim=1), time)  # (B, dim, h, w)
        return self.final_conv(x)


def _level(channels: int, width: int, time_channels: int, resample: nn.Module) -> nn.ModuleList:
    blocks = [ResidualBlock(channels, width, time_channels) for _ in range(2)]
    return nn.ModuleList([*blocks, ResidualAttention(width, LinearAttention(width)), resample])
