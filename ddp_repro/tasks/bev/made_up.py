"""A bird's-eye-view sample without files: pictures of noise, a rig like nuScenes', a cloud, a map of blocks.

With the default number of points the cloud fills about as many voxels as ten real sweeps do.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

PLACES, RETURNS = 72_000, 3  # that the LiDAR hits, and how often: the points of ten sweeps
SENSOR_HEIGHT = 1.84  # metres, of the LiDAR
AZIMUTHS = (0.0, -56.0, 55.0, 180.0, 109.0, -111.0)  # degrees to the left, of the cameras
FOCAL = (0.79, 0.79, 0.79, 0.506, 0.79, 0.79)  # widths of the camera's picture
BLOCK = 4  # cells of the map


def made_up_sample(config: Any, device: str = "cpu", places: int = PLACES) -> dict[str, Any]:
    """Return one sample, of the size that a BEV model of settings ``config`` takes, without the true map."""
    generator, cameras = torch.Generator().manual_seed(0), len(AZIMUTHS)
    height, width = config.image_size
    intrinsics = torch.eye(3).repeat(cameras, 1, 1)
    focal = 1.09 * width * torch.tensor(FOCAL)  # the network's picture is cut out of the camera's
    intrinsics[:, 0, 0], intrinsics[:, 1, 1], intrinsics[:, 0, 2] = focal, focal, width / 2
    intrinsics[:, 1, 2] = 0.2 * height  # the horizon is in its upper part
    batch = {
        "image": torch.randn(cameras, 3, height, width, generator=generator),
        "camera_to_lidar": torch.stack([_camera_pose(math.radians(azimuth)) for azimuth in AZIMUTHS]),
        "intrinsics": intrinsics,
        "image_augmentation": torch.eye(4).repeat(cameras, 1, 1),
        "lidar_augmentation": torch.eye(4),
    }
    made = {name: value[None].to(device) for name, value in batch.items()}
    return made | {"points": [_made_up_cloud(config.lift_range, places, generator).to(device)]}


def _camera_pose(azimuth: float) -> Tensor:
    """(4, 4), camera to LiDAR, of a level camera that looks ``azimuth`` to the left."""
    sine, cosine = math.sin(azimuth), math.cos(azimuth)
    pose = torch.eye(4)
    pose[:3, 0] = torch.tensor([cosine, sine, 0.0])  # right
    pose[:3, 1] = torch.tensor([0.0, 0.0, -1.0])  # down
    pose[:3, 2] = torch.tensor([-sine, cosine, 0.0])  # ahead
    pose[:3, 3] = 0.7 * pose[:3, 2] + torch.tensor([0.0, 0.0, -0.3])
    return pose


def _made_up_cloud(reach: float, count: int, generator: torch.Generator) -> Tensor:
    """(P, 5): rough ground, denser near the car, and a tenth of the places on whatever stands on it."""
    azimuth = 2 * math.pi * torch.rand(count, generator=generator)
    distance = 2.0 * (reach / 2.0) ** torch.rand(count, generator=generator)
    above = 0.05 * torch.randn(count, generator=generator).abs()
    standing = torch.rand(count, generator=generator) < 0.1
    above[standing] = 4 * torch.rand(int(standing.sum()), generator=generator)
    places = torch.stack([distance * azimuth.cos(), distance * azimuth.sin(), above - SENSOR_HEIGHT], dim=1)
    points = places.repeat(RETURNS, 1)
    points += 0.01 * torch.randn(points.shape, generator=generator)
    lag = 0.05 * torch.randint(10, (len(points), 1), generator=generator)
    return torch.cat([points, torch.randint(256, lag.shape, generator=generator), lag], dim=1)


def made_up_batch(model: Any, data: Any, train: bool) -> dict[str, Any]:
    """Return one sample with a map of blocks; nothing here is augmented."""
    generator = torch.Generator().manual_seed(1)
    blocks = torch.rand(1, model.num_classes, *[math.ceil(model.map_size / BLOCK)] * 2, generator=generator) < 0.3
    masks = blocks.repeat_interleave(BLOCK, 2).repeat_interleave(BLOCK, 3)[..., : model.map_size, : model.map_size]
    return made_up_sample(model, places=200) | {"masks": masks, "id": ["made up"]}
