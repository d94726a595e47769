"""Prediction of large pictures by windows that overlap and are blended, in the memory of one row of windows.

The network sees a picture of its own size, a window at a time; windows overlap by a quarter.  What the model says,
class scores or metres, is blended at its own resolution with weights that fall linearly towards a window's borders and
sum to one: a map has no step where windows meet, and where one window covers the picture it is that window's, exactly.
As soon as a band of rows has got all its windows, labels and uncertainty of the picture's size are read off it: the
scores of all classes are never there for more than a band.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ddp_repro.data import transforms
from ddp_repro.diffusion.trajectory import Trajectory
from ddp_repro.evaluation.sampling import sampling_runs
from ddp_repro.evaluation.views import ViewedImage
from ddp_repro.protocols.method import Method
from ddp_repro.protocols.registry import task_named
from ddp_repro.protocols.task import Task
from ddp_repro.settings.errors import ConfigError

GRID = 32  # pixels; the strides of all encoders divide it, so that the maps of windows have their rows in common
OVERLAP = 0.25  # of a window's side, at least, down to the grid


class Span(NamedTuple):
    """Where a window lies along one side of the picture, pixels."""

    start: int
    stop: int


def check_window(window: tuple[int, int], task: Task) -> None:
    """Refuse windows that cannot work.

    Raises:
        ConfigError: sides that are not on the grid, or a task whose predictions of parts do not fit together.
    """
    if any(side % GRID or side < 2 * GRID for side in window):
        height, width = window
        raise ConfigError(f"window {height}x{width}: sides are multiples of {GRID} pixels, at least {2 * GRID}")
    if not task.blends:
        raise ConfigError(f"windows of {task.name} do not fit together: each would have a scale of its own")


def predict_by_windows(
    model: Method, pixels: np.ndarray, window: tuple[int, int], steps: int, noise_samples: int, seed: int
) -> Any:
    """Return the task's prediction of a picture; what does not have the picture's size is left out (None).

    Every window starts from the noise of a picture of its size, so that one window is the whole picture's prediction.

    Args:
        pixels: uint8 (H, W, 3).
        window: (height, width), multiples of :data:`GRID`.
    """
    task, size = task_named(model.config.task), transforms.size_of(pixels)
    assert task.predict is not None
    joined: _Joined | None = None
    for band in _bands(model, pixels, window, steps, noise_samples, seed):
        shape = band.covered.stop - band.covered.start, size[1]
        view = torch.empty((3, *shape), device="meta")  # its size is all that is asked of it
        prediction = task.predict(model, ViewedImage("predict", [view], view[0]), band.runs)
        joined = joined or _Joined(prediction, shape, size)
        joined.add(prediction, band)
    assert joined is not None
    return joined.prediction


def spans(length: int, window: int) -> list[Span]:
    """Return the windows along a side of ``length`` pixels, on the grid; the last one ends with the picture."""
    last = max(-(-(length - window) // GRID) * GRID, 0)
    step = int(window * (1 - OVERLAP)) // GRID * GRID
    return [Span(start, min(start + window, length)) for start in [*range(0, last, step), last]]


def blending(places: Sequence[Span]) -> list[Tensor]:
    """Return the weights of windows along a side, in units of any size; where windows overlap, they sum to one."""
    end = places[-1].stop
    ramps = []
    for start, stop in places:
        ramp = torch.arange(stop - start) + 0.5
        ramps.append(torch.minimum(ramp, ramp.flip(0)).double())
    total = torch.zeros(end, dtype=torch.float64)
    for (start, stop), ramp in zip(places, ramps, strict=True):
        total[start:stop] += ramp
    return [(ramp / total[start:stop]).float() for (start, stop), ramp in zip(places, ramps, strict=True)]


class _Band(NamedTuple):
    """Rows of a picture whose windows are all there.

    Attributes:
        runs: sampling runs of these rows and, for the interpolation between rows, of a map's row on either side.
        covered: the rows of the picture that the runs cover.
        counted: those of them that no other band counts.
    """

    runs: list[Trajectory]
    covered: Span
    counted: Span


def _bands(
    model: Method, pixels: np.ndarray, window: tuple[int, int], steps: int, noise_samples: int, seed: int
) -> Iterator[_Band]:
    height, width = transforms.size_of(pixels)
    rows, columns = spans(height, window[0]), spans(width, window[1])
    blended: _Blended | None = None
    done = 0  # rows of the map that were counted
    for number, row in enumerate(rows):
        for place, column in enumerate(columns):
            crop = pixels[row.start : row.stop, column.start : column.stop]
            view = torch.from_numpy(transforms.normalize(crop, model.mean, model.std))
            runs = [*sampling_runs(model, ViewedImage("predict", [view], view[0]), steps, noise_samples, seed)]
            blended = blended or _Blended(runs, rows, columns, view.shape[1:])
            blended.add(runs, number, place)
        assert blended is not None
        stride = blended.stride
        if row is rows[-1]:
            covered, counted = (Span(row * stride, height) for row in (max(done - 1, 0), done))
            yield _Band(blended.above(None), covered, counted)
            return
        ready = rows[number + 1].start // stride
        covered = Span(max(done - 1, 0) * stride, ready * stride)
        yield _Band(blended.above(ready), covered, Span(done * stride, (ready - 1) * stride))
        done = ready - 1
        blended.forget(done - 1)


class _Blended:
    """Rows of the maps of sampling runs into which windows are blended; rows that are done can be forgotten.

    Args:
        runs: of the first window, whose size is ``shape`` (height, width).
        rows, columns: where the windows lie, pixels.

    Attributes:
        stride: pixels per pixel of the map.
    """

    def __init__(self, runs: list[Trajectory], rows: list[Span], columns: list[Span], shape: tuple[int, ...]) -> None:
        axis = int(len(rows) == 1)  # a side of several windows is a multiple of the stride
        self.stride = -(-shape[axis] // runs[0].output.shape[axis - 2])
        self.rows, self.columns = (
            [Span(start // self.stride, -(-stop // self.stride)) for start, stop in places]
            for places in (rows, columns)
        )
        self.weights = blending(self.rows), blending(self.columns)
        self.top = 0
        self.runs = [self._empty(run) for run in runs]

    def add(self, runs: list[Trajectory], row: int, column: int) -> None:
        """Blend the runs of a window into the maps."""
        (top, bottom), (left, right) = self.rows[row], self.columns[column]
        weight = self.weights[0][row][:, None] * self.weights[1][column]
        missing = max(bottom - self.top - self.runs[0].output.shape[-2], 0)
        if missing:
            self.runs = [_with_maps(run, lambda maps: F.pad(maps, (0, 0, 0, missing))) for run in self.runs]
        for run, blended in zip(runs, self.runs, strict=True):
            for name, maps in _maps(blended).items():
                place = maps[..., top - self.top : bottom - self.top, left:right]
                place += weight.to(maps) * getattr(run, name)

    def above(self, row: int | None) -> list[Trajectory]:
        """Return the runs down to a row of the map, exclusive; None: all of them."""
        stop = None if row is None else row - self.top
        return [_with_maps(run, lambda maps: maps[..., :stop, :]) for run in self.runs]

    def forget(self, row: int) -> None:
        """Drop the rows above one."""
        dropped, self.top = row - self.top, row
        self.runs = [_with_maps(run, lambda maps: maps[..., dropped:, :].clone()) for run in self.runs]

    def _empty(self, run: Trajectory) -> Trajectory:
        width = self.columns[-1].stop
        run = dataclasses.replace(run, maps=run.maps.new_empty(0))  # the noisy maps are large, and nobody asks for them
        return _with_maps(run, lambda maps: maps.new_zeros((*maps.shape[:-2], 0, width), dtype=torch.float32))


def _maps(run: Trajectory) -> dict[str, Tensor]:
    """Return what a run says of places, by name."""
    fields = {field.name: getattr(run, field.name) for field in dataclasses.fields(run)}
    return {name: value for name, value in fields.items() if isinstance(value, Tensor) and value.dim() > 2}


def _with_maps(run: Trajectory, change: Callable[[Tensor], Tensor]) -> Trajectory:
    return dataclasses.replace(run, **{name: change(maps) for name, maps in _maps(run).items()})


class _Joined:
    """A prediction of the picture's size, into which those of bands are copied.

    Args:
        first: the prediction of a band of ``shape`` (height, width), whose arrays of that size are the ones to join.
        size: of the picture.
    """

    def __init__(self, first: Any, shape: tuple[int, int], size: tuple[int, int]) -> None:
        fields = {field.name: getattr(first, field.name) for field in dataclasses.fields(first)}
        arrays = {name: value for name, value in fields.items() if isinstance(value, np.ndarray)}
        self.arrays = {
            name: np.empty((*size, *value.shape[2:]), value.dtype)
            for name, value in arrays.items()
            if value.shape[:2] == shape
        }
        self.prediction = dataclasses.replace(first, **(dict.fromkeys(arrays) | self.arrays))

    def add(self, prediction: Any, band: _Band) -> None:
        """Copy the rows that the band counts."""
        rows = slice(band.counted.start - band.covered.start, band.counted.stop - band.covered.start)
        for name, array in self.arrays.items():
            array[band.counted.start : band.counted.stop] = getattr(prediction, name)[rows]
