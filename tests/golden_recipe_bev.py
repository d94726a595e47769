"""Weights and inputs of the BEV reference files, regenerated from their names."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ddp_repro.papers.ddp.bev import released as official_bev
from ddp_repro.papers.ddp.bev.model import BEVDDP
from ddp_repro.papers.ddp.bev.view_transform import Calibration

GOLDEN = Path(__file__).parent / "golden" / "bev"
MANIFESTS = json.loads(gzip.decompress((GOLDEN / "manifests.json.gz").read_bytes()))
RECOMPUTED = ("relative_position_index", "num_batches_tracked", ".dx", ".bx", ".nx", ".frustum")
AZIMUTHS = (0.0, -55.0, 55.0, 180.0, 110.0, -110.0)  # degrees from forward, counter-clockwise


def reference(name: str) -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / f"{name}.npz"))


def _generator(tag: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(zlib.crc32(tag.encode())))


def normal(tag: str, shape: tuple[int, ...]) -> Tensor:
    """Standard normal; the tag spells the shape, e.g. ``head.x:2x256x16x16``."""
    return torch.from_numpy(_generator(f"{tag}:{'x'.join(map(str, shape))}").standard_normal(shape).astype(np.float32))


def uniform(tag: str, shape: tuple[int, ...]) -> np.ndarray:
    return _generator(f"{tag}:{'x'.join(map(str, shape))}").random(shape)


def masks(tag: str, shape: tuple[int, int, int, int]) -> Tensor:
    """Overlapping blocky masks, each block present with probability 0.3."""
    size = 4 if shape[2] % 10 else 10
    coarse = _generator(f"{tag}:{'x'.join(map(str, shape))}").random((*shape[:2], shape[2] // size, shape[3] // size))
    return torch.from_numpy((coarse < 0.3).repeat(size, 2).repeat(size, 3))


def weight(name: str, shape: tuple[int, ...]) -> Tensor:
    """The reference weight of the official tensor ``name``."""
    noise, leaf = _generator(name).standard_normal(shape), name.rpartition(".")[2]
    if leaf == "running_var":
        value = 1 + 0.1 * np.abs(noise)
    elif name in ("embedding_table.weight", "time_mlp.0.weights"):
        value = noise
    elif name.endswith("sampling_offsets.bias"):
        value = 2 * noise
    elif leaf == "relative_position_bias_table":
        value = 0.5 * noise
    elif noise.ndim == 1:
        value = 0.02 * noise + (leaf == "weight")
    else:
        value = (
            noise * {2: shape[1] ** -0.5, 4: np.sqrt(2 / np.prod(shape[1:])), 5: (4 * shape[-2]) ** -0.5}[noise.ndim]
        )
    return torch.from_numpy(value.astype(np.float32))


def fill(model: BEVDDP, manifest: str, prefix: str | tuple[str, ...]) -> None:
    """Load the reference weights of the official tensors whose names start with ``prefix``."""
    state = {
        key: weight(key, tuple(shape))
        for key, shape in MANIFESTS[manifest]["shapes"].items()
        if key.startswith(prefix) and not key.endswith(RECOMPUTED)
    }
    translated, _ = official_bev.translate(state, model)
    assert state and not model.load_state_dict(translated, strict=False).unexpected_keys


def _rotation(axis: str, degrees: float) -> np.ndarray:
    turn, (i, j) = np.eye(3), {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    angle = np.deg2rad(degrees)
    turn[i, i] = turn[j, j] = np.cos(angle)
    turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
    return turn


def camera_rig(tag: str = "calib") -> tuple[Tensor, Tensor]:
    """camera_to_lidar (1, 6, 4, 4) and intrinsics (1, 6, 4, 4) of a rig like nuScenes'."""
    generator = _generator(tag)
    poses, intrinsics = np.tile(np.eye(4), (6, 1, 1)), np.tile(np.eye(4), (6, 1, 1))
    for camera, azimuth in enumerate(AZIMUTHS):
        pitch, roll = generator.uniform(-1, 1, 2)
        focal = (800 if camera == 3 else 1260) + 10 * generator.standard_normal()
        heading = _rotation("z", azimuth)
        poses[camera, :3, :3] = heading @ _rotation("x", pitch - 90) @ _rotation("z", roll)
        poses[camera, :3, 3] = heading @ [0.0, 0.9, -0.3] + 0.05 * generator.standard_normal(3)
        intrinsics[camera, [0, 1], [0, 1]] = focal
        intrinsics[camera, 0, 2] = 800 + 20 * generator.standard_normal()
        intrinsics[camera, 1, 2] = 450 + 20 * generator.standard_normal()
    return tuple(torch.from_numpy(m.astype(np.float32))[None] for m in (poses, intrinsics))


def calibration(
    tag: str = "calib", image_augmentation: Tensor | None = None, lidar_augmentation: Tensor | None = None
) -> Calibration:
    """The rig with the test-time picture: scaled by 0.48, 32 pixels cut on the left and 176 on top."""
    if image_augmentation is None:
        image_augmentation = torch.diag(torch.tensor([0.48, 0.48, 1.0, 1.0])).repeat(6, 1, 1)
        image_augmentation[:, :2, 3] = torch.tensor([-32.0, -176.0])
    lidar_augmentation = torch.eye(4)[None] if lidar_augmentation is None else lidar_augmentation
    samples, (poses, intrinsics) = len(lidar_augmentation), camera_rig(tag)
    return Calibration(
        poses.expand(samples, -1, -1, -1),
        intrinsics[..., :3, :3].expand(samples, -1, -1, -1),
        image_augmentation.expand(samples, 6, -1, -1),
        lidar_augmentation,
    )


def lidar_points(tag: str, count: int, box: tuple[float, ...] = (-54, -54, -5.5, 54, 54, 3.5)) -> Tensor:
    """(count, 5): uniform positions, whole intensities 0..255, time lags in steps of 0.05 s."""
    generator = _generator(f"{tag}:{count}" if ":" not in tag else tag)
    low, high = np.array(box[:3]), np.array(box[3:])
    positions = low + (high - low) * generator.random((count, 3))
    intensity = np.floor(generator.random(count) * 256)
    lag = np.floor(generator.random(count) * 10) * 0.05
    return torch.from_numpy(np.column_stack([positions, intensity, lag]).astype(np.float32))
