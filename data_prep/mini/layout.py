"""How a synthetic dataset is laid out, and writing its pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Item:
    """One picture to be written."""

    root: Path
    split: str
    number: int  # from 1
    size: tuple[int, int]  # height, width
    annotated: bool = True  # False: its ground truth is left out


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A dataset's splits and files, and what its synthetic version holds unless told otherwise."""

    scenes: str  # what its pictures show
    splits: tuple[str | None, str]  # of training (None: it has none) and validation
    size: tuple[int, int]  # height, width
    counts: tuple[int, int]
    write: Callable[[Item, np.random.Generator], str | None] | None = None  # returns the line in the split's list
    # In place of write, where pictures do not stand alone: (folder, samples of each split, size, seed)
    write_dataset: Callable[[Path, dict[str, int], tuple[int, int], int], None] | None = None
    lists: dict[str, str] | None = None  # file name of each split's list, where it has lists
    unannotated: int = 0  # validation pictures listed without ground truth, beyond those asked for


def save(root: Path, name: str, pixels: np.ndarray) -> None:
    """Write uint8 or uint16 pixels as JPEG or PNG, as the name says; folders are made as needed."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"quality": 92, "subsampling": 0} if path.suffix == ".jpg" else {"compress_level": 1}
    Image.fromarray(pixels).save(path, **options)
