"""Networks on the ground plane: fusing cameras with LiDAR, and the two BEV encoders of the published configurations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddp_repro.papers.ddp.bev.layers import conv_norm_relu

SECOND_NORM: dict[str, Any] = {"eps": 1e-3}
SECOND_LAYERS = 5  # beyond the first of each block


class ConvFuser(nn.Sequential):
    """Concatenate the sensors' maps, camera first, and convolve."""

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__(*conv_norm_relu(sum(in_channels), channels, 3))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Fuse maps (B, C_i, x, y) into one (B, channels, x, y)."""
        return super().forward(torch.cat(list(maps), dim=1))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions around an identity, or around a 1×1 convolution where size or width change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output (B, outputs, x / stride, y / stride)."""
        out = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (out + (x if self.downsample is None else self.downsample(x))).relu()


class CameraBEVEncoder(nn.Module):
    """Camera-only: three residual stages at 1/2, 1/4 and 1/4 size; the last and the first are merged and upsampled.

    Args:
        in_channels: of the view transform's feature.
        widths: of the stages.
        channels: of the result.
    """

    def __init__(self, in_channels: int, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        sizes = [in_channels, *widths]
        self.stages = nn.ModuleList(
            nn.Sequential(BasicBlock(a, b, stride), BasicBlock(b, b, 1))
            for a, b, stride in zip(sizes, widths, (2, 2, 1), strict=False)
        )
        self.merge = nn.Sequential(
            *conv_norm_relu(widths[0] + widths[-1], channels, 1), *conv_norm_relu(channels, channels, 3)
        )
        self.upsampled = conv_norm_relu(channels, channels, 3)

    def stage_maps(self, feature: Tensor) -> list[Tensor]:
        """Feature (B, C, x, y) -> the stages' maps."""
        maps = []
        for stage in self.stages:
            feature = stage(feature)
            maps.append(feature)
        return maps

    def forward(self, feature: Tensor) -> Tensor:
        """(B, C, x, y) -> (B, channels, x, y)"""
        fine, _, coarse = self.stage_maps(feature)
        coarse = F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=True)
        merged = self.merge(torch.cat([coarse, fine], dim=1))
        return self.upsampled(F.interpolate(merged, scale_factor=2, mode="bilinear", align_corners=True))


class FusionBEVEncoder(nn.Module):
    """With LiDAR: SECOND's two blocks at full and half size (Yan et al. 2018), each brought to full size, concatenated.

    Args:
        in_channels: of the fused feature.
        widths: of the two blocks.
        channels: that each block contributes to the result.
    """

    def __init__(self, in_channels: int, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        first, second = widths
        self.blocks = nn.ModuleList([_second_block(in_channels, first, 1), _second_block(first, second, 2)])
        upsample = [nn.Conv2d(first, channels, 1, bias=False), nn.ConvTranspose2d(second, channels, 2, 2, bias=False)]
        self.upsamples = nn.ModuleList(
            nn.Sequential(layer, nn.BatchNorm2d(channels, **SECOND_NORM), nn.ReLU(inplace=True)) for layer in upsample
        )

    def forward(self, feature: Tensor) -> Tensor:
        """(B, C, x, y) -> (B, 2 · channels, x, y)"""
        levels = []
        for block, upsample in zip(self.blocks, self.upsamples, strict=True):
            feature = block(feature)
            levels.append(upsample(feature))
        return torch.cat(levels, dim=1)


def _second_block(inputs: int, width: int, stride: int) -> nn.Sequential:
    layers = [conv_norm_relu(inputs, width, 3, stride, **SECOND_NORM)]
    layers += [conv_norm_relu(width, width, 3, **SECOND_NORM) for _ in range(SECOND_LAYERS)]
    return nn.Sequential(*(part for layer in layers for part in layer))
