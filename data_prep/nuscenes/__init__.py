"""nuScenes for BEV map segmentation: an index of an official copy, which stays where it is."""

from __future__ import annotations

from pathlib import Path

from data_prep.manifest import write_manifest
from ddp_repro.data.io import DataError

COUNTS = {
    "v1.0-trainval": {"train": 28_130, "val": 6_019},
    "v1.0-mini": {"mini_train": 323, "mini_val": 81},
}
LINKED = ("samples", "sweeps", "maps")
INSTRUCTIONS = """\
nuScenes' terms have to be accepted by you in person, so this cannot be fetched automatically:
  1. register at https://www.nuscenes.org/nuscenes#download and download, into one folder RAW, the full dataset v1.0
     (metadata; keyframe and LiDAR sweep blobs; camera sweeps and radar are not needed) or its mini version, and
     the map expansion pack v1.3, which is extracted into RAW/maps;
  2. RAW then holds v1.0-trainval/ or v1.0-mini/, samples/, sweeps/LIDAR_TOP/, maps/*.png and maps/expansion/*.json;
  3. run: python -m data_prep nuscenes --source RAW --output data/nuscenes
The output holds an index and links into RAW. A run that was stopped goes on where it was. With --skip-broken, every
file is read, and samples that could not be used are left out, counted and named; without, the first is an error.
"""


def prepare(
    source: Path, output: Path, version: str = "v1.0-trainval", *, jobs: int = 1, skip_broken: bool = False
) -> bool:
    """Index an official copy of nuScenes, and print how many samples it has.

    Args:
        output: gets the index, and links to the copy's folders.
        jobs: processes.
        skip_broken: read every file, and leave out what cannot be used instead of raising.

    Returns:
        Whether all official samples are there.

    Raises:
        DataError: see :func:`data_prep.nuscenes.build.build_index`; or ``output`` is ``source``, or belongs to another.
    """
    if not source.is_dir():
        raise DataError(f"{source}: no such folder.\n{INSTRUCTIONS}")
    if output.resolve() == source.resolve():
        raise DataError(f"{output}: is the source itself; expected another folder for --output, to keep it as it is")
    try:
        from data_prep.nuscenes.build import build_index, counts
    except ImportError as error:
        raise DataError(f"nuscenes: {error}; install the extra `bev`") from error
    output.mkdir(parents=True, exist_ok=True)
    for name in LINKED:
        _link(source / name, output / name)
    build_index(source, output, version, jobs=jobs, skip_broken=skip_broken)
    found = counts(output)
    expected = COUNTS.get(version, {split: samples for split, (samples, _) in found.items()})
    write_manifest(output, "nuscenes", f"{version} of nuScenes", expected)
    for split, (samples, skipped) in found.items():
        print(f"  {split:12s} {samples} samples (expected {expected[split]}), {skipped} left out")
    return all(found[split] == (expected[split], 0) for split in expected)


def _link(source: Path, link: Path) -> None:
    """Make a symbolic link, but only where there is nothing."""
    if not source.is_dir():
        raise DataError(f"{source}: no such folder; expected nuScenes' {', '.join(LINKED)}\n{INSTRUCTIONS}")
    if link.is_symlink() and link.resolve() == source.resolve():
        return
    if link.exists() or link.is_symlink():
        raise DataError(f"{link}: exists already and is no link to {source}; choose another --output")
    link.symlink_to(source.resolve(), target_is_directory=True)
