"""Sampling noise that belongs to an image: the same for any batch size, order, worker or process count."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def image_generator(run_seed: int, image_id: str) -> torch.Generator:
    """Return a CPU generator seeded from (run seed, image id)."""
    digest = hashlib.sha256(f"{run_seed}:{image_id}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def draw_noise(
    shape: Sequence[int], batch: int, generator: torch.Generator | Sequence[torch.Generator] | None = None
) -> Tensor:
    """Draw standard normal noise (batch, *shape), float32, on the CPU: a seed means the same on every device.

    Args:
        shape: one image's noise, e.g. (M, h, w).
        batch: number of images.
        generator: one generator for the whole batch, one per image, or None for torch's global one.

    Raises:
        ValueError: the number of generators is not the batch size.
    """
    if generator is None or isinstance(generator, torch.Generator):
        return torch.randn((batch, *shape), generator=generator)
    if len(generator) != batch:
        raise ValueError(f"{len(generator)} generators for {batch} images; give one, or one per image")
    return torch.stack([torch.randn(tuple(shape), generator=g) for g in generator])
