"""Cityscapes with fine annotations, from the two archives that its users download themselves, or extracted."""

from __future__ import annotations

from pathlib import Path

from data_prep.archives import extract
from data_prep.files import place
from ddp_repro.data.io import DataError
from ddp_repro.tasks.segmentation.datasets.cityscapes import IMAGE_SUFFIX, LABEL_SUFFIX

COUNTS = {"train": 2_975, "val": 500}
ARCHIVES = ("leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip")
URL = SHA1 = None
INSTRUCTIONS = f"""\
The Cityscapes licence has to be accepted by you in person, so this cannot be fetched automatically:
  1. register at https://www.cityscapes-dataset.com and accept the licence;
  2. download {ARCHIVES[0]} (11 GB) and {ARCHIVES[1]} (241 MB) into one folder;
  3. run: python -m data_prep cityscapes --source THAT_FOLDER --output data/cityscapes
A folder in which both are extracted already (leftImg8bit/ and gtFine/) will do as well."""

_PARTS = {"leftImg8bit": IMAGE_SUFFIX, "gtFine": LABEL_SUFFIX}


def convert(source: Path, target: Path) -> None:
    """Fill ``target`` with the pictures and label ids of train and val from a folder of archives or their contents.

    Raises:
        DataError: ``source`` has neither both archives nor both folders.
    """
    if all((source / name).is_file() for name in ARCHIVES):
        for name in ARCHIVES:
            extract(source / name, target, _wanted)
        return
    if not all((source / part).is_dir() for part in _PARTS):
        raise DataError(f"{source}: expected {' and '.join(ARCHIVES)}, or the folders {' and '.join(_PARTS)}")
    for part in _PARTS:
        for path in sorted((source / part).rglob("*.png")):
            name = path.relative_to(source).as_posix()
            if _wanted(name):
                place(path, target / name)


def _wanted(name: str) -> str | None:
    """Where a member of an archive goes; None: it is left out (test split, polygons, instances, colours)."""
    parts = name.split("/")
    if len(parts) == 4 and parts[0] in _PARTS and parts[1] in COUNTS and parts[3].endswith(_PARTS[parts[0]]):
        return name
    return None
