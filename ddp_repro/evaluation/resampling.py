"""Estimate a difference by drawing test images, trainings and sampling seeds anew (Efron's bootstrap, paired)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ddp_repro.evaluation.statistics import Estimate, Floats, StatisticsError, Unit, finite_array

DRAWS = 2000  # the standard error is then known to 2 %


class MeanScores:
    """A measure that is taken of each image and averaged over them, such as REL.

    Args:
        values: (N,), or (R, N) for R trainings or sampling seeds.

    Raises:
        StatisticsError: another shape, nothing in it, or a value that is not finite.
    """

    def __init__(self, values: ArrayLike) -> None:
        self.values = finite_array("per-image scores", np.atleast_2d(values), 2)
        self.repetitions, self.images = self.values.shape

    def resampled(self, weights: Floats) -> Floats:
        """Return the weighted means, (W, R)."""
        return weights @ self.values.T / weights.sum(1, keepdims=True)


class MeanIoU:
    """Mean IoU over the classes that occur, from sums over all images (not a mean of the images' own IoU).

    Args:
        intersection, union: pixels of each image and class, (N, K), or (R, N, K) for R trainings or sampling seeds.

    Raises:
        StatisticsError: shapes that differ, nothing in them, or an intersection outside [0, union].
    """

    def __init__(self, intersection: ArrayLike, union: ArrayLike) -> None:
        parts = [np.asarray(part, dtype=np.float64) for part in (intersection, union)]
        inner, outer = (part[None] if part.ndim == 2 else part for part in parts)
        self.intersection, self.union = finite_array("intersections", inner, 3), finite_array("unions", outer, 3)
        if self.intersection.shape != self.union.shape:
            raise StatisticsError(f"intersections are {self.intersection.shape}, unions {self.union.shape}")
        if (self.intersection < 0).any() or (self.intersection > self.union).any():
            raise StatisticsError("an intersection is negative or greater than its union")
        self.repetitions, self.images, _ = self.union.shape

    def resampled(self, weights: Floats) -> Floats:
        """Return the mIoU of the weighted sums, (W, R), as fractions.

        Raises:
            StatisticsError: no class occurs in the counted images.
        """
        parts = (self.intersection, self.union)
        intersection, union = (np.einsum("wn,rnk->wrk", weights, part, optimize=True) for part in parts)
        occurs = union > 0
        if not occurs.any(-1).all():
            raise StatisticsError("mIoU is undefined: the counted images have no labelled pixel")
        return np.divide(intersection, union, where=occurs, out=np.zeros_like(union)).sum(-1) / occurs.sum(-1)


class WeightedScores:
    """A sum of measures of the same images with weights: a mean over sampling seeds, or a fall from 3 to 10 steps.

    Raises:
        StatisticsError: there is none, or their repetitions or images differ.
    """

    def __init__(self, parts: Sequence[tuple[float, MeanScores | MeanIoU]]) -> None:
        shapes = {(part.repetitions, part.images) for _, part in parts}
        if len(shapes) != 1:
            raise StatisticsError(f"a sum needs one number of repetitions and of images; got {sorted(shapes)}")
        self.parts = tuple(parts)
        ((self.repetitions, self.images),) = shapes

    def resampled(self, weights: Floats) -> Floats:
        """Return the sums of the resampled parts, (W, R)."""
        return np.sum([factor * part.resampled(weights) for factor, part in self.parts], axis=0)


ImageScores = MeanScores | MeanIoU | WeightedScores


def image_bootstrap(first: ImageScores, second: ImageScores, *, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Estimate first minus second of one set of weights, by drawing the test images anew (paired, with replacement).

    Raises:
        StatisticsError: several repetitions (see :func:`hierarchical_bootstrap`), or other images on the two sides.
    """
    _check_arms(first, second)
    if first.repetitions > 1:
        raise StatisticsError(f"{first.repetitions} repetitions; the bootstrap over images alone takes one")
    value, by_images = _image_draws(first, second, draws, np.random.default_rng(seed))
    images = first.images
    error = math.sqrt(_unbiased(by_images[:, 0].var(), images))
    return Estimate(
        value=float(value[0]), error=error, freedom=max(images - 1, 1), count=images, unit="images",
        method="paired bootstrap over images",
    )  # fmt: skip


def hierarchical_bootstrap(
    first: ImageScores, second: ImageScores, unit: Unit = "trainings", *, draws: int = DRAWS, seed: int = 0
) -> Estimate:
    """Estimate first minus second by drawing repetitions (trainings or sampling seeds) and test images anew.

    All repetitions are scored on the same images, so one draw of images serves all of them.  The bootstrap gives the
    standard error; a bootstrap over n units underrates its part of the variance by (n - 1) / n, which is made good.
    Degrees of freedom are Satterthwaite's, of the two parts of the variance: where images make up most of it, few
    sampling seeds do no harm.

    Raises:
        StatisticsError: other repetitions or images on the two sides.
    """
    _check_arms(first, second)
    rng = np.random.default_rng(seed)
    value, by_images = _image_draws(first, second, draws, rng)  # (R,), (draws, R)
    count, images = first.repetitions, first.images
    shares = rng.multinomial(count, np.full(count, 1 / count), draws) / count  # (draws, R)
    of_units, of_images = value.var() / count, by_images.mean(1).var()
    together = (by_images * shares).sum(1).var()
    unit_part = _unbiased(of_units, count)
    image_part = _unbiased(max(together - of_units, of_images), images)
    variance = unit_part + image_part
    return Estimate(
        value=float(value.mean()), error=math.sqrt(variance), count=count, unit=unit,
        freedom=_satterthwaite((unit_part, count - 1), (image_part, images - 1)), floor=math.sqrt(image_part),
        method=f"bootstrap over {unit} and images",
    )  # fmt: skip


def _image_draws(
    first: ImageScores, second: ImageScores, draws: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return the difference of each repetition (R,), and with the images drawn anew (draws, R)."""
    if draws < 2:
        raise StatisticsError(f"a bootstrap needs at least 2 draws; got {draws}")
    images = first.images
    weights = rng.multinomial(images, np.full(images, 1 / images), draws).astype(np.float64)
    value, drawn = (first.resampled(w) - second.resampled(w) for w in (np.ones((1, images)), weights))
    return value[0], drawn


def _unbiased(variance: float, count: int) -> float:
    return float(variance) * count / (count - 1) if count > 1 else math.inf


def _satterthwaite(*parts: tuple[float, int]) -> float:
    """Return the degrees of freedom of a sum of variances, each with its own."""
    if any(math.isinf(variance) for variance, _ in parts):
        return 1.0
    total = sum(variance for variance, _ in parts)
    least = float(min(freedom for _, freedom in parts))
    return total**2 / sum(variance**2 / freedom for variance, freedom in parts) if total > 0 else least


def _check_arms(first: ImageScores, second: ImageScores) -> None:
    for name in ("repetitions", "images"):
        ours, theirs = getattr(first, name), getattr(second, name)
        if ours != theirs:
            raise StatisticsError(f"{ours} and {theirs} {name}; pairs need as many on both sides")
