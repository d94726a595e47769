"""Prediction of many pictures: read in order, predicted in batches; written meanwhile, and noted, one by one."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from ddp_repro.data import transforms
from ddp_repro.data.io import DataError
from ddp_repro.evaluation.folders.batches import PICTURE_PIXELS, batches, share_of_batch
from ddp_repro.evaluation.folders.films import FrameReader
from ddp_repro.evaluation.folders.inputs import read_picture
from ddp_repro.evaluation.folders.manifest import Entry, Manifest, Picture
from ddp_repro.evaluation.predict import PicturePredictor
from ddp_repro.evaluation.views import model_device
from ddp_repro.protocols.task import Writer
from ddp_repro.settings.errors import ConfigError

# What is wrong with one picture, and not with the others; the last: e.g. too large for the memory.
PICTURE_ERRORS = (DataError, OSError, ValueError, RuntimeError)
AnyPrediction = Any  # with ``arrays``, ``facts(class_names)``, ``uncertainty`` and ``uncertainty_score``


@dataclass(frozen=True)
class Report:
    """What became of the pictures: files written, pictures that were done before, and (picture, error) of the rest."""

    written: list[Path]
    done_before: int
    failed: list[tuple[Picture, str]]


def predict_pictures(
    predictor: PicturePredictor,
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
    report = Report([], len(pictures) - len(pending), [])
    with tqdm(total=len(pending), unit="image", disable=not progress or len(pictures) == 1) as bar:
        for outcome in _outcomes(_Work(predictor, write, manifest, class_names, model), pending):
            if isinstance(outcome, _Failure):
                report.failed.append(outcome)
                tqdm.write(f"{outcome.picture}: {outcome.reason}", file=sys.stderr)
            else:
                manifest.add(outcome)
                report.written.extend(output / file for file in outcome.files)
            bar.update()
    return report


class _Failure(NamedTuple):
    picture: Picture
    reason: str

    @classmethod
    def of(cls, picture: Picture, error: Exception) -> _Failure:
        return cls(picture, " ".join(str(error).split()).removeprefix(f"{picture.path}: "))


class _Read(NamedTuple):
    """A picture that was read: its pixels, uint8 (H, W, 3), the state of its file, and how long reading took."""

    picture: Picture
    pixels: np.ndarray
    bytes: int
    modified_ns: int
    name: PurePosixPath
    seconds: float


class _Predicted(NamedTuple):
    """What the network says of a picture that was read, and the seconds that this took."""

    read: _Read
    prediction: AnyPrediction
    seconds: float


@dataclass(frozen=True)
class _Work:
    """What happens to a picture; the arguments are those of :func:`predict_pictures`."""

    predictor: PicturePredictor
    write: Writer
    manifest: Manifest
    class_names: Sequence[str]
    model: dict[str, Any]

    def input_size(self, read: _Read) -> tuple[int, int]:
        return self.predictor.input_size(transforms.size_of(read.pixels))

    def share(self, read: _Read) -> float:
        size = transforms.size_of(read.pixels)
        return share_of_batch(size, self.input_size(read), model_device(self.predictor.model))

    def read(self, picture: Picture, frames: FrameReader) -> _Read | _Failure:
        started = time.perf_counter()
        try:
            state = picture.path.stat()
            pixels = read_picture(picture, frames)
        except PICTURE_ERRORS as error:
            return _Failure.of(picture, error)
        name = self.manifest.reserve(picture)
        return _Read(picture, pixels, state.st_size, state.st_mtime_ns, name, time.perf_counter() - started)

    def predict(self, batch: list[_Read]) -> list[_Predicted | _Failure]:
        started = time.perf_counter()
        try:
            predictions = self.predictor.predict([read.pixels for read in batch])
        except ConfigError:
            raise
        except PICTURE_ERRORS as error:
            if len(batch) == 1:
                return [_Failure.of(batch[0].picture, error)]
            return [outcome for read in batch for outcome in self.predict([read])]
        seconds = (time.perf_counter() - started) / len(batch)
        return [_Predicted(read, found, seconds) for read, found in zip(batch, predictions, strict=True)]

    def write_maps(self, predicted: _Predicted) -> Entry:
        read, prediction, seconds = predicted
        started = time.perf_counter()
        folder = self.manifest.path.parent / read.name.parent
        files = self.write(prediction, read.pixels, folder, read.name.name)
        facts = _facts(prediction, self.class_names)
        height, width = transforms.size_of(read.pixels)
        seconds += read.seconds + time.perf_counter() - started
        return Entry(
            file=self.manifest.relative(read.picture.path), files=[self.manifest.relative(file) for file in files],
            width=width, height=height, bytes=read.bytes, modified_ns=read.modified_ns, **facts, model=self.model,
            seconds=round(seconds, 3), frame=read.picture.frame,
        )  # fmt: skip


def _outcomes(work: _Work, pictures: Sequence[Picture]) -> Iterator[Entry | _Failure]:
    """Yield what becomes of pictures as it comes; no more are read than wait for their batch."""
    frames = FrameReader()
    failures: list[_Failure] = []

    def read_in_order() -> Iterator[_Read]:
        for picture in pictures:
            read = work.read(picture, frames)
            if isinstance(read, _Failure):
                failures.append(read)
            else:
                yield read

    workers = _Workers(work, _core_count(work.predictor, len(pictures)))
    with workers, ThreadPoolExecutor(1) as writer:  # writes, mostly compresses, while the next batches are predicted
        waiting: list[Future[Entry] | _Failure] = []
        for outcomes in workers.predict(batches(read_in_order(), work.input_size, work.share)):
            yield from _results(waiting)
            waiting = [_submit(writer, work, outcome) for outcome in outcomes]
            yield from failures
            failures.clear()
        yield from _results(waiting)
    yield from failures


def _core_count(predictor: PicturePredictor, pictures: int) -> int:
    """Return how many batches are predicted at once: on a CPU one for each core, on a GPU one after the other."""
    return min(torch.get_num_threads(), pictures) if model_device(predictor.model).type == "cpu" else 1


class _Workers:
    """Threads that predict batches, each on a core of its own.

    That takes less time than one batch after the other on all cores, which wait for each other at every layer.  A
    picture too large to be held twice has all cores and the memory for itself.
    """

    def __init__(self, work: _Work, count: int) -> None:
        self.work, self.count = work, count
        self.pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) if count > 1 else None
        self.threads = torch.get_num_threads()

    def __enter__(self) -> None:
        if self.pool:
            self.pool.__enter__()

    def __exit__(self, *error: object) -> None:
        if self.pool:
            self.pool.shutdown(cancel_futures=True)
            torch.set_num_threads(self.threads)  # a thread that comes later takes the number that was set last

    def predict(self, batches: Iterable[list[_Read]]) -> Iterator[list[_Predicted | _Failure]]:
        """Yield what becomes of batches, in their order; no more are under way than there are cores."""
        under_way: deque[Future[list[_Predicted | _Failure]]] = deque()
        for batch in batches:
            alone = self.pool is None or max(read.pixels.size for read in batch) > 3 * PICTURE_PIXELS
            while under_way and (alone or len(under_way) == self.count):
                yield under_way.popleft().result()
            if alone or self.pool is None:
                yield self.work.predict(batch)
            else:
                under_way.append(self.pool.submit(self.work.predict, batch))
        while under_way:
            yield under_way.popleft().result()


def _submit(writer: ThreadPoolExecutor, work: _Work, outcome: _Predicted | _Failure) -> Future[Entry] | _Failure:
    return outcome if isinstance(outcome, _Failure) else writer.submit(work.write_maps, outcome)


def _results(waiting: Sequence[Future[Entry] | _Failure]) -> Iterator[Entry | _Failure]:
    for outcome in waiting:
        yield outcome if isinstance(outcome, _Failure) else outcome.result()


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
