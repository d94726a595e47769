"""What a process that predicts does with memory: buffers that are used again, and few compiled primitives."""

from __future__ import annotations

import ctypes
import functools
import os
import sys

KEPT = 256  # more than one picture needs of any model here, so that a second one of its size finds all of them
VARIABLES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")  # of oneDNN, and of PyTorch's layer above it

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
LARGEST_KEPT, MOST_KEPT = 2**28, 2**29  # bytes: of a buffer, and of free memory at the end of the heap


def bound_primitives() -> None:
    """Let oneDNN forget the primitives of sizes long past, of which it keeps 1024 by default, 0.1 to 0.2 MB each.

    It reads the variables at the first convolution of the process: later calls change nothing, and what the user has
    set stays.
    """
    for name in VARIABLES:
        os.environ.setdefault(name, str(KEPT))


@functools.cache
def keep_buffers() -> bool:
    """Let this process use freed buffers again instead of giving them back; return whether the system can do so.

    By default, glibc asks Linux for every buffer above 32 MB, and Linux fills it with zeros: from a megapixel on, the
    neck would spend a third of its time so.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT) and mallopt(M_TRIM_THRESHOLD, MOST_KEPT))
