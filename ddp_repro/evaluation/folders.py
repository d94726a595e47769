"""Prediction of many pictures and films: files, folders and globs into one folder whose manifest says what is done.

::

    FOLDER/predictions.jsonl          one line per picture that is done (of several for one picture, the last counts)
    FOLDER/SUBFOLDER/NAME_KIND.png    its maps; SUBFOLDER is the picture's own below the folder that was given
    FOLDER/FILM/000012_KIND.png       the maps of a film's frame, counted from 0
"""

from __future__ import annotations

import dataclasses
import glob
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from tqdm import tqdm

from ddp_repro.data.io import DataError, read_image
from ddp_repro.evaluation.films import SUFFIXES as FILM_SUFFIXES
from ddp_repro.evaluation.films import Film, FrameReader
from ddp_repro.protocols.task import Writer
from ddp_repro.settings.errors import ConfigError

MANIFEST = "predictions.jsonl"
SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
Key = tuple[str, int | None]  # a file as the manifest writes it, and the frame of a film
AnyPrediction = Any  # with ``arrays``, ``facts(class_names)``, ``uncertainty`` and ``uncertainty_score``


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
        seconds: from reading the picture to its last map.
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


@dataclass(frozen=True)
class Report:
    """What became of the pictures: files written, pictures that were done before, and (picture, error) of the rest."""

    written: list[Path]
    done_before: int
    failed: list[tuple[Picture, str]]


def find_pictures(arguments: Sequence[str], output: Path) -> list[Picture]:
    """Return the pictures and films' frames that files, folders (with all subfolders) and globs name, each once.

    Args:
        arguments: as typed; in a glob ``**`` stands for any folders.
        output: what was written there is a result, not a picture to predict.

    Raises:
        ConfigError: an argument that names nothing, or a folder without pictures.
        DataError: the manifest in ``output`` is damaged, or a film cannot be opened.
    """
    pictures: dict[tuple[str, int | None], Picture] = {}
    results = _results(output)
    for argument in arguments:
        base, paths = _expanded(argument)
        if base is not None:
            paths = [path for path in paths if not _is_result(path, base, output, results)]
            if not paths:
                kinds = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES | FILM_SUFFIXES))
                raise ConfigError(f"{argument}: no pictures there; expected files of {kinds}")
        for path in paths:
            for picture in _pictures_of(path, base):
                pictures.setdefault((os.path.abspath(path), picture.frame), picture)
    return list(pictures.values())


def predict_pictures(
    predict: Callable[[np.ndarray], AnyPrediction],
    write: Writer,
    pictures: Iterable[Picture],
    output: Path,
    *,
    model: dict[str, Any],
    class_names: Sequence[str] = (),
    progress: bool = True,
) -> Report:
    """Predict every picture that the manifest in ``output`` does not name as done by the same model.

    A picture that cannot be read or predicted is reported on stderr, and the others go on.

    Args:
        predict: the map of one picture, uint8 (H, W, 3).
        write: writes the files of one prediction into a folder, their names beginning with a given one.
        model: what decides the maps, JSON-ready; pictures done under other values are done anew.
        class_names: of the labels; none for depth.

    Raises:
        DataError: the folder's manifest is damaged.
        ConfigError: settings that cannot work for any picture.
        OSError: the results cannot be written.
    """
    manifest = Manifest(output)
    pictures = list(pictures)
    pending = [picture for picture in pictures if not manifest.is_done(picture, model)]
    written, failed, frames = [], [], FrameReader()
    for picture in tqdm(pending, unit="image", disable=not progress or len(pictures) == 1):
        started = time.perf_counter()
        try:
            state = picture.path.stat()
            path, number = picture.path, picture.frame
            pixels = read_image(path) if number is None else frames.read(path, number)
            prediction = predict(pixels)
        except ConfigError:
            raise
        except (DataError, OSError, ValueError, RuntimeError) as error:  # the last: e.g. too large for the memory
            failed.append((picture, " ".join(str(error).split())))
            tqdm.write(f"{picture}: {failed[-1][1].removeprefix(f'{picture.path}: ')}", file=sys.stderr)
            continue
        name = manifest.free_name(picture)
        files = write(prediction, pixels, output / name.parent, name.name)
        height, width = _shown(prediction).shape[:2]
        entry = Entry(
            file=manifest.relative(picture.path), files=[manifest.relative(file) for file in files], width=width,
            height=height, bytes=state.st_size, modified_ns=state.st_mtime_ns, **_facts(prediction, class_names),
            model=model, seconds=round(time.perf_counter() - started, 3), frame=picture.frame,
        )  # fmt: skip
        manifest.add(entry)
        written += files
    return Report(written, len(pictures) - len(pending), failed)


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

    def free_name(self, picture: Picture) -> PurePosixPath:
        """Return the picture's name: the one it has, else the first that no other picture has."""
        key = self.key(picture)
        return next(name for name in picture.names if self._owners.get(str(name).casefold(), key) == key)

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


def save_arrays(prediction: AnyPrediction, folder: Path, name: str) -> list[Path]:
    """Write the maps as NumPy files of the picture's size; returns their paths.

    ``_labels`` holds uint8 class ids (uint16 beyond 256 classes), the others float32: ``_depth`` metres;
    ``_uncertainty`` is in [0, 1], metres or degrees, where there is one.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for kind, array in prediction.arrays.items():
        np.save(folder / f"{name}_{kind}.npy", array)
    return [folder / f"{name}_{kind}.npy" for kind in prediction.arrays]


def _shown(prediction: AnyPrediction) -> np.ndarray:
    return next(iter(prediction.arrays.values()))


def _facts(prediction: AnyPrediction, class_names: Sequence[str]) -> dict[str, Any]:
    """Return the fields of an entry that describe the maps."""
    uncertainty = prediction.uncertainty
    return (
        {"classes": None, "depth": None}
        | prediction.facts(class_names)
        | {
            "uncertainty": None if uncertainty is None else round(float(uncertainty.mean()), 6),
            "uncertainty_score": prediction.uncertainty_score,
        }
    )


def _expanded(argument: str) -> tuple[Path | None, list[Path]]:
    """Return the folder that an argument's pictures are named from (None: one file), and the pictures, in order."""
    path = Path(argument).expanduser()
    if path.is_dir():
        return path, sorted(_walk(path))
    if path.exists():
        return None, [path]
    if not glob.has_magic(argument):
        raise ConfigError(f"{argument}: no such file or folder")
    matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
    return _fixed_folder(path), [match for match in matches if match.is_file() and _is_picture(match)]


def _pictures_of(path: Path, base: Path | None) -> Iterable[Picture]:
    """Yield the picture that a file is, or the frames of the film."""
    names = _names(path, base)
    if path.suffix.lower() not in FILM_SUFFIXES:
        yield Picture(path, names)
        return
    try:
        with closing(Film(path)) as film:
            count = film.count()
    except DataError:
        count = 1  # predicting the first frame will say why it cannot be
    for number in range(count):
        yield Picture(path, tuple(name / f"{number:06d}" for name in names), number)


def _results(output: Path) -> set[str]:
    """Return the maps that the manifest in ``output`` lists."""
    entries = Manifest(output).entries.values() if (output / MANIFEST).exists() else ()
    return {os.path.abspath(output / file) for entry in entries for file in entry.files}


def _is_result(path: Path, base: Path, output: Path, results: set[str]) -> bool:
    """Whether a file below the folder ``base`` is a map: one that is listed, or anything in an output folder inside."""
    file, top, below = (Path(os.path.abspath(each)) for each in (path, base, output))
    own_folder = below != top and below.is_relative_to(top)
    return str(file) in results or (own_folder and file.is_relative_to(below))


def _walk(folder: Path) -> Iterable[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in files if _is_picture(Path(name)))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES | FILM_SUFFIXES and not path.name.startswith(".")


def _fixed_folder(pattern: Path) -> Path:
    """Return the folder before a glob's first wildcard."""
    parts = pattern.parts
    wild = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:wild])


def _names(path: Path, base: Path | None) -> tuple[PurePosixPath, ...]:
    """From ``base`` (a single file: bare), then with the suffix, then with ever more of the folders above."""
    whole = PurePosixPath(Path(os.path.abspath(path)).as_posix())
    depth = 1 if base is None else len(path.relative_to(base).parts)
    names = []
    for count in range(depth, len(whole.parts)):
        name = PurePosixPath(*whole.parts[-count:])
        names += [name.with_name(path.stem), name]
    return tuple(names)
