"""Layers whose padding hangs on the map's size, as lookups of rows and columns: one graph for any size.

:class:`ddp_repro.networks.swin.PaddedSwinBlock` pads by what a map lacks to whole windows.  A graph of that would have
to know whether anything is lacking.  Here a map is padded by a constant, and an index says which rows and columns are
read: the same numbers, by operations of simpler shapes.  So it is with convolutions that pad as TensorFlow does.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from timm.models.swin_transformer import PatchMerging
from torch import Tensor, nn

from ddp_repro.networks.swin import BLOCKED, PaddedSwinBlock


class IndexedSwinBlock(PaddedSwinBlock):
    """A padded block of the same parameters, for graphs alone."""

    def _attn(self, x: Tensor) -> Tensor:
        height, width, channels = x.shape[1:]
        axes = [_Axis(height, *self._window(0)), _Axis(width, *self._window(1))]
        (rows, columns), (tall, wide) = [axis.count for axis in axes], self.window_size
        x = F.pad(x, (0, 0, 0, wide - 1, 0, tall - 1))
        x = x.index_select(1, axes[0].read(x.device)).index_select(2, axes[1].read(x.device))
        x = x.unflatten(2, (columns, wide)).unflatten(1, (rows, tall)).transpose(2, 3)
        windows = x.flatten(3, 4).flatten(0, 2)  # (B·rows·columns, n, C)
        mask = _mask(axes, x) if any(self.shift_size) else None
        x = self.attn(windows, mask=mask).view(-1, rows, columns, tall, wide, channels)
        x = x.transpose(2, 3).flatten(3, 4).flatten(1, 2)
        return x.index_select(1, axes[0].write(x.device)).index_select(2, axes[1].write(x.device))

    def _window(self, axis: int) -> tuple[int, int]:
        return self.window_size[axis], self.shift_size[axis]


class IndexedPatchMerging(PatchMerging):
    """The step between two stages, of the same parameters, for graphs alone."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, ⌈H/2⌉, ⌈W/2⌉, 2·C)"""
        halves = [(size + 1) // 2 for size in x.shape[1:3]]
        x = F.pad(x, (0, 0, 0, 1, 0, 1))
        for dimension, half in enumerate(halves, 1):
            x = x.index_select(dimension, torch.arange(2 * half, device=x.device))
        x = x.unflatten(2, (halves[1], 2)).unflatten(1, (halves[0], 2))
        return self.reduction(self.norm(x.permute(0, 1, 3, 4, 2, 5).flatten(3)))


class IndexedConvolution(Conv2dSame):
    """A convolution of stride 2 and an odd kernel that pads as TensorFlow does, of the same parameters.

    It pads less at the left and the top where a size is even.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', ⌈H/2⌉, ⌈W/2⌉)"""
        layer: Any = self  # timm does not declare what its scripted base class has
        sizes, (kernel, _) = x.shape[2:], layer.kernel_size
        x = F.pad(x, [kernel // 2] * 4)
        for dimension, size in enumerate(sizes, 2):
            half = (size + 1) // 2
            place = torch.arange(2 * half + kernel - 2, device=x.device)
            x = x.index_select(dimension, place + (size + 1 - 2 * half))
        return F.conv2d(x, layer.weight, layer.bias, layer.stride, 0, layer.dilation, layer.groups)


class _Axis:
    """Rows, or columns, of a map: how they lie in windows after padding and the cyclic shift."""

    def __init__(self, size: int, window: int, shift: int) -> None:
        self.size, self.window, self.shift = size, window, shift
        self.count = (size + window - 1) // window

    def read(self, device: torch.device) -> Tensor:
        """Return which line of the padded map stands at which place of the windows."""
        padded = self.count * self.window
        place = torch.arange(padded, device=device)
        return torch.where(place < padded - self.shift, place + self.shift, place + self.shift - padded)

    def write(self, device: torch.device) -> Tensor:
        """Return at which place of the windows the lines of the map stand."""
        padded = self.count * self.window
        line = torch.arange(self.size, device=device)
        return torch.where(line < self.shift, line + padded - self.shift, line - self.shift)

    def regions(self, device: torch.device) -> Tensor:
        """Return numbers of the parts that only the shift made neighbours, (count, window)."""
        place, padded = torch.arange(self.count * self.window, device=device), self.count * self.window
        number = (place >= padded - self.window).int() + (place >= padded - self.shift).int()
        return number.unflatten(0, (self.count, self.window))


def _mask(axes: list[_Axis], like: Tensor) -> Tensor:
    """Return what is added to the attention between tokens of other regions, (windows, n, n)."""
    rows, columns = (axis.regions(like.device) for axis in axes)
    regions = 3 * rows[:, None, :, None] + columns[None, :, None, :]
    windows = regions.flatten(2).flatten(0, 1)
    return (windows[:, None] != windows[:, :, None]).to(like.dtype) * BLOCKED


def whole_patches(images: Tensor, patch: int) -> Tensor:
    """Append zeros at the right and the bottom up to whole patches; (B, 3, H, W) -> (B, 3, ⌈H⌉, ⌈W⌉)."""
    sizes = [(size + patch - 1) // patch * patch for size in images.shape[2:]]
    images = F.pad(images, (0, patch - 1, 0, patch - 1))
    for dimension, size in enumerate(sizes, 2):
        images = images.index_select(dimension, torch.arange(size, device=images.device))
    return images


def index_padding(model: nn.Module) -> None:
    """Turn every layer that has one into its indexed form; the parameters stay as they are."""
    for module in model.modules():
        if isinstance(module, PaddedSwinBlock):
            module.__class__ = IndexedSwinBlock
        elif type(module) is PatchMerging:
            module.__class__ = IndexedPatchMerging
        elif type(module) is Conv2dSame and _is_usual(module):
            module.__class__ = IndexedConvolution


def _is_usual(layer: Any) -> bool:
    """Whether a convolution has stride 2 and a square, odd kernel without holes: those of EfficientNet have."""
    height, width = layer.kernel_size
    return layer.stride == (2, 2) and layer.dilation == (1, 1) and height == width and height % 2 == 1
