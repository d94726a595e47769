"""Which pictures, and frames of films, files, folders and globs name."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath

import numpy as np

from ddp_repro.data.io import DataError, read_image
from ddp_repro.evaluation.folders.films import SUFFIXES as FILM_SUFFIXES
from ddp_repro.evaluation.folders.films import Film, FrameReader
from ddp_repro.evaluation.folders.manifest import MANIFEST, Manifest, Picture
from ddp_repro.settings.errors import ConfigError

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


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


def read_pictures(pictures: Iterable[Picture]) -> Iterator[np.ndarray]:
    """Yield pictures and frames in order, uint8 (H, W, 3) RGB.

    Raises:
        DataError: one that cannot be read.
    """
    frames = FrameReader()
    for picture in pictures:
        yield read_picture(picture, frames)


def read_picture(picture: Picture, frames: FrameReader) -> np.ndarray:
    """Return a picture, uint8 (H, W, 3) RGB.

    Raises:
        DataError: it cannot be read.
    """
    return read_image(picture.path) if picture.frame is None else frames.read(picture.path, picture.frame)


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
