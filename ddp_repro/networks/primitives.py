"""How many compiled primitives oneDNN keeps: one for every convolution of every picture size that it has seen."""

from __future__ import annotations

import os

KEPT = 256  # more than one picture needs of any model here, so that a second one of its size finds all of them
VARIABLES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")  # of oneDNN, and of PyTorch's layer above it


def bound_primitives() -> None:
    """Let oneDNN forget the primitives of sizes long past, of which it keeps 1024 by default, 0.1 to 0.2 MB each.

    It reads the variables at the first convolution of the process: later calls change nothing, and what the user has
    set stays.
    """
    for name in VARIABLES:
        os.environ.setdefault(name, str(KEPT))
