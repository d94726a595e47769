"""ADE20K scene parsing: fetch the public archive, or take one (or its extracted folder) from disk."""

from __future__ import annotations

from pathlib import Path

from data_prep.archives import extract
from data_prep.files import place
from ddp_repro.data.io import DataError

COUNTS = {"training": 20_210, "validation": 2_000}
URL = "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip"
SHA1 = "219e1696abb36c8ba3a3afe7fb2f4b4606a897c7"
INSTRUCTIONS = f"""\
ADE20K (scene parsing, 150 classes) is public. Without --source it is fetched from
  {URL}
To use a copy of your own, pass --source ADEChallengeData2016.zip or the folder ADEChallengeData2016."""

_PARTS = ("images", "annotations")


def convert(source: Path, target: Path) -> None:
    """Fill ``target`` with ``images/`` and ``annotations/`` from the archive or the extracted folder.

    Raises:
        DataError: ``source`` is neither.
    """
    if source.is_file():
        extract(source, target, _wanted)
        return
    root = source / "ADEChallengeData2016" if (source / "ADEChallengeData2016").is_dir() else source
    files = [path for part in _PARTS for path in sorted((root / part).rglob("*")) if path.is_file()]
    if not files:
        raise DataError(f"{source}: expected ADEChallengeData2016.zip, or a folder with images/ and annotations/")
    for path in files:
        place(path, target / path.relative_to(root))


def _wanted(name: str) -> str | None:
    """Where a member of the archive goes; None: it is left out (object list, text files)."""
    parts = name.split("/")
    if len(parts) == 4 and parts[1] in _PARTS and parts[2] in COUNTS and parts[3].endswith((".jpg", ".png")):
        return "/".join(parts[1:])
    return None
