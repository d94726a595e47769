"""Swin blocks that pad before they shift, as the official segmentation Swin does.

timm shifts first and pads the shifted map; the two agree only where the window divides the map.
"""

from __future__ import annotations

import functools
from typing import cast

import torch
import torch.nn.functional as F
from timm.models.swin_transformer import SwinTransformerBlock, window_partition, window_reverse
from torch import Tensor, nn

from ddp_repro.networks.kernels import swin as native_swin

Size = tuple[int, int]
BLOCKED = -100.0  # added to attention between regions that only the cyclic shift made neighbours


@functools.lru_cache(maxsize=64)
def shift_mask(size: Size, window: Size, shift: Size, device: torch.device, dtype: torch.dtype) -> Tensor | None:
    """Additive attention mask (windows, n, n) of a shifted, padded map; None without a shift."""
    if not any(shift):
        return None
    region = torch.zeros(size, device=device, dtype=dtype)
    for axis in (0, 1):
        line = torch.zeros(size[axis], device=device, dtype=dtype)
        line[size[axis] - window[axis] : size[axis] - shift[axis]] = 1
        line[size[axis] - shift[axis] :] = 2
        region += line[:, None] * 3 if axis == 0 else line[None]
    windows = window_partition(region[None, :, :, None], window).flatten(1)
    return (windows[:, None] != windows[:, :, None]).to(dtype) * BLOCKED


class PaddedSwinBlock(SwinTransformerBlock):
    """timm's block with the official order: pad, shift, attend in windows, shift back, crop."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)"""
        return native_swin.run(self, x) if native_swin.can_run(self, x) else super().forward(x)

    def _attn(self, x: Tensor) -> Tensor:
        _, height, width, channels = x.shape
        window, shift = self.window_size, self.shift_size
        x = F.pad(x, (0, 0, 0, -width % window[1], 0, -height % window[0]))
        size = (x.shape[1], x.shape[2])
        if any(shift):
            x = torch.roll(x, (-shift[0], -shift[1]), dims=(1, 2))
        windows = window_partition(x, window).view(-1, self.window_area, channels)
        windows = self.attn(windows, mask=shift_mask(size, window, shift, x.device, x.dtype))
        x = window_reverse(windows.view(-1, *window, channels), window, *size)
        if any(shift):
            x = torch.roll(x, shift, dims=(1, 2))
        return x[:, :height, :width].contiguous()


def partition_like_official(body: nn.Module) -> None:
    """Turn every block of a timm Swin into a :class:`PaddedSwinBlock`; the parameters stay as they are."""
    for module in body.modules():
        if isinstance(module, SwinTransformerBlock):
            module.__class__ = PaddedSwinBlock


def set_window_size(body: nn.Module, window_size: int) -> None:
    """Give every block another window; the position tables are interpolated to its size."""
    for module in body.modules():
        if isinstance(module, SwinTransformerBlock):
            module.set_input_size(cast(Size, module.input_resolution), (window_size, window_size))
