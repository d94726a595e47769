"""Sum of depth-weighted image features per ground cell, without ever storing the lifted features.

At the published size, two million lifted points of 80 channels would take 640 MB; as a weighted ``embedding_bag`` over
the image features the sum needs indices only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class PoolingPlan:
    """Which lifted points fall into which cell; depends on calibration and augmentation alone.

    Attributes:
        points: numbers of the points inside the grid in the flattened (B, N, d, h, w), sorted by cell; (P,) int32.
        starts: position of each cell's first point, (B · X · Y,) int32.
        shape: (X, Y).
    """

    points: Tensor
    starts: Tensor
    shape: tuple[int, int]


def plan_pooling(cells: Tensor, shape: tuple[int, int]) -> PoolingPlan:
    """Sort the lifted points by cell.

    Args:
        cells: (B, N, d, h, w), x · Y + y, or -1 outside the grid.
        shape: (X, Y).

    Raises:
        ValueError: no point of some sample is inside the grid.
    """
    batch, count = len(cells), shape[0] * shape[1]
    empty = (cells < 0).flatten(1).all(1)
    if empty.any():
        raise ValueError(
            f"no lifted point of sample {int(empty.nonzero()[0])} is inside the grid; expected cameras that see the "
            "ground around the car: check camera_to_lidar (metres, LiDAR frame), intrinsics and image_augmentation"
        )
    flat = cells.flatten()
    points = (flat >= 0).nonzero()[:, 0].to(torch.int32)
    cell = (points // cells[0].numel()).mul_(count).add_(flat[points])
    cell, order = torch.sort(cell, stable=True)
    starts = torch.searchsorted(cell, torch.arange(batch * count, device=cell.device, dtype=cell.dtype), out_int32=True)
    return PoolingPlan(points[order], starts, shape)


def bev_pool(context: Tensor, depth: Tensor, plan: PoolingPlan) -> Tensor:
    """Sum over the points of each cell of (probability of the point's depth) × (feature of its pixel).

    Args:
        context: (B, N, C, h, w).
        depth: (B, N, d, h, w), probabilities.
        plan: of :func:`plan_pooling`.

    Returns:
        (B, C, X, Y)
    """
    pixels, depths = depth.shape[-2] * depth.shape[-1], depth.shape[2]
    table = context.permute(0, 1, 3, 4, 2).flatten(0, 3)  # a row per pixel of a camera
    rows = (plan.points // (depths * pixels)).mul_(pixels).add_(plan.points % pixels)
    weights = depth.flatten().index_select(0, plan.points)
    sums = F.embedding_bag(rows, table, plan.starts, mode="sum", per_sample_weights=weights)
    return sums.view(len(context), *plan.shape, -1).permute(0, 3, 1, 2)
