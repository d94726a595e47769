"""From four backbone maps to one image feature at stride 4: feature pyramid, then aggregation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import torch.nn.functional as F
from torch import Tensor, nn

from ddp_repro.networks.kernels import neck as native_neck


class ConvGroupNorm(nn.Sequential):
    """Convolution without bias, then GroupNorm; no activation.  (The paper calls the aggregating one "1×1 conv".)"""

    def __init__(self, inputs: int, outputs: int, kernel_size: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2, bias=False),
            nn.GroupNorm(min(32, outputs // 2), outputs),
        )

    @property
    def convolution(self) -> nn.Conv2d:
        """The first of the two."""
        return cast(nn.Conv2d, self[0])


class Neck(nn.Module):
    """FPN over four levels, all resized to the first, concatenated and merged to D channels.

    Args:
        in_channels: channels of the backbone's maps, finest first.
        channels: D.
    """

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(ConvGroupNorm(c, channels, 1) for c in in_channels)
        self.smooth = nn.ModuleList(ConvGroupNorm(channels, channels, 3) for _ in in_channels)
        self.merge = ConvGroupNorm(channels * len(in_channels), channels, 1)

    def pyramid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Backbone maps (B, C_i, h_i, w_i) -> pyramid maps (B, D, h_i, w_i)."""
        levels = [lateral(m) for lateral, m in zip(self.lateral, maps, strict=True)]
        for fine in range(len(levels) - 2, -1, -1):
            levels[fine] = _add_resized(levels[fine], levels[fine + 1], "nearest")
        return [smooth(level) for smooth, level in zip(self.smooth, levels, strict=True)]

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Backbone maps, finest first -> image feature (B, D, h_0, w_0)."""
        if native_neck.can_run(self, maps):
            return native_neck.run(self, maps)
        levels = self.pyramid(maps)
        weights = self.merge.convolution.weight.chunk(len(levels), dim=1)
        finest, *coarser = (F.conv2d(level, weight) for level, weight in zip(levels, weights, strict=True))
        for level in coarser:  # a 1×1 convolution may as well come before the resizing: at fewer pixels
            finest = _add_resized(finest, level, "bilinear")
        return self.merge[1](finest)


def _add_resized(result: Tensor, other: Tensor, mode: Literal["nearest", "bilinear"]) -> Tensor:
    """Add a map to what a convolution or norm returned, of which no gradient needs the values."""
    if native_neck.can_add_resized(result, other):
        return native_neck.add_resized(result, other, mode)
    corners = {} if mode == "nearest" else {"align_corners": False}
    resized = F.interpolate(other, size=result.shape[-2:], mode=mode, **corners)
    return result.add_(resized) if result.dtype == resized.dtype else result + resized
