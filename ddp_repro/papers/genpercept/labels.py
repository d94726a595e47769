"""Labels as GenPercept's VAE takes them: every task's truth in [-1, 1]."""

from __future__ import annotations

import torch
from torch import Tensor


def normalise_depth(depth: Tensor, valid: Tensor, quantiles: tuple[float, float] = (0.02, 0.98)) -> Tensor:
    """Return depth in [-1, 1]: two quantiles of the valid pixels become -1 and 1, and what is beyond is clipped.

    A constant depth becomes 0.

    Args:
        depth: metres, (H, W) or (1, H, W).
        valid: bool, shaped alike.

    Raises:
        ValueError: no valid pixel, or a depth that is not finite among them.
    """
    near, far = _quantiles(_valid_values(depth, valid), quantiles)
    return torch.where(depth.isfinite(), _to_unit(depth, near, far), -1.0)


def normalise_disparity(depth: Tensor, valid: Tensor, quantiles: tuple[float, float] = (0.0, 1.0)) -> Tensor:
    """Return disparity in [-1, 1], 1 the nearest; invalid pixels are -1.

    As released, the planes come from all pixels with a positive depth, the masked ones included.

    Args:
        depth: metres, (H, W) or (1, H, W).
        valid: bool, shaped alike.
        quantiles: of the depth, where the far and near planes lie.

    Raises:
        ValueError: no valid pixel, or a valid depth that is not finite or not positive.
    """
    values = _valid_values(depth, valid)
    if (values <= 0).any():
        raise ValueError("disparity needs depths above 0 at the valid pixels")
    near, far = _quantiles(depth[depth.isfinite() & (depth > 0)], quantiles)
    disparity = 1 / torch.where(valid, depth, 1)
    return torch.where(valid, _to_unit(disparity, 1 / far, 1 / near), -1.0)


def normalise_range(values: Tensor) -> Tensor:
    """Return a mask, an alpha matte or a colour map in [-1, 1] by its minimum and maximum.

    A constant map has no range: an empty mask (0) becomes -1, any other 1.

    Raises:
        ValueError: empty, or not finite.
    """
    values = values.float()
    if not values.numel() or not values.isfinite().all():
        raise ValueError("a label is empty or not finite")
    low, high = values.min(), values.max()
    if low == high:
        return torch.full_like(values, -1.0 if low == 0 else 1.0)
    return _to_unit(values, low, high)


def _valid_values(depth: Tensor, valid: Tensor) -> Tensor:
    values = depth[valid]
    if not values.numel():
        raise ValueError("no pixel has a valid depth")
    if not values.isfinite().all():
        raise ValueError("depth is not finite among the valid pixels")
    return values


def _quantiles(values: Tensor, fractions: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Return two quantiles by linear interpolation; torch.quantile refuses more than 16 million values."""
    ordered = values.flatten().double().sort().values
    results = []
    for fraction in fractions:
        position = fraction * (len(ordered) - 1)
        low = int(position)
        high = min(low + 1, len(ordered) - 1)
        results.append(ordered[low] + (position - low) * (ordered[high] - ordered[low]))
    return results[0], results[1]


def _to_unit(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    if low == high:
        return torch.zeros_like(values)
    return ((values - low) / (high - low) * 2 - 1).clamp(-1, 1).to(values.dtype)
