"""SegFormer (Xie et al. 2021) in mmsegmentation's structure and names, as the released DDPS checkpoints have it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from ddp_repro.papers.ddps.layers import ConvNorm, Segmentor, resize_like

HEADS = (1, 2, 5, 8)
REDUCTIONS = (8, 4, 2, 1)
NORM_EPSILON = 1e-6


@dataclass(frozen=True)
class MixTransformerSize:
    """Width of the first stage, and blocks of each."""

    width: int
    depths: tuple[int, int, int, int]


SIZES = {
    "b0": MixTransformerSize(32, (2, 2, 2, 2)),
    "b2": MixTransformerSize(64, (3, 4, 6, 3)),
    "b5": MixTransformerSize(64, (3, 6, 40, 3)),
}


class ReducedAttention(nn.Module):
    """Attention to a map that is ``reduction`` times coarser."""

    def __init__(self, channels: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.reduction = reduction
        if reduction > 1:
            self.sr = nn.Conv2d(channels, channels, reduction, stride=reduction)
            self.norm = nn.LayerNorm(channels, eps=NORM_EPSILON)

    def forward(self, tokens: Tensor, shape: tuple[int, int]) -> Tensor:
        """Tokens (B, h·w, C) -> same"""
        context = tokens
        if self.reduction > 1:
            reduced = self.sr(tokens.transpose(1, 2).unflatten(-1, shape))  # (B, C, h/r, w/r)
            context = self.norm(reduced.flatten(2).transpose(1, 2))
        return self.attn(tokens, context, context, need_weights=False)[0]


class MixFeedForward(nn.Module):
    """Feed-forward layer with a 3×3 depthwise convolution in its middle, which stands for position encoding."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden),
            nn.GELU(),
            nn.Identity(),  # dropout of rate 0: the released names count it
            nn.Conv2d(hidden, channels, 1),
        )

    def forward(self, tokens: Tensor, shape: tuple[int, int]) -> Tensor:
        """Tokens (B, h·w, C) -> same"""
        return self.layers(tokens.transpose(1, 2).unflatten(-1, shape)).flatten(2).transpose(1, 2)


class MixBlock(nn.Module):
    """Attention and feed-forward, both pre-norm and residual."""

    def __init__(self, channels: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=NORM_EPSILON)
        self.attn = ReducedAttention(channels, heads, reduction)
        self.norm2 = nn.LayerNorm(channels, eps=NORM_EPSILON)
        self.ffn = MixFeedForward(channels, 4 * channels)

    def forward(self, tokens: Tensor, shape: tuple[int, int]) -> Tensor:
        """Tokens (B, h·w, C) -> same"""
        tokens = tokens + self.attn(self.norm1(tokens), shape)
        return tokens + self.ffn(self.norm2(tokens), shape)


class OverlappingPatches(nn.Module):
    """Strided convolution and norm."""

    def __init__(self, in_channels: int, channels: int, first: bool) -> None:
        super().__init__()
        kernel, stride = (7, 4) if first else (3, 2)
        self.projection = nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(channels, eps=NORM_EPSILON)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(B, C, H, W) -> tokens (B, h·w, C'), (h, w)"""
        x = self.projection(x)
        return self.norm(x.flatten(2).transpose(1, 2)), (x.shape[-2], x.shape[-1])


class MixTransformer(nn.Module):
    """The encoder MiT: four feature maps at strides 4, 8, 16 and 32."""

    def __init__(self, size: MixTransformerSize) -> None:
        super().__init__()
        self.channels = [size.width * heads for heads in HEADS]
        self.layers = nn.ModuleList()
        before = 3
        for channels, depth, heads, reduction in zip(self.channels, size.depths, HEADS, REDUCTIONS, strict=True):
            blocks = nn.ModuleList(MixBlock(channels, heads, reduction) for _ in range(depth))
            patches = OverlappingPatches(before, channels, first=before == 3)
            self.layers.append(nn.ModuleList([patches, blocks, nn.LayerNorm(channels, eps=NORM_EPSILON)]))
            before = channels

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) -> four (B, C, h, w)"""
        x, maps = images, []
        for patches, blocks, norm in cast(Iterable[Iterable[Any]], self.layers):
            tokens, shape = patches(x)
            for block in blocks:
                tokens = block(tokens, shape)
            x = norm(tokens).transpose(1, 2).unflatten(-1, shape)
            maps.append(x)
        return maps


class SegformerHead(nn.Module):
    """Each map through a 1×1 convolution, resized to the finest, concatenated and fused.

    Args:
        num_classes: of the classifier ``conv_seg``.
    """

    def __init__(self, in_channels: Sequence[int], channels: int, num_classes: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(ConvNorm(count, channels, 1) for count in in_channels)
        self.fusion_conv = ConvNorm(channels * len(in_channels), channels, 1)
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)

    def feature(self, maps: Sequence[Tensor]) -> Tensor:
        """Fuse encoder maps (B, C, h, w), finest first, into the feature before the classifier (B, F, h, w)."""
        resized = [resize_like(conv(x), maps[0]) for conv, x in zip(self.convs, maps, strict=True)]
        return self.fusion_conv(torch.cat(resized, dim=1))


class Segformer(Segmentor):
    """SegFormer.

    Args:
        size: b0, b2 or b5.
        num_classes: C.
    """

    def __init__(self, size: str, num_classes: int, channels: int = 256) -> None:
        super().__init__(num_classes, channels)
        self.backbone = MixTransformer(SIZES[size])
        self.decode_head = SegformerHead(self.backbone.channels, channels, num_classes)

    def feature(self, images: Tensor) -> Tensor:
        """Return the feature (B, F, h, w) of normalised images (B, 3, H, W)."""
        return self.decode_head.feature(self.backbone(images))

    @property
    def classifier(self) -> nn.Module:
        """The 1×1 convolution from the feature to logits."""
        return self.decode_head.conv_seg
