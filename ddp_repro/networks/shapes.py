"""Sizes of maps, and maps as tokens."""

from __future__ import annotations

from torch import Tensor


def shape_of(maps: Tensor) -> tuple[int, int]:
    """Return (h, w) of maps (..., h, w)."""
    return maps.shape[-2], maps.shape[-1]


def tokens_of(maps: Tensor) -> Tensor:
    """Return maps (B, C, h, w) as tokens (B, h·w, C)."""
    return maps.flatten(2).transpose(1, 2)
