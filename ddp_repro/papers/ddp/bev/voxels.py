"""Hard voxelisation: LiDAR points to the mean of the first few points of each voxel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ddp_repro.data.io import DataError

POINT_FEATURES = 5  # x, y, z (metres), intensity (0..255), time lag (seconds)


@dataclass(frozen=True)
class Voxels:
    """The occupied voxels of one cloud, in the order of their first points.

    Attributes:
        features: mean of each voxel's kept points, (V, 5).
        coordinates: (x, y, z) numbers, (V, 3) int64.
        counts: kept points of each voxel, (V,) int64.
    """

    features: Tensor
    coordinates: Tensor
    counts: Tensor


def check_cloud(points: Tensor, name: str) -> None:
    """Refuse a cloud that cannot be voxelised.

    Raises:
        ValueError: wrong shape, no point, or values that are not finite; starts with ``name``.
    """
    if points.dim() != 2 or points.shape[1] != POINT_FEATURES:
        raise ValueError(
            f"{name} has shape {tuple(points.shape)}; expected (P, {POINT_FEATURES}): x, y, z, intensity, time lag"
        )
    if not len(points):
        raise ValueError(f"{name} is empty; expected at least one LiDAR point (no LiDAR at all: points=None)")
    bad = ~points.isfinite().all(1)
    if bad.any():
        raise ValueError(f"{name}: {int(bad.sum())} of {len(points)} points are not finite; expected finite values")


def voxelize(
    points: Tensor,
    point_range: Sequence[float],
    voxel_size: Sequence[float],
    max_points: int,
    max_voxels: int,
    name: str = "the cloud",
) -> Voxels:
    """Voxelise one cloud as released: the first ``max_voxels`` voxels, the first ``max_points`` points of each.

    Args:
        points: (P, 5), metres in the first three columns.
        point_range: x, y, z low (included), x, y, z high (excluded).
        voxel_size: metres along x, y and z.
        name: of the cloud, for errors.

    Raises:
        ValueError: the cloud is empty or not finite.
        DataError: none of its points is in range.
    """
    check_cloud(points, name)
    numbers, inside = _voxel_numbers(points[:, :3], point_range, voxel_size)
    if not inside.any():
        raise DataError(f"{name}: none of {len(points)} points is in range; expected points within {point_range}")
    points, numbers = points[inside], numbers[inside]
    shape = _shape(point_range, voxel_size)
    key = (numbers[:, 0] * shape[1] + numbers[:, 1]) * shape[2] + numbers[:, 2]
    voxel, rank, first = _group_by_key(key)
    kept = (voxel < max_voxels) & (rank < max_points)
    count = min(len(first), max_voxels)
    sums = points.new_zeros(count, points.shape[1]).index_add_(0, voxel[kept], points[kept])
    counts = torch.bincount(voxel[kept], minlength=count)
    return Voxels(sums / counts[:, None], numbers[first[:count]], counts)


def _shape(point_range: Sequence[float], voxel_size: Sequence[float]) -> list[int]:
    return [
        round((high - low) / size) for low, high, size in zip(point_range[:3], point_range[3:], voxel_size, strict=True)
    ]


def _voxel_numbers(
    positions: Tensor, point_range: Sequence[float], voxel_size: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Voxel numbers (P, 3) and which of them are inside the grid (P,)."""
    low, size = positions.new_tensor(point_range[:3]), positions.new_tensor(voxel_size)
    numbers = ((positions - low) / size).floor().long()  # in the points' own precision, as released
    upper = torch.tensor(_shape(point_range, voxel_size), device=positions.device)
    return numbers, ((numbers >= 0) & (numbers < upper)).all(1)


def _group_by_key(key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each element's group (numbered by first appearance) and rank within it, and each group's first element."""
    ordered, order = torch.sort(key, stable=True)
    starts = torch.cat([ordered.new_ones(1, dtype=torch.bool), ordered[1:] != ordered[:-1]])
    group, start = starts.cumsum(0) - 1, starts.nonzero()[:, 0]
    first, appearance = torch.sort(order[start])  # stable sorting: a group's first element is its earliest
    number = torch.empty_like(appearance).scatter_(0, appearance, torch.arange(len(start), device=key.device))
    voxel, rank = torch.empty_like(order), torch.empty_like(order)
    voxel[order] = number[group]
    rank[order] = torch.arange(len(key), device=key.device) - start[group]
    return voxel, rank, first
