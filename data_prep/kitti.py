"""KITTI depth, Eigen's split: from the raw recordings and the annotated depth maps, which their users download."""

from __future__ import annotations

from pathlib import Path

from data_prep import splits as split_lists
from data_prep.files import folder_holding, place_all
from ddp_repro.tasks.depth.datasets.kitti import KITTI, LISTS

COUNTS = {"train": 23_158, "test": 697}  # 652 of the 697 have depth
URL = SHA1 = None
INSTRUCTIONS = f"""\
KITTI's licence has to be accepted by you in person, so this cannot be fetched automatically:
  1. register at https://www.cvlibs.net/datasets/kitti and download, into a folder RAW, the synced and rectified raw
     recordings that the split lists name (https://www.cvlibs.net/datasets/kitti/raw_data.php; RAW then holds
     2011_09_26/2011_09_26_drive_0002_sync/image_02/data and so on), and data_depth_annotated.zip (14 GB);
  2. extract the latter to a folder DEPTH, which then holds train/ and val/;
  3. run: python -m data_prep kitti --source RAW --depth DEPTH --output data/kitti
Files are hard-linked where the file system can. One folder with input/ and gt_depth/, as the depth toolboxes have it,
will do as well as --source.
{split_lists.INSTRUCTIONS}"""


def convert(source: Path, target: Path, *, depth: Path | None = None, splits: Path | None = None) -> None:
    """Fill ``target`` with the listed files under ``input/`` and ``gt_depth/``.

    Args:
        depth: folder of the annotated depth maps, where it is not in ``source``.

    Raises:
        DataError: the lists or a file that they name are not there.
    """
    split_lists.write_lists(LISTS.values(), target / "splits", splits)
    samples = [sample for split in LISTS for sample in KITTI.list_samples(target, split)]
    images = [sample.image.relative_to(target / "input") for sample in samples]
    maps = [sample.label.relative_to(target / "gt_depth") for sample in samples if sample.label]
    pictures = folder_holding(images[0], [source, source / "input"], source, "KITTI's raw recordings")
    pairs = [(pictures / image, target / "input" / image) for image in images]
    # Uhrig et al. sorted the drives into train and val by another split than Eigen's.
    places = [folder / part for folder in _depth_folders(source, depth) for part in ("", "train", "val")]
    drives = {
        drive: folder_holding(Path(drive), places, depth or source, "KITTI's data_depth_annotated")
        for drive in sorted({path.parts[0] for path in maps})
    }
    pairs += [(drives[path.parts[0]] / path, target / "gt_depth" / path) for path in maps]
    place_all(pairs)


def _depth_folders(source: Path, depth: Path | None) -> list[Path]:
    if depth is not None:
        return [depth, depth / "data_depth_annotated"]
    return [source / "gt_depth", source / "data_depth_annotated", source]
