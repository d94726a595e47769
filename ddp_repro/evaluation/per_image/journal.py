"""The journal of an evaluation: what each image added, written as it goes, so that a killed evaluation can go on.

::

    FOLDER/journal-0.jsonl     a line that says which evaluation this is, then one line an image; one file a process

A line is handed to the operating system as a whole when its image is done.  It survives the death of the process, and
one that was cut off is left out; so is everything where another evaluation was journalled before.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from ddp_repro.evaluation.per_image.statistics import RunKey, Statistics
from ddp_repro.evaluation.processes import rank_and_world, wait_for_all

Rows = dict[RunKey, Statistics]


class Journal:
    """What the images evaluated so far added, of this evaluation only.

    Args:
        folder: shared by all processes; created when the first line is written.
        made_by: everything that decides what an image adds (weights, settings, data, code, machine), JSON-ready.

    Attributes:
        rows: by image (its number in the dataset) and run; complete images only.
        seconds: what they took, in the process that worked longest.
    """

    def __init__(self, folder: Path, made_by: Mapping[str, Any]) -> None:
        self.folder = folder
        self.head = json.dumps(made_by, sort_keys=True)
        self.rows: dict[int, Rows] = {}
        self.seconds = 0.0
        self._file: TextIO | None = None
        self._since = 0.0

    def open(self) -> None:
        """Read what there is and get ready to write; to be called by all processes, which wait for each other.

        Raises:
            OSError: a file cannot be read or written.
        """
        wait_for_all()  # who wrote before is done
        files = {path: _whole_lines(path) for path in sorted(self.folder.glob("journal-*.jsonl"))}
        ours = [path for path, lines in files.items() if lines[:1] == [self.head.encode()]]
        for path in ours:
            self._read(files[path][1:])
        wait_for_all()  # nobody writes before all have read the same
        rank, world = rank_and_world()
        path = self._path(rank)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path in ours:
            os.truncate(path, sum(len(line) + 1 for line in files[path]))
        else:
            path.write_text(self.head + "\n", encoding="utf-8")
        if rank == 0:  # the others replace their own
            for old in set(files) - set(ours) - {self._path(number) for number in range(world)}:
                old.unlink()
        self._file, self._since = path.open("a", encoding="utf-8"), time.monotonic()

    def write(self, index: int, rows: Rows) -> None:
        """Add an image.

        Raises:
            OSError: the disk is full, or the like.
        """
        now = time.monotonic()
        runs = [[*key, {name: values.tolist() for name, values in rows[key].items()}] for key in rows]
        line = {"image": index, "seconds": round(now - self._since, 4), "runs": runs}
        assert self._file is not None  # opened
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._file.flush()
        self._since = now

    def close(self) -> None:
        """Stop writing; what was written stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Delete the journal, once its evaluation's results are on disk; for one process alone."""
        self.close()
        for path in self.folder.glob("journal-*.jsonl"):
            path.unlink()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _path(self, rank: int) -> Path:
        return self.folder / f"journal-{rank}.jsonl"

    def _read(self, lines: list[bytes]) -> None:
        seconds = 0.0
        for line in lines:
            try:
                entry = json.loads(line)
                rows: Rows = {(steps, seed): _arrays(values) for steps, seed, values in entry["runs"]}
                self.rows[entry["image"]] = rows
                seconds += entry["seconds"]
            except (ValueError, TypeError, KeyError):  # e.g. a block that a crash of the machine left empty: done again
                continue
        self.seconds = max(self.seconds, seconds)


def _whole_lines(path: Path) -> list[bytes]:
    """All lines but one that was cut off."""
    return path.read_bytes().split(b"\n")[:-1]


def _arrays(values: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    return {name: np.array(value) for name, value in values.items()}
