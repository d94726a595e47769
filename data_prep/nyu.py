"""NYU-Depth V2: training pictures as BTS synchronised them, test pictures from the official labelled data set."""

from __future__ import annotations

from pathlib import Path

from data_prep import splits as split_lists
from data_prep.files import folder_holding, place_all
from data_prep.nyu_mat import extract_pictures
from ddp_repro.data.io import DataError
from ddp_repro.data.spec import Sample
from ddp_repro.tasks.depth.datasets.nyu import LISTS, NYU

COUNTS = {"train": 24_231, "test": 654}
URL = SHA1 = None
INSTRUCTIONS = f"""\
NYU-Depth V2 is public for research, in two parts:
  1. the synchronised training pictures of BTS: sync.zip, linked from https://github.com/cleinc/bts (folder pytorch),
     extracted to a folder sync;
  2. the official test pictures: nyu_depth_v2_labeled.mat (2.8 GB), from
     http://horatio.cs.nyu.edu/mit/silberman/nyu_depth_v2/nyu_depth_v2_labeled.mat
     (reading it needs the package h5py), or a folder test/ that was extracted from it already;
  3. run: python -m data_prep nyu --source sync --test nyu_depth_v2_labeled.mat --output data/nyu
Without --test, SOURCE/test is used: a folder with train/ and test/ will do as --source alone.
{split_lists.INSTRUCTIONS}"""


def convert(source: Path, target: Path, *, test: Path | None = None, splits: Path | None = None) -> None:
    """Fill ``target`` with the listed files under ``train/`` and ``test/``.

    Args:
        test: ``nyu_depth_v2_labeled.mat``, or the folder of what was extracted from it.

    Raises:
        DataError: the lists or a file that they name are not there, or the .mat file is not the official one.
    """
    split_lists.write_lists(LISTS.values(), target / "splits", splits)
    place_all(_pairs([source, source / "train", source / "sync"], source, target, "train"))
    if test is None or test.is_dir():
        folders = [source / "test", source / "official_splits" / "test"] if test is None else [test, test / "test"]
        place_all(_pairs(folders, test or source, target, "test"))
    elif test.is_file():
        extract_pictures(test, _samples(target, "test"))
    else:
        raise DataError(f"{test}: no such file or folder; expected nyu_depth_v2_labeled.mat or the folder test")


def _samples(target: Path, split: str) -> list[Sample]:
    return NYU.list_samples(target, split)


def _pairs(folders: list[Path], source: Path, target: Path, split: str) -> list[tuple[Path, Path]]:
    files = [path for sample in _samples(target, split) for path in (sample.image, sample.truth)]
    paths = [path.relative_to(target / split) for path in files]
    root = folder_holding(paths[0], folders, source, f"the {split} pictures (SCENE/rgb_NUMBER.jpg and sync_depth)")
    return [(root / path, target / split / path) for path in paths]
