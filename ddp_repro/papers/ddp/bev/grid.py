"""From the cells of the BEV feature to the cells of the predicted map."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor


@functools.lru_cache(maxsize=16)
def _sampling_grid(feature_range: float, map_range: float, map_cell: float, device: torch.device) -> Tensor:
    """(1, X, Y, 2) positions for ``grid_sample``; the last axis of a map, y, comes first."""
    centres = torch.arange(-map_range + map_cell / 2, map_range, map_cell, device=device)
    centres = (centres + feature_range) / (2 * feature_range) * 2 - 1
    x, y = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([y, x], dim=-1)[None]


def crop_to_map(features: Tensor, feature_range: float, map_range: float, map_cell: float) -> Tensor:
    """Read a BEV feature bilinearly at the centres of the map's cells.

    Args:
        features: (B, C, x, y), covering [-feature_range, feature_range) in both axes.
        feature_range, map_range, map_cell: metres.

    Returns:
        (B, C, X, Y) with X = Y = 2 · map_range / map_cell.
    """
    grid = _sampling_grid(feature_range, map_range, map_cell, features.device).to(features.dtype)
    return F.grid_sample(features, grid.expand(len(features), -1, -1, -1), align_corners=False)
