"""P3M-10k (Li et al., ACM MM 2021) and AIM-500 (Li et al., IJCAI 2021): alpha mattes.

::

    P3M-10k   ROOT/train/blurred_image/NAME.jpg and train/mask/NAME.png; validation/P3M-500-P/ likewise, and
              validation/P3M-500-NP/original_image/NAME.jpg and mask/NAME.png
    AIM-500   ROOT/original/NAME.jpg and mask/NAME.png, one split, ``test``

Both have ``trimap/`` beside ``mask/`` in their test sets; whole images are measured here, and trimaps are not read.
"""

from __future__ import annotations

from pathlib import Path

from ddp_repro.data.io import DataError
from ddp_repro.data.spec import Sample, list_files, pair_by_stem

P3M_FOLDERS = {
    "train": ("train/blurred_image", "train/mask"),
    "P3M-500-P": ("validation/P3M-500-P/blurred_image", "validation/P3M-500-P/mask"),
    "P3M-500-NP": ("validation/P3M-500-NP/original_image", "validation/P3M-500-NP/mask"),
}
AIM_FOLDERS = {"test": ("original", "mask")}
FOLDERS = {"p3m10k": P3M_FOLDERS, "aim500": AIM_FOLDERS}


def list_samples(dataset: str, root: Path, split: str) -> list[Sample]:
    """Return the pictures of a split; the id is the name without suffix.

    Raises:
        DataError: no such dataset, split or folder.
    """
    if dataset not in FOLDERS:
        raise DataError(f"unknown dataset of mattes {dataset!r}; expected one of {', '.join(FOLDERS)}")
    if split not in FOLDERS[dataset]:
        raise DataError(f"{root}: {dataset} has no split {split!r}; expected one of {', '.join(FOLDERS[dataset])}")
    images, mattes = FOLDERS[dataset][split]
    return pair_by_stem(list_files(root / images, (".jpg", ".jpeg", ".png")), root / mattes)


def layout(dataset: str) -> str:
    """Return where files lie, for error messages."""
    return "; ".join(f"{images}/NAME.jpg and {mattes}/NAME.png" for images, mattes in FOLDERS[dataset].values())
