"""The manifest of an output folder: what was predicted, by which model, into which files."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ddp_repro.data.io import DataError

MANIFEST = "predictions.jsonl"
Key = tuple[str, int | None]  # a file as the manifest writes it, and the frame of a film


@dataclass(frozen=True)
class Picture:
    """A picture to predict, and the names its files may have: below the output folder, the most wanted first.

    Attributes:
        frame: its number in the film that ``path`` is, from 0; None of a picture file.
    """

    path: Path
    names: tuple[PurePosixPath, ...]
    frame: int | None = None

    def __str__(self) -> str:
        return f"{self.path}" if self.frame is None else f"{self.path}, frame {self.frame}"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the manifest.

    Attributes:
        file: the picture or film, relative to the manifest's folder.
        files: its maps, relative to the manifest's folder.
        width, height: of the picture (upright) and of its maps, pixels.
        bytes, modified_ns: size and time of the picture's file, which tell a changed picture from one that is done.
        classes: share of the pixels of every class that occurs, the largest first; None without classes.
        depth: nearest, median and farthest point, metres; None without metres.
        values: what else describes a map, by name; None where ``classes`` or ``depth`` do.
        uncertainty: mean over the pixels, of ``uncertainty_score`` (depth: metres); None where there is none.
        model: what decides the maps: recipe, weights, steps, noise samples and input size.
        seconds: of reading the picture, of its share of a batch, and of writing its maps.
        frame: its number in a film, from 0; None of a picture file.
    """

    file: str
    files: list[str]
    width: int
    height: int
    bytes: int
    modified_ns: int
    classes: dict[str, float] | None
    depth: dict[str, float] | None
    uncertainty: float | None
    uncertainty_score: str | None
    model: dict[str, Any]
    seconds: float
    values: dict[str, float] | None = None
    frame: int | None = None

    @property
    def key(self) -> Key:
        """Return what no other picture has."""
        return self.file, self.frame


class Manifest:
    """The lines of ``predictions.jsonl``; a last line that a kill has cut off is dropped.

    Raises:
        DataError: a line that is not an entry.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / MANIFEST
        self.entries: dict[Key, Entry] = {}
        folder.mkdir(parents=True, exist_ok=True)
        content = self.path.read_bytes() if self.path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            os.truncate(self.path, len(whole))
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                entry = Entry(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise DataError(
                    f"{self.path}: line {number} is not an entry ({error}); remove the file to begin anew"
                ) from error
            self.entries[entry.key] = entry
        self._owners = {self._stem(entry): entry.key for entry in self.entries.values()}

    def is_done(self, picture: Picture, model: dict[str, Any]) -> bool:
        """Return whether the unchanged picture was predicted by the same model and its files are still there."""
        entry = self.entries.get(self.key(picture))
        if entry is None or entry.model != model:
            return False
        try:
            state = picture.path.stat()
        except OSError:  # predicting it will say why
            return False
        unchanged = (entry.bytes, entry.modified_ns) == (state.st_size, state.st_mtime_ns)
        return unchanged and all((self.path.parent / file).is_file() for file in entry.files)

    def reserve(self, picture: Picture) -> PurePosixPath:
        """Return the picture's name: the one it has, else the first that no other picture has; it then has it."""
        key = self.key(picture)
        name = next(name for name in picture.names if self._owners.get(str(name).casefold(), key) == key)
        self._owners[str(name).casefold()] = key
        return name

    def add(self, entry: Entry) -> None:
        """Append a line; it is whole on disk, or not there, whenever the process ends."""
        line = json.dumps(dataclasses.asdict(entry), ensure_ascii=False, allow_nan=False) + "\n"
        with self.path.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        self.entries[entry.key] = entry
        self._owners[self._stem(entry)] = entry.key

    def key(self, picture: Picture) -> Key:
        """Return what the picture's entry is found by."""
        return self.relative(picture.path), picture.frame

    def relative(self, path: Path) -> str:
        """Return a path as the manifest writes it: from its own folder."""
        return PurePosixPath(os.path.relpath(path, self.path.parent)).as_posix()

    @staticmethod
    def _stem(entry: Entry) -> str:
        """Return what the names of an entry's files begin with; file systems may not tell cases apart."""
        first = entry.files[0]
        return first[: first.rindex("_")].casefold()
