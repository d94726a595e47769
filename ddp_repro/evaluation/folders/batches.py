"""Which pictures go through the network together.

Pictures of equal input size share a batch, up to :data:`BATCH` of them or :data:`INPUT_PIXELS`: a batch of small ones
takes less time than they do one by one, a batch of larger ones does not.  ``ddp-repro throughput`` measures what a
folder takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

T = TypeVar("T")
BATCH = 8
INPUT_PIXELS = 2**17  # of a batch, as the network sees it, on a CPU: beyond, its caches are short
INPUT_PIXELS_GPU = 2**22
PICTURE_PIXELS = 2**24  # of a batch, as its files have it: 50 MB of them wait to be written
WAITING = 4  # batches of all sizes; bounds the memory of folders with many sizes


def share_of_batch(size: tuple[int, int], input_size: tuple[int, int], device: torch.device) -> float:
    """Return the part of a batch that a picture takes; above one half, it goes alone.

    Args:
        size, input_size: (height, width) of the file, and as the network sees it.
    """
    pixels = INPUT_PIXELS if device.type == "cpu" else INPUT_PIXELS_GPU
    (height, width), (rows, columns) = size, input_size
    return max(1 / BATCH, rows * columns / pixels, height * width / PICTURE_PIXELS)


def batches(
    pictures: Iterable[T], input_size: Callable[[T], tuple[int, int]], share: Callable[[T], float]
) -> Iterator[list[T]]:
    """Group pictures of equal input size; at any time, no more than :data:`WAITING` batches wait for companions.

    Args:
        share: the part of a batch that a picture takes; the next one of its size may take as much.
    """
    waiting: dict[tuple[int, int], list[T]] = {}
    for picture in pictures:
        size = input_size(picture)
        waiting.setdefault(size, []).append(picture)
        taken = {key: sum(map(share, batch)) for key, batch in waiting.items()}
        if taken[size] + share(picture) > 1:  # no room for another of its kind
            yield waiting.pop(size)
        elif sum(taken.values()) > WAITING:
            yield waiting.pop(max(taken, key=lambda key: taken[key]))
    yield from waiting.values()
