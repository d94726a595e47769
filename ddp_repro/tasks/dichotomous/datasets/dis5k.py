"""DIS5K (Qin et al., ECCV 2022): highly accurate masks of the foreground.

::

    ROOT/<split>/im/NAME.jpg
    ROOT/<split>/gt/NAME.png    0 and 255, with soft edges
"""

from __future__ import annotations

from pathlib import Path

from ddp_repro.data.io import DataError
from ddp_repro.data.spec import Sample, list_files, pair_by_stem

NAME = "dis5k"
SPLITS = ("DIS-TR", "DIS-VD", "DIS-TE1", "DIS-TE2", "DIS-TE3", "DIS-TE4")
LAYOUT = "<split>/im/NAME.jpg and <split>/gt/NAME.png"


def list_samples(root: Path, split: str) -> list[Sample]:
    """Return the pictures of a split; the id is the name without suffix.

    Raises:
        DataError: no such split or folder.
    """
    if split not in SPLITS:
        raise DataError(f"{root}: DIS5K has no split {split!r}; expected one of {', '.join(SPLITS)}")
    return pair_by_stem(list_files(root / split / "im", (".jpg", ".jpeg", ".png")), root / split / "gt")
