"""SUN RGB-D's official test pictures, from its unpacked archive."""

from __future__ import annotations

from pathlib import Path

from data_prep import splits as split_lists
from data_prep.files import folder_holding, place_all
from ddp_repro.tasks.depth.datasets.sunrgbd import LISTS, SUNRGBD

COUNTS = {"test": 5_050}
URL = SHA1 = None
INSTRUCTIONS = f"""\
SUN RGB-D is public for research; read its terms at https://rgbd.cs.princeton.edu:
  1. download https://rgbd.cs.princeton.edu/data/SUNRGBD.zip (6.4 GB) and extract it: a folder SUNRGBD;
  2. run: python -m data_prep sunrgbd --source SUNRGBD --output data/sunrgbd
Files are hard-linked where the file system can.
{split_lists.INSTRUCTIONS}"""


def convert(source: Path, target: Path, *, splits: Path | None = None) -> None:
    """Fill ``target`` with the listed files under ``SUNRGBD/``.

    Raises:
        DataError: the list or a file that it names is not there.
    """
    split_lists.write_lists(LISTS.values(), target / "splits", splits)
    files = [path for sample in SUNRGBD.list_samples(target, "test") for path in (sample.image, sample.truth)]
    paths = [path.relative_to(target) for path in files]
    root = folder_holding(paths[0], [source, source.absolute().parent], source, "the folder SUNRGBD of SUNRGBD.zip")
    place_all([(root / path, target / path) for path in paths])
