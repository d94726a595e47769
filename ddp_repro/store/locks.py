"""A lock between processes, held on a file and released by the operating system however its holder ends."""

from __future__ import annotations

import fcntl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

PATIENCE = 0.1  # seconds between attempts


@contextmanager
def file_lock(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the exclusive lock at ``path`` for the body of a ``with`` statement.

    The file stays behind: removing it would let two processes hold "the" lock at once.

    Args:
        path: The lock file; its folder is created.
        wait: Wait for another holder (saying so on stderr); otherwise refuse at once.

    Raises:
        BlockingIOError: ``wait`` is false and another process holds the lock.
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        _acquire(file, path, wait)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # closing would not do while a forked process has the file open, too


def _acquire(file: TextIO, path: Path, wait: bool) -> None:
    said = False
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise BlockingIOError(f"{path} is held by another process") from None
            if not said:
                print(f"waiting for another process to finish with {path}", file=sys.stderr, flush=True)
            said = True
            time.sleep(PATIENCE)
