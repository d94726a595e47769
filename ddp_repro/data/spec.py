"""What distinguishes one segmentation dataset from another (names, colours, ids on disk), and finding their files."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddp_repro.data.io import DataError

IGNORE = 255  # train id of pixels that neither train nor count
Color = tuple[int, int, int]


@dataclass(frozen=True)
class Sample:
    """One picture and its ground truth. ``id`` is stable and relative: it names the picture in results and seeds.

    ``label`` is the file of the label or depth map; None for a picture that is listed as having none (depth only).
    """

    id: str
    image: Path
    label: Path | None

    @property
    def truth(self) -> Path:
        """The file of the label or depth map.

        Raises:
            DataError: the picture is listed as having none.
        """
        if self.label is None:
            raise DataError(f"{self.image}: is listed without ground truth; expected the name of a file")
        return self.label


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset as data.

    ``label_ids`` maps every id that may occur on disk to a train id (0 … K-1, or 255 = ignore).
    ``list_samples(root, split)`` finds the split's pictures and says where their label maps should be.
    ``layout`` shows where that is, for error messages.
    ``described_in`` is the file that the classes were read from; None: they are those of a public dataset.
    """

    name: str
    class_names: tuple[str, ...]
    palette: tuple[Color, ...]
    label_ids: Mapping[int, int]
    list_samples: Callable[[Path, str], list[Sample]]
    layout: str
    described_in: Path | None = None


def id_table(label_ids: Mapping[int, int]) -> np.ndarray:
    """int16 array from stored id to train id; -1 where the dataset has no such id."""
    table = np.full(max(label_ids) + 1, -1, np.int16)
    table[list(label_ids)] = list(label_ids.values())
    return table


def to_train_ids(stored: np.ndarray, table: np.ndarray, path: Path) -> np.ndarray:
    """Translate stored ids with a table of :func:`id_table`.

    Returns:
        uint8 (H, W) train ids.

    Raises:
        DataError: ids that the dataset does not have; ``path`` and the ids are named.
    """
    train_ids = table[np.clip(stored, 0, len(table) - 1)]
    unknown = (stored < 0) | (stored >= len(table)) | (train_ids < 0)
    if unknown.any():
        valid = np.flatnonzero(table >= 0)
        found = ", ".join(map(str, np.unique(stored[unknown])[:5]))
        raise DataError(f"{path}: contains label ids {found}; expected ids of {_ranges(valid)}")
    return train_ids.astype(np.uint8)


def list_files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files in ``folder`` with one of the (lower-case) suffixes, sorted; hidden files are left out.

    Raises:
        DataError: the folder does not exist or cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if e.is_file() and not e.name.startswith(".")]
    except OSError as error:
        kinds = "/".join(suffixes)
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); expected a folder of {kinds} files") from error
    return sorted(folder / name for name in names if name.lower().endswith(suffixes))


def list_folders(folder: Path) -> list[Path]:
    """Sub-folders of ``folder``, sorted; hidden ones are left out.

    Raises:
        DataError: the folder does not exist or cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(folder / e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); expected a folder of folders") from error


def pair_by_stem(images: list[Path], labels: Path) -> list[Sample]:
    """Pair ``NAME.jpg`` with ``labels/NAME.png`` (which need not exist); the id is ``NAME``."""
    return [Sample(image.stem, image, labels / f"{image.stem}.png") for image in images]


def checked(samples: list[Sample], root: Path, split: str, layout: str) -> list[Sample]:
    """Return ``samples`` sorted by id if they are complete.

    Raises:
        DataError: there are none, an id occurs twice, or a label map is missing; the first offenders are named.
    """
    samples = unique(samples, root, split, layout)
    missing = without_label(samples)
    if missing:
        count = f"{len(missing)} of {len(samples)} images lack theirs"
        raise DataError(f"{missing[0].image}: has no label map; expected {missing[0].label} ({count})")
    return samples


def unique(samples: list[Sample], root: Path, split: str, layout: str) -> list[Sample]:
    """Return ``samples`` sorted by id.

    Raises:
        DataError: there are none, or an id occurs twice.
    """
    if not samples:
        raise DataError(f"{root}: split {split!r} has no images; expected {layout}")
    samples = sorted(samples, key=lambda sample: sample.id)
    for one, two in itertools.pairwise(samples):
        if one.id == two.id:
            raise DataError(f"{two.image}: has the same name as {one.image}; expected one image per name")
    return samples


def without_label(samples: list[Sample]) -> list[Sample]:
    """Those whose ground truth is not there. Folders are listed once each, which is fast for many samples."""
    missing = missing_files([sample.label for sample in samples if sample.label])
    return [sample for sample in samples if sample.label is None or sample.label in missing]


def missing_files(paths: list[Path]) -> set[Path]:
    """Those of ``paths`` that do not exist."""
    present = {parent: set(os.listdir(parent)) if parent.is_dir() else set() for parent in {p.parent for p in paths}}
    return {path for path in paths if path.name not in present[path.parent]}


def _ranges(ids: np.ndarray) -> str:
    """``[0, 1, 2, 255]`` as ``0..2, 255``."""
    runs = np.split(ids, np.flatnonzero(np.diff(ids) > 1) + 1)
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs)
