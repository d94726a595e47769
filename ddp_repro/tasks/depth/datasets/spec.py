"""What distinguishes one depth dataset from another (unit, windows, augmentation), and reading their split lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ddp_repro.data.io import DataError, read_depth
from ddp_repro.data.spec import Sample
from ddp_repro.tasks.depth.transforms import ColorJitter, Window, whole_window


def as_stored(stored: np.ndarray) -> np.ndarray:
    """Return the values themselves: depth maps of most datasets need no decoding."""
    return stored


def read_stored(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Return the values of a 16-bit PNG, the form of most datasets; ``size`` is not needed for it."""
    return read_depth(path)


@dataclass(frozen=True, kw_only=True)
class DepthSpec:
    """A depth dataset as data.

    Attributes:
        depth_scale: stored units per metre, after ``decode``.
        list_samples: ``list_samples(root, split)`` finds the split's pictures and says where their depth maps should
            be (None: listed as having none).
        layout: where files lie, for error messages.
        read: ``read(path, size)`` returns the stored values of a depth map whose picture has (height, width).
        decode: from stored values to values in units of 1 / ``depth_scale`` metres, of the same type.
        eval_window: part of a picture of (height, width) that is used at all, in training and in evaluation.
        train_window: part of that which training crops are taken from.
        rotation: degrees, at most, that a training picture is turned either way.
        jitter: colour augmentation of training pictures.
    """

    name: str
    depth_scale: float
    list_samples: Callable[[Path, str], list[Sample]]
    layout: str
    read: Callable[[Path, tuple[int, int]], np.ndarray] = read_stored
    decode: Callable[[np.ndarray], np.ndarray] = as_stored
    eval_window: Callable[[tuple[int, int]], Window] = whole_window
    train_window: Callable[[tuple[int, int]], Window] = whole_window
    rotation: float = 2.5
    jitter: ColorJitter = field(default_factory=ColorJitter)


def listed_samples(
    root: Path, split: str, lists: dict[str, str], folders: tuple[str, str], name: Callable[[Path], str]
) -> list[Sample]:
    """Return the samples that ``root/splits/<lists[split]>`` names.

    Args:
        lists: file name of each split's list.
        folders: the paths' starting points under ``root``, of images and depth maps; ``{split}`` is replaced.
        name: id of a sample, from its image's path in the list.

    Raises:
        DataError: an unknown split, or a list that is missing or has a line that is none.
    """
    if split not in lists:
        raise DataError(f"{root}: has no split {split!r}; expected one of {', '.join(lists)}")
    images, depths = (root / folder.format(split=split) for folder in folders)
    return [
        Sample(name(Path(image)), images / image, depths / depth if depth else None)
        for image, depth in read_split_list(root / "splits" / lists[split])
    ]


def read_split_list(path: Path) -> list[tuple[str, str | None]]:
    """Read a list of "image depth [focal length]" lines as the depth toolboxes publish them.

    Returns:
        Relative paths; the depth's is None where the list says ``None``: the image has no ground truth.

    Raises:
        DataError: the list is missing, not text, or has a line that is not of this form; its number is named.
    """
    expected = "lines of: image path, depth path or None, focal length (optional)"
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected {expected}") from error
    pairs = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        if not _is_entry(words):
            raise DataError(f"{path}, line {number}: is {line.strip()[:100]!r}; expected {expected}")
        image, depth = (word.lstrip("/") for word in words[:2])
        pairs.append((image, None if depth == "None" else depth))
    return pairs


def _is_entry(words: list[str]) -> bool:
    """Two paths that stay in their folder, and a number or None if anything follows."""
    if not 2 <= len(words) <= 3 or words[0] == "None" or any(".." in word.split("/") for word in words[:2]):
        return False
    try:
        return words[2:] in ([], ["None"]) or float(words[2]) > 0
    except ValueError:
        return False
