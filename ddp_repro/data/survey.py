"""What the ground truth of a split holds, counted before the first iteration."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ddp_repro.data.spec import Sample

T = TypeVar("T")

LIMIT = 2000  # images that are read at most: seconds for small pictures, half a minute for Cityscapes' on two cores
VALUES = 2**16  # of stored maps: 16 bits
MUCH = 0.5  # share of ignored pixels that is worth a warning
_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Survey:
    """How often what occurs in the ground truth of a split.

    Attributes:
        images: whose ground truth was counted: all ``split_images``, or :data:`LIMIT` of them, evenly spread.
        pixels: of every class by its name, in the classes' order; of depth, those with a ``measurement``.
        ignored: pixels that neither train nor count.
        median, nearest, farthest: of the measured depth, in metres; None: there is none.
        warnings: what is probably wrong, a line each.
    """

    split: str
    images: int
    split_images: int
    pixels: dict[str, int]
    ignored: int
    warnings: list[str]
    median: float | None = None
    nearest: float | None = None
    farthest: float | None = None

    @property
    def total(self) -> int:
        """All pixels that were counted."""
        return sum(self.pixels.values()) + self.ignored

    def share(self, pixels: int) -> float:
        """Return a number of pixels as a share of all."""
        return pixels / self.total if self.total else 0.0

    def __str__(self) -> str:
        """One line: the most frequent classes, what is ignored, the median depth."""
        frequent = sorted(self.pixels.items(), key=lambda item: -item[1])
        parts = [f"{name} {self.share(count):.1%}" for name, count in frequent[:_SHOWN]]
        parts += [f"{len(frequent) - _SHOWN} rarer classes"] if len(frequent) > _SHOWN else []
        parts += [f"ignored {self.share(self.ignored):.1%}"]
        if self.nearest is not None and self.farthest is not None:
            parts += [f"{self.nearest:.3g} to {self.farthest:.3g} m"]
        parts += [] if self.median is None else [f"median {self.median:.3g} m"]
        number = f"{self.images}" if self.images == self.split_images else f"{self.images} of {self.split_images}"
        return f"{self.split} ({number} images): {', '.join(parts)}"


def surveyed(samples: list[Sample]) -> list[Sample]:
    """Return the samples whose ground truth a survey reads: at most :data:`LIMIT`, evenly spread."""
    if len(samples) <= LIMIT:
        return samples
    return [samples[i] for i in np.linspace(0, len(samples) - 1, LIMIT).round().astype(int)]


def in_threads(read: Callable[[Sample], T], samples: list[Sample]) -> Iterator[T]:
    """Yield what ``read`` returns of each sample, in order; decoding releases Python's lock.

    Raises:
        Exception: the first of ``read``; what was not begun then is dropped.
    """
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        yield from pool.map(read, samples)
    finally:
        pool.shutdown(cancel_futures=True)


def count_values(stored: np.ndarray) -> np.ndarray:
    """Count the values of a map of at most 16 bits.

    Returns:
        int64 (65536,).
    """
    return np.bincount(stored.ravel(), minlength=VALUES)
