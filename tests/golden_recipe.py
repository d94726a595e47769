"""Weights and inputs that anyone can regenerate from their names, as the reference files were made with."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import Tensor, nn

from ddp_repro.papers.ddp.released import _layout, rename


def _generator(tag: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(zlib.crc32(tag.encode())))


def tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    """The reference weight of the official tensor ``name``."""
    noise = _generator(name).standard_normal(shape)
    leaf, fan_in = name.rpartition(".")[2], np.sqrt(np.prod(shape[1:]))
    if leaf == "running_var":
        value = 1 + 0.1 * np.abs(noise)
    elif name in ("embedding_table.weight", "time_mlp.0.weights"):
        value = noise
    elif name.endswith("sampling_offsets.bias"):
        value = 2 * noise
    elif name.endswith("conv_depth.bias"):
        value = 5 + noise
    elif name.endswith("conv_depth.weight"):
        value = 6 * noise / fan_in
    elif leaf == "relative_position_bias_table":
        value = 0.5 * noise
    elif noise.ndim == 1 and leaf in ("weight", "gamma"):
        value = 1 + 0.1 * noise
    elif noise.ndim <= 1:  # biases and running means
        value = 0.1 * noise
    else:
        value = noise / fan_in
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


def tagged(prefix: str, shape: tuple[int, ...]) -> Tensor:
    """A standard normal input whose tag spells its shape, e.g. ``img:1x3x64x96``."""
    values = _generator(f"{prefix}:{'x'.join(map(str, shape))}").standard_normal(shape)
    return torch.from_numpy(values.astype(np.float32))


def labels(tag: str, shape: tuple[int, ...], num_classes: int) -> Tensor:
    """Uniform labels with one pixel in ten ignored (255)."""
    generator = _generator(tag)
    values = generator.integers(0, num_classes, size=shape)
    values[generator.random(shape) < 0.1] = 255
    return torch.from_numpy(values.astype(np.int64))


def fill(model: nn.Module, official_shapes: dict[str, list[int]]) -> None:
    """Load the reference weights of the official tensors with these names and shapes."""
    own = model.state_dict()
    for key, shape in official_shapes.items():
        own[rename(key)].copy_(_layout(key, tensor(key, tuple(shape))))


def depths(tag: str, shape: tuple[int, ...], max_depth: float, p_invalid: float = 0.5) -> Tensor:
    """Uniform depths below ``max_depth`` metres, with a share of pixels without measurement (0)."""
    generator = _generator(tag)
    values = generator.random(shape) * max_depth
    values[generator.random(shape) < p_invalid] = 0.0
    return torch.from_numpy(values.astype(np.float32))
