"""Deformable attention by mmcv's compiled operator, where one is installed (CUDA)."""

from __future__ import annotations

import importlib

import torch
from torch import Tensor

from ddp_repro.settings.errors import ConfigError


def attend_mmcv(value: Tensor, locations: Tensor, weights: Tensor, shape: tuple[int, int]) -> Tensor:
    """See :func:`ddp_repro.networks.attention.deformable.attend_reference`.

    mmcv takes (B, N, heads, levels, points, ...), places as fractions of the map, and all tensors in one dtype.

    Raises:
        ConfigError: no compiled mmcv.
    """
    value = value.to(weights.dtype)
    size = locations.new_tensor([shape[1], shape[0]])
    places = (locations.permute(0, 4, 2, 3, 1) + 0.5) / size
    shapes = torch.tensor([shape], device=value.device)
    starts = shapes.new_zeros(1)
    places, shares = places.unsqueeze(3).contiguous(), weights.permute(0, 3, 1, 2).unsqueeze(3).contiguous()
    return _function().apply(value.contiguous(), shapes, starts, places, shares, len(value))  # the whole batch at once


def _function() -> type[torch.autograd.Function]:
    try:
        return importlib.import_module("mmcv.ops").MultiScaleDeformableAttnFunction
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"attention backend mmcv needs the package mmcv with compiled operators ({error})") from None
