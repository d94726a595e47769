"""Counting images run by run: what each adds is kept, journalled, and brought together over processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ddp_repro.data.io import DataError
from ddp_repro.evaluation.per_image.journal import Journal, Rows
from ddp_repro.evaluation.per_image.statistics import ImageStatistics, RunKey
from ddp_repro.evaluation.processes import gathered, rank_and_world
from ddp_repro.protocols.task import Tally


class Collection(AbstractContextManager["Collection"]):
    """What the images of an evaluation add, in this process and then in all; as a context it closes its journal.

    Args:
        keys: the runs.
        tally: makes an empty tally.
        ids: names of the images, all different.
        journal: keeps what was done, and has what was done before; None: nothing is kept.

    Raises:
        DataError: two images have one name.

    Attributes:
        share: numbers of the images that are this process's to do.
    """

    def __init__(
        self, keys: Sequence[RunKey], tally: Callable[[], Tally], ids: Sequence[str], journal: Journal | None = None
    ) -> None:
        self.keys, self.ids, self.journal = list(keys), list(ids), journal
        self._numbers = {image_id: number for number, image_id in enumerate(self.ids)}
        if len(self._numbers) < len(self.ids):
            raise DataError(f"{len(self.ids) - len(self._numbers)} images have the name of another one")
        self._tally, self._measure = tally, tally().image_statistics
        self._rows: dict[int, Rows] = {}
        if journal is not None:
            journal.open()
            self._rows |= {index: rows for index, rows in journal.rows.items() if set(rows) == set(self.keys)}
        rank, world = rank_and_world()
        self.share = [index for index in range(len(self.ids)) if index not in self._rows][rank::world]

    def count(self, image_id: str, key: RunKey, prediction: Any, truth: Any) -> None:
        """Measure one image in one run; with its last run it is done, and goes into the journal.

        Raises:
            DataError: prediction and truth do not belong together; names the image.
        """
        try:
            statistics = self._measure(prediction, truth)
        except ValueError as error:
            raise DataError(f"image {image_id}: {error}") from error
        index = self._numbers[image_id]
        rows = self._rows.setdefault(index, {})
        rows[key] = {name: _normal(values) for name, values in statistics.items()}
        if self.journal is not None and len(rows) == len(self.keys):
            self.journal.write(index, rows)

    def together(self) -> ImageStatistics:
        """Return what all images add, in the order of the dataset, from all processes."""
        images: dict[int, Rows] = {}
        for rows in gathered(self._rows):
            images |= rows
        return ImageStatistics.stacked(self.ids, self.keys, [images[index] for index in range(len(self.ids))])

    def tallies(self, statistics: ImageStatistics) -> dict[RunKey, Tally]:
        """Return each run's tally over all images."""
        tallies = {key: self._tally() for key in self.keys}
        if statistics.ids:
            for key, tally in tallies.items():
                tally.add(statistics.run(key))
        return tallies

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.journal is not None:
            self.journal.close()


def _normal(values: NDArray[Any]) -> NDArray[Any]:
    """Numbers as they come out of a journal: 64 bits wide."""
    values = np.asarray(values)
    return values.astype(np.float64 if values.dtype.kind == "f" else np.int64)
