"""The depth benchmarks' split lists: fetched from their public home or taken from a folder, and verified."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from data_prep.download import download
from ddp_repro.data.io import DataError

URL = "https://raw.githubusercontent.com/zhyever/Monocular-Depth-Estimation-Toolbox/main/splits"

# file: number of lines, SHA-256 with lines ended by LF (the SUN RGB-D list is published with CR LF)
LISTS = {
    "kitti_eigen_train.txt": (23_158, "3655308ee4a017094dc620402db3fc587d769cfbfa9a16c6d0f8de6dcbe109ec"),
    "kitti_eigen_test.txt": (697, "8d0499af9ab4c0d1cd7944d572b0e0e4412feab1e73f4003038426fde699b53a"),
    "nyu_train.txt": (24_231, "11dcd508d3c669b2fed27eff2919a076484eea8ab6b1f889f32da6fc0a395354"),
    "nyu_test.txt": (654, "e92c191d5835a22589b843c11b80cd7235d5bd0d4136e42a6debcea4511bf906"),
    "SUNRGBD_val_splits.txt": (5_050, "72339ace82698affcfc9dbe872b7da9eca99de0cfbd083adc6b2bd561fd9c8f7"),
}

INSTRUCTIONS = f"""\
The split lists are fetched from
  {URL}
or, with --splits FOLDER, taken from copies of your own."""


def write_lists(names: Iterable[str], target: Path, folder: Path | None) -> None:
    """Put split lists into ``target``, with LF line ends.

    Args:
        folder: where to take them from; None: download them.

    Raises:
        DataError: a list cannot be had, or is not the published one.
    """
    target.mkdir(parents=True)
    for name in names:
        path = target / name
        origin = f"{URL}/{name}" if folder is None else str(folder / name)
        if folder is None:
            content = download(origin, path, None).read_bytes()
        elif (folder / name).is_file():
            content = (folder / name).read_bytes()
        else:
            raise DataError(f"{origin}: no such file; expected a copy of {URL}/{name}")
        path.write_bytes(_verified(name, content.replace(b"\r\n", b"\n"), origin))


def _verified(name: str, content: bytes, origin: str) -> bytes:
    lines, digest = LISTS[name]
    if hashlib.sha256(content).hexdigest() != digest:
        got = f"its {len(content.splitlines())} lines have another SHA-256"
        raise DataError(f"{origin}: {got}; expected the published list of {lines} lines, SHA-256 {digest}")
    return content
