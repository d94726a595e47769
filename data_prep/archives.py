"""Extracting archives without trusting the paths inside them."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from ddp_repro.data.io import DataError


def extract(archive: Path, target: Path, destination: Callable[[str], str | None]) -> None:
    """Extract the members of a ZIP archive for which ``destination(name)`` gives a path under ``target``.

    The members' checksums are verified on the way.

    Raises:
        DataError: the file is not a complete ZIP archive, holds nothing wanted, or a member would leave ``target``.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            members = [(m, to) for m in file.infolist() if not m.is_dir() and (to := destination(m.filename))]
            if not members:
                raise DataError(f"{archive}: holds none of the expected files; is it the right archive?")
            for member, name in tqdm(members, desc=f"extracting {archive.name}", delay=2, leave=False, disable=None):
                path = _inside(target, name, archive)
                path.parent.mkdir(parents=True, exist_ok=True)
                with file.open(member) as source, path.open("wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
    except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError) as error:
        raise DataError(f"{archive}: is not a complete ZIP archive ({error}); download it again") from error


def _inside(target: Path, name: str, archive: Path) -> Path:
    path = (target / name).resolve()
    if not path.is_relative_to(target.resolve()):
        raise DataError(
            f"{archive}: its member {name!r} would be written outside {target}; it is not the official archive"
        )
    return path
