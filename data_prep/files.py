"""Writing folders so that a half-written one is never mistaken for a finished one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from ddp_repro.data.io import DataError
from ddp_repro.data.spec import missing_files


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary sibling of ``target`` that takes its name when the block ends, or is removed if it fails.

    Raises:
        DataError: ``target`` exists and is not empty, or its parent cannot be written.
    """
    refuse_existing(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", suffix=".partial", dir=target.parent))
    except OSError as error:
        raise DataError(
            f"{target}: cannot be written ({error.strerror}); choose an --output you may write to"
        ) from error
    try:
        partial.chmod(0o755)  # mkdtemp makes it private
        yield partial
        refuse_existing(target)
        try:
            os.replace(partial, target)
        except OSError:
            refuse_existing(target)  # somebody else was faster
            raise
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def refuse_existing(target: Path) -> None:
    """Raise DataError if ``target`` is a file or a folder with something in it."""
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise DataError(f"{target}: exists already; expected a new folder (remove it, or verify it with --verify)")


def place(source: Path, target: Path) -> None:
    """Put a file at ``target``: a hard link where the file system can, else a copy. Folders are made as needed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def place_all(pairs: list[tuple[Path, Path]]) -> None:
    """Put every (source, target) pair's file in its place, once it is certain that none is missing.

    Raises:
        DataError: sources that do not exist; the first and their number are named.
    """
    pairs = list(dict.fromkeys(pairs))  # a file may be in several lists
    missing = missing_files([source for source, _ in pairs])
    if missing:
        raise DataError(
            f"{min(missing)}: no such file; expected {len(pairs)} files, of which {len(missing)} are missing"
        )
    for source, target in tqdm(pairs, desc="files", delay=2, leave=False, disable=None):
        place(source, target)


def folder_holding(path: Path, folders: list[Path], source: Path, expected: str) -> Path:
    """Return the first of ``folders`` in which the relative ``path`` exists.

    Raises:
        DataError: it is in none; ``source`` and what was ``expected`` are named.
    """
    for folder in folders:
        if (folder / path).exists():
            return folder
    raise DataError(f"{source}: holds no {path}; expected {expected}")
