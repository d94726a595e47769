"""Tallies that keep every image's measures: what an image adds, as the protocol of tallies asks for it."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


class NothingToMeasure(ValueError):
    """An image without a pixel that counts."""


class ImageMeasures:
    """Base of a tally whose ``update`` measures one image and appends the outcome to :attr:`images`.

    Attributes:
        images: the statistics of every image that has something to measure, in order of arrival.
        empty: number of the images that have not; they count for no mean.
    """

    images: list[Any]
    empty: int = 0

    def update(self, prediction: Any, truth: Any) -> Any:
        """Measure one image and return its statistics.

        Raises:
            NothingToMeasure: no pixel counts.
        """
        raise NotImplementedError

    def row(self, image: Any) -> dict[str, NDArray[Any]]:
        """Return an image's statistics as arrays by name."""
        raise NotImplementedError

    def image(self, row: Mapping[str, NDArray[Any]]) -> Any:
        """Return the image's statistics that :meth:`row` made arrays of."""
        raise NotImplementedError

    def blank(self) -> dict[str, NDArray[Any]]:
        """Return the row of an image that has nothing to measure: NaN."""
        raise NotImplementedError

    def alone(self) -> Self:
        """Return a tally of the same settings without images."""
        tally = copy.copy(self)
        tally.images, tally.empty = [], 0
        return tally

    def image_statistics(self, prediction: Any, truth: Any) -> dict[str, NDArray[Any]]:
        """Return what an image adds, by name, without counting it; NaN where it has nothing to measure.

        Raises:
            ValueError: prediction and truth do not belong together, or are not finite.
        """
        tally = self.alone()
        try:
            return {"measured": np.array(1), **tally.row(tally.update(prediction, truth))}
        except NothingToMeasure:
            return {"measured": np.array(0), **self.blank()}

    def add(self, statistics: Mapping[str, NDArray[Any]]) -> Self:
        """Count images by their statistics, (N, ...) by name."""
        for number, measured in enumerate(statistics["measured"]):
            if measured:
                self.images.append(self.image({name: values[number] for name, values in statistics.items()}))
            else:
                self.empty += 1
        return self

    @property
    def measured(self) -> int | None:
        """How many images have something to measure; None: all."""
        return len(self.images) if self.empty else None


def mean(values: Sequence[float]) -> float:
    """Return the mean, rounded once whatever the order; NaN without a value."""
    return math.fsum(values) / len(values) if values else math.nan
