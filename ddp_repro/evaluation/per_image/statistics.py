"""What each image of an evaluation adds to the measures, per sampling run, as arrays and as a compact file."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RunKey = tuple[int, int | None]  # (steps, seed); the baseline has no noise, its only run is (1, None)
Statistics = Mapping[str, NDArray[Any]]  # of one image, as Tally.image_statistics returns them
FACTS = "facts"  # the array that holds ids and runs as JSON


class StatisticsFileError(ValueError):
    """A file that does not hold the statistics of images."""


@dataclass(frozen=True, eq=False)
class ImageStatistics:
    """The statistics of every image and run; their meaning is the task's (see its ``metrics`` module).

    Attributes:
        ids: the images, N.
        runs: (steps, seed) of the runs, R.
        values: by name, (R, N, ...).
    """

    ids: tuple[str, ...]
    runs: tuple[RunKey, ...]
    values: dict[str, NDArray[Any]]

    @classmethod
    def stacked(
        cls, ids: Sequence[str], runs: Sequence[RunKey], images: Sequence[Mapping[RunKey, Statistics]]
    ) -> ImageStatistics:
        """Return the statistics of images, given one by one in the order of ``ids``."""
        names = images[0][runs[0]] if images else {}
        values = {name: np.array([[image[run][name] for image in images] for run in runs]) for name in names}
        return cls(tuple(ids), tuple(runs), values)

    def run(self, key: RunKey) -> dict[str, NDArray[Any]]:
        """Return one run's statistics, (N, ...) by name.

        Raises:
            ValueError: there is no such run.
        """
        return {name: values[self.runs.index(key)] for name, values in self.values.items()}

    def of(self, name: str, steps: int) -> NDArray[Any]:
        """Return one statistic of all seeds at a number of steps, (S, N, ...), the seeds as repetitions.

        Such arrays are what :mod:`ddp_repro.evaluation.resampling` takes: ``MeanIoU(images.of("intersection", 3),
        images.of("union", 3))``, or ``MeanScores(images.of("measures", 3)[..., 0])``.

        Raises:
            KeyError: there is no statistic of this name.
            ValueError: these steps were not evaluated.
        """
        rows = [row for row, (count, _) in enumerate(self.runs) if count == steps]
        if not rows:
            known = sorted({count for count, _ in self.runs})
            raise ValueError(f"{steps} steps were not evaluated; there are {', '.join(map(str, known))}")
        return self.values[name][rows]

    def to_bytes(self) -> bytes:
        """Return an npz file; equal statistics give equal bytes.  Whole numbers are as narrow as their largest."""
        facts = json.dumps({"ids": self.ids, "runs": self.runs}, ensure_ascii=False).encode()
        arrays = {name: _narrowed(values) for name, values in self.values.items()}
        file = io.BytesIO()
        np.savez_compressed(file, **{FACTS: np.frombuffer(facts, dtype=np.uint8)}, **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> ImageStatistics:
        """Read what :meth:`to_bytes` wrote.

        Raises:
            StatisticsFileError: it is something else, or damaged.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            facts = json.loads(arrays.pop(FACTS).tobytes())
            runs = tuple((steps, seed) for steps, seed in facts["runs"])
            made = cls(tuple(facts["ids"]), runs, {name: _widened(values) for name, values in arrays.items()})
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise StatisticsFileError(f"not a file of images' statistics ({error})") from None
        shape = (len(made.runs), len(made.ids))
        if wrong := [name for name, values in made.values.items() if values.shape[:2] != shape]:
            raise StatisticsFileError(f"{', '.join(wrong)} should have {shape[0]} runs of {shape[1]} images")
        return made


def _narrowed(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind not in "iu":
        return values
    low, high = (values.min(), values.max()) if values.size else (0, 0)
    return values.astype(np.result_type(np.min_scalar_type(low), np.min_scalar_type(high)))


def _widened(values: NDArray[Any]) -> NDArray[Any]:
    """Widen integers, whose sums and differences would overflow."""
    return values.astype(np.int64) if values.dtype.kind in "iu" else values
