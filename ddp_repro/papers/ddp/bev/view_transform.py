"""Lift-splat (Philion and Fidler 2020): every image feature is spread over depth and summed into ground cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from ddp_repro.networks.precision import full_precision
from ddp_repro.papers.ddp.bev.layers import conv_norm_relu
from ddp_repro.papers.ddp.bev.pool import bev_pool, plan_pooling
from ddp_repro.papers.ddp.bev.settings import FINEST_STRIDE, GRID_STRIDE, BEVConfig

CONDITION_LIMIT = 1e7  # beyond it, a float32 inverse has no correct digit


@dataclass(frozen=True)
class Calibration:
    """Where the cameras are and what augmentation did, float32.

    Attributes:
        camera_to_lidar: (B, N, 4, 4), camera x right, y down, z forward to LiDAR x right, y forward, z up; metres.
        intrinsics: (B, N, 3, 3), metres to pixels of the camera.
        image_augmentation: (B, N, 4, 4), pixels of the camera to pixels of the picture.
        lidar_augmentation: (B, 4, 4), applied to the LiDAR frame.
    """

    camera_to_lidar: Tensor
    intrinsics: Tensor
    image_augmentation: Tensor
    lidar_augmentation: Tensor

    @classmethod
    def of(cls, batch: Mapping[str, Any]) -> Self:
        """Return the calibration inside a batch, under the attributes' names."""
        return cls(
            batch["camera_to_lidar"].float(),
            batch["intrinsics"][..., :3, :3].float(),
            batch["image_augmentation"].float(),
            batch["lidar_augmentation"].float(),
        )

    def inverses(self) -> tuple[Tensor, Tensor]:
        """Inverse linear parts of the image augmentation and of the intrinsics, both (B, N, 3, 3).

        Raises:
            ValueError: any of the four kinds of matrix is singular or not finite; names the sample and the camera.
        """
        _invert(self.camera_to_lidar, "camera_to_lidar")
        _invert(self.lidar_augmentation, "lidar_augmentation")
        return _invert(self.image_augmentation, "image_augmentation"), _invert(self.intrinsics, "intrinsics")


class ViewTransform(nn.Module):
    """Camera features -> BEV feature of the published "LSS" kind: depth from the image alone, no LiDAR points.

    Args:
        config: its ``image_size``, ``channels``, ``view_channels``, depths and lifted grid.
    """

    cell: Tensor
    first_centre: Tensor
    frustum: Tensor

    def __init__(self, config: BEVConfig) -> None:
        super().__init__()
        self.size, self.height = config.lift_size, config.lift_height
        low, high = -config.lift_range, config.lift_range
        # As float32 values of (cell centre, cell size): the released cell borders hang on their rounding.
        cell = torch.tensor([config.lift_cell, config.lift_cell, self.height[1] - self.height[0]])
        lower = torch.tensor([low, low, self.height[0]])
        self.register_buffer("cell", cell, persistent=False)
        self.register_buffer("first_centre", lower + cell / 2, persistent=False)
        self.register_buffer("frustum", frustum(config), persistent=False)
        self.depths = len(self.frustum)
        self.range = (low, high)
        width = config.view_channels
        self.depth_net = nn.Conv2d(config.channels, self.depths + width, 1)
        self.downsample = nn.Sequential(
            *conv_norm_relu(width, width, 3), *conv_norm_relu(width, width, 3, GRID_STRIDE),
            *conv_norm_relu(width, width, 3),
        )  # fmt: skip

    def forward(self, features: Tensor, calibration: Calibration) -> Tensor:
        """Camera features (B, N, C, h, w) -> BEV feature (B, C', x, y).

        Raises:
            ValueError: a calibration that is singular or not finite, or that puts no point into the grid.
        """
        return self.downsample(self.splat(features, calibration))

    def splat(self, features: Tensor, calibration: Calibration) -> Tensor:
        """Camera features (B, N, C, h, w) -> sums over cells (B, C', x, y), not yet downsampled; in float32."""
        batch = features.shape[:2]
        predicted = self.depth_net(features.flatten(0, 1)).float()
        depth = predicted[:, : self.depths].softmax(1).unflatten(0, batch)
        context = predicted[:, self.depths :].unflatten(0, batch)
        return bev_pool(context, depth, plan_pooling(self.cells(calibration), (self.size, self.size)))

    def cells(self, calibration: Calibration) -> Tensor:
        """Cell number x · size + y of every lifted point (B, N, d, h, w), int32; -1 outside the grid.

        Coordinates are truncated towards zero, so that points up to one cell below the lower bound land in cell 0
        (released code).
        """
        numbers = []
        for points in self._points_by_camera(calibration):
            x, y, z = points.sub_(self.first_centre - self.cell / 2).div_(self.cell).to(torch.int32).unbind(-1)
            inside = (x >= 0) & (x < self.size) & (y >= 0) & (y < self.size) & (z == 0)
            numbers.append(torch.where(inside, x * self.size + y, -1))
        return torch.stack(numbers, dim=1)

    def points(self, calibration: Calibration) -> Tensor:
        """LiDAR coordinates of every lifted point, (B, N, d, h, w, 3), metres, float32."""
        return torch.stack(list(self._points_by_camera(calibration)), dim=1)

    def _points_by_camera(self, calibration: Calibration) -> Iterator[Tensor]:
        """(B, d, h, w, 3) for one camera after the other: all together would take a quarter of a gigabyte."""
        with full_precision(self.frustum.device):
            unaugment, unproject = calibration.inverses()
            rotation = calibration.camera_to_lidar[..., :3, :3] @ unproject
            for camera in range(rotation.shape[1]):
                points = self.frustum - calibration.image_augmentation[:, camera, None, None, None, :3, 3]
                points = _rotate(unaugment[:, camera], points)
                points[..., :2] *= points[..., 2:]
                points = _rotate(rotation[:, camera], points)
                points += calibration.camera_to_lidar[:, camera, None, None, None, :3, 3]
                points = _rotate(calibration.lidar_augmentation[:, :3, :3], points)
                yield points.add_(calibration.lidar_augmentation[:, None, None, None, :3, 3])


def frustum(config: BEVConfig) -> Tensor:
    """(d, h, w, 3): pixel x, pixel y and depth of every lifted point.

    Pixels run evenly from the first to the last of the picture (released code), not over the centres of the strides.
    """
    height, width = config.image_size
    depth = torch.arange(*config.depth_range, config.depth_step)
    y = torch.linspace(0, height - 1, height // FINEST_STRIDE)
    x = torch.linspace(0, width - 1, width // FINEST_STRIDE)
    depth, y, x = torch.meshgrid(depth, y, x, indexing="ij")
    return torch.stack([x, y, depth], dim=-1)


def _rotate(matrices: Tensor, points: Tensor) -> Tensor:
    """Matrices (B, 3, 3), points (B, d, h, w, 3) -> (B, d, h, w, 3)

    Term by term: a point at a cell's border then falls on the same side as in the released code, which a matrix product
    with its own order of summation does not guarantee.
    """
    x, y, z = points.split(1, dim=-1)
    columns = matrices[:, None, None, None]
    return (x * columns[..., 0]).add_(y * columns[..., 1]).add_(z * columns[..., 2])


def _invert(matrices: Tensor, name: str) -> Tensor:
    """Inverse of the linear part of (B, N, 3, 3), (B, N, 4, 4) or (B, 4, 4).

    Raises:
        ValueError: a matrix is singular or not finite; names the sample and the camera.
    """
    inverse, failed = torch.linalg.inv_ex(matrices[..., :3, :3])
    condition = matrices[..., :3, :3].flatten(-2).norm(dim=-1) * inverse.flatten(-2).norm(dim=-1)
    bad = (failed != 0) | ~(condition < CONDITION_LIMIT) | ~matrices.flatten(-2).isfinite().all(-1)
    if bad.any():
        place = tuple(bad.nonzero()[0].tolist())
        where = ", ".join(f"{what} {number}" for what, number in zip(("sample", "camera"), place, strict=False))
        raise ValueError(
            f"{name} of {where} cannot be inverted; expected a finite, invertible matrix, "
            f"got {matrices[place].tolist()}"
        )
    return inverse
