"""The random numbers of discrete diffusion: a start map, and uniform numbers for each later step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor


class LabelNoise(Protocol):
    """The random numbers of one sampling run, drawn when they are needed."""

    def start(self) -> Tensor:
        """Return the random map (B, h, w) that step 0 begins with."""
        ...

    def uniform(self, step: int) -> Tensor:
        """Return the U(0, 1) numbers (B, K, h, w) that make the map of a step > 0."""
        ...


class ImageLabelNoise:
    """Noise that belongs to (seed, image, step): the same for any batch, and whatever other steps are visited.

    Drawn on the CPU, so that a seed means the same noise on every device.

    Args:
        shape: (K, h, w).
        batch: number of images.
        generator: one generator for the batch, one per image, or None for torch's global one.  Each image takes one
            number from it, which seeds the image's own noise.

    Raises:
        ValueError: the number of generators is not the batch size.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        batch: int,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if generator is None or isinstance(generator, torch.Generator):
            generators: list[torch.Generator | None] = [generator] * batch
        else:
            generators = list(generator)
        if len(generators) != batch:
            raise ValueError(f"{len(generators)} generators for {batch} images; give one, or one per image")
        self.shape, self.device = shape, device
        self.seeds = [int(torch.randint(2**62, (), generator=source)) for source in generators]

    def start(self) -> Tensor:
        """Return a class per pixel, uniform, each image from its own seed; int64 (B, h, w)."""
        classes, *size = self.shape
        return self._stack(lambda generator: torch.randint(classes, size, generator=generator), 0)

    def uniform(self, step: int) -> Tensor:
        """Return numbers in [0, 1) for a step, each image from its own seed; (B, K, h, w)."""
        return self._stack(lambda generator: torch.rand(self.shape, generator=generator), step)

    def _stack(self, draw: Callable[[torch.Generator], Tensor], step: int) -> Tensor:
        return torch.stack([draw(_generator_of(seed, step)) for seed in self.seeds]).to(self.device)


class StreamLabelNoise:
    """Noise as the released code draws it: one stream for the batch, in the order of use, laid out (B, h, w, K).

    Args:
        shape: (K, h, w).
        batch: number of images; a batch is not its images one by one.
        generator: the stream; None: torch's global one.
    """

    def __init__(self, shape: tuple[int, int, int], batch: int, generator: torch.Generator | None = None) -> None:
        self.shape, self.batch, self.generator = shape, batch, generator

    def start(self) -> Tensor:
        """Return a class per pixel, uniform, from the one stream; int64 (B, h, w)."""
        classes, *size = self.shape
        return torch.randint(classes, (self.batch, *size), generator=self.generator)

    def uniform(self, step: int) -> Tensor:
        """Return the next numbers in [0, 1) of the stream, whatever the step; (B, K, h, w)."""
        classes, *size = self.shape
        return torch.rand((self.batch, *size, classes), generator=self.generator).permute(0, 3, 1, 2)


def _generator_of(seed: int, step: int) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}:{step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
