"""Does an uncertain depth turn out wrong?  Spreads over steps, noise samples and views against the relative error."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ddp_repro.data.dataset import PairDataset
from ddp_repro.diffusion.uncertainty import depth_spread
from ddp_repro.evaluation.measure import json_ready
from ddp_repro.evaluation.processes import in_turn, rank_and_world
from ddp_repro.evaluation.sampling import sampling_runs
from ddp_repro.evaluation.statistics import paired_difference
from ddp_repro.evaluation.uncertainty.bounds import ErrorBound
from ddp_repro.evaluation.views import View, ViewedImage, inference_mode, to_image_size, view_image
from ddp_repro.protocols.method import Method
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.checks import check_positive
from ddp_repro.settings.errors import ConfigError
from ddp_repro.tasks.depth.predict import step_depths
from ddp_repro.tasks.depth.protocols import Protocol
from ddp_repro.tasks.depth.view_spread import view_spreads

SPREADS = ("step_spread", "sample_spread", "mirror_spread", "part_spread", "view_spread")
SHOWN = "view_spread"  # by :func:`ddp_repro.tasks.depth.predict.estimate_depth`
FRACTIONS = 50  # of the pixels, left out one after another
LEVEL = 0.68  # share of the pixels whose error a calibrated uncertainty reaches
BINS = 20  # of the calibration
PIXELS = 2000  # of an image, at most, that the calibration counts


@dataclass(frozen=True, kw_only=True)
class DepthUncertainty:
    """The outcome of :func:`evaluate_depth_uncertainty`; each value is the mean over images.

    Images without a depth that counts are left out; where none is left, values are NaN.

    Attributes:
        correlation: Spearman's rank correlation of uncertainty and relative error, by score.
        sparsification: REL of the pixels that remain after leaving out the most uncertain ones, by score; under
            ``oracle`` after leaving out the worst.  One value per fraction left out.
        ause: area between a score's sparsification and the oracle's, divided by the image's REL; 0 is perfect, and
            ``random`` what leaving out pixels by chance would have.
        advantage: ``random`` minus a score's, with its interval over images; above 0, the score finds errors.
        calibration: what the spread over views means in metres, and how well that holds; see :func:`calibrate`.
    """

    dataset: str
    images: int
    steps: int
    noise_samples: int
    seed: int
    fractions: list[float]
    correlation: dict[str, float]
    sparsification: dict[str, list[float]]
    ause: dict[str, float]
    advantage: dict[str, dict[str, Any]]
    calibration: dict[str, Any]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; undefined numbers (NaN) become null."""
        return json_ready(vars(self))


def evaluate_depth_uncertainty(
    model: Method,
    dataset: PairDataset,
    protocol: Protocol,
    *,
    steps: int = 3,
    noise_samples: int = 4,
    seed: int = 0,
    limit: int | None = None,
    progress: bool = True,
) -> DepthUncertainty:
    """Judge the depth's spread by how well it finds wrong pixels; the depth judged is that of noise sample 0.

    Under torchrun every process takes a share of the images and returns the same result.

    Args:
        steps, noise_samples: at least 2 each, or there is no spread.
        limit: first so many images only.

    Raises:
        ConfigError: an impossible setting, a model without diffusion, or one of another task.
        DataError: a damaged image.
    """
    task_named(model.config.task).check(model.config, dataset)
    check_positive(limit=limit)
    if not model.config.diffusion or min(steps, noise_samples) < 2:
        raise ConfigError("depth has a spread with diffusion, 2 or more steps and 2 or more noise samples")
    started, count = time.perf_counter(), min(len(dataset), limit or len(dataset))
    judged: list[_Judged] = []
    rank, world = rank_and_world()
    with inference_mode(model):
        for index in tqdm(range(rank, count, world), unit="image", disable=not progress or rank > 0):
            image = view_image(dataset, index, [View()])
            valid = protocol.valid(image.truth)
            if valid.any():
                judged.append(_judge(model, image, valid, steps, noise_samples, seed))
    judged = in_turn(judged)
    curves, correlations = [each.curves for each in judged], [each.correlations for each in judged]
    if not judged:  # undefined, then
        nothing = torch.full((FRACTIONS,), torch.nan, dtype=torch.float64)
        curves.append(dict.fromkeys((*SPREADS, "oracle"), nothing))
        correlations.append(dict.fromkeys(SPREADS, math.nan))
    means = {name: torch.stack([curve[name] for curve in curves]).mean(0) for name in curves[0]}
    areas = _areas(curves)
    return DepthUncertainty(
        dataset=dataset.name, images=count, steps=steps, noise_samples=noise_samples, seed=seed,
        fractions=[i / FRACTIONS for i in range(FRACTIONS)],
        correlation={name: sum(c[name] for c in correlations) / len(correlations) for name in correlations[0]},
        sparsification={name: curve.tolist() for name, curve in means.items()},
        ause={name: sum(values) / len(values) for name, values in areas.items()},
        advantage=_advantages(areas) if judged else {},
        calibration=calibrate([(each.spread, each.error) for each in judged]),
        seconds=time.perf_counter() - started,
    )  # fmt: skip


def calibrate(images: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    """Learn from every second image what a spread means in metres, and try it on the others.

    A spread's metres are those within which the error of :data:`LEVEL` of the pixels with such a spread lies, in bins
    of as many pixels, and never less than those of a smaller spread.

    Args:
        images: of each, spread and absolute error of some pixels, (N,) metres.

    Returns:
        ``spread`` and ``metres``, between which is interpolated; ``level``; ``coverage``, the share of the other
        images' pixels whose error lies within their metres, which should be the level; and the numbers of images.
        Empty for fewer than two images.
    """
    if len(images) < 2:
        return {}
    learned, tried = ([torch.cat(parts).double() for parts in zip(*images[first::2], strict=True)] for first in (0, 1))
    spread, error = (values[learned[0].argsort()] for values in learned)
    bins = min(BINS, len(spread))
    pairs = zip(spread.tensor_split(bins), error.tensor_split(bins), strict=True)
    centres, metres = zip(*((float(s.median()), float(e.quantile(LEVEL))) for s, e in pairs), strict=True)
    metres = np.maximum.accumulate(metres)
    covered = tried[1].numpy() <= ErrorBound(LEVEL, centres, tuple(metres))(tried[0].numpy())
    return {
        "score": SHOWN, "level": LEVEL, "spread": list(centres), "metres": metres.tolist(),
        "coverage": float(covered.mean()), "learned_images": len(images[::2]), "tried_images": len(images[1::2]),
    }  # fmt: skip


@dataclass(frozen=True)
class _Judged:
    """What an image says: curves and correlations of its scores; spread and error of some of its pixels, metres."""

    curves: dict[str, Tensor]
    correlations: dict[str, float]
    spread: Tensor
    error: Tensor


def _judge(
    model: Method, image: ViewedImage, valid: Tensor, steps: int, noise_samples: int, seed: int
) -> _Judged:  # fmt: skip
    runs = [*sampling_runs(model, image, steps, noise_samples, seed)]
    shown = view_spreads(model, image.views[0], runs[0].output, image.id, steps=steps, seed=seed)
    samples = torch.stack([run.output for run in runs])
    spreads = (
        depth_spread(step_depths(model, runs[0]))[0], depth_spread(samples)[0], shown.mirrored, shown.parts, shown.all,
    )  # fmt: skip
    input_size, size = image.input_size, image.size
    scores = {
        name: to_image_size(spread[None, None], input_size, size)[0, 0].cpu()[valid]
        for name, spread in zip(SPREADS, spreads, strict=True)
    }
    depth = to_image_size(runs[0].output, input_size, size)[0, 0].cpu()[valid]
    metres = (depth - image.truth[valid]).abs()
    relative = metres / image.truth[valid]
    some = torch.linspace(0, len(metres) - 1, min(len(metres), PIXELS)).long()
    return _Judged(
        curves={name: sparsification(score, relative) for name, score in {**scores, "oracle": relative}.items()},
        correlations={name: rank_correlation(score, relative) for name, score in scores.items()},
        spread=scores[SHOWN][some], error=metres[some],
    )  # fmt: skip


def sparsification(uncertainty: Tensor, error: Tensor) -> Tensor:
    """Mean error of the pixels that remain when the most uncertain 0, 1/50, … 49/50 of them are left out.

    Equally uncertain pixels are left out in no particular order: each counts as their mean.

    Args:
        uncertainty, error: (N,).

    Returns:
        float64 (50,).
    """
    _, group, sizes = uncertainty.unique(return_inverse=True, return_counts=True)  # ascending
    sums = torch.zeros(len(sizes), dtype=torch.float64).index_add(0, group, error.double())
    ordered = (sums / sizes).repeat_interleave(sizes)
    means = ordered.cumsum(0) / torch.arange(1, len(ordered) + 1, dtype=torch.float64)
    kept = (len(ordered) * (1 - torch.arange(FRACTIONS) / FRACTIONS)).round().long().clamp(min=1)
    return means[kept - 1]


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's correlation of (N,) and (N,); equal values share their mean rank, and a constant has none of it: 0."""
    ranks = torch.stack([_mean_ranks(values) for values in (first, second)])
    return float(torch.corrcoef(ranks)[0, 1].nan_to_num(0.0))


def _mean_ranks(values: Tensor) -> Tensor:
    _, group, sizes = values.unique(return_inverse=True, return_counts=True)
    return (sizes.cumsum(0) - (sizes - 1) / 2).double()[group]


def _areas(curves: list[dict[str, Tensor]]) -> dict[str, list[float]]:
    """Return the area of every image, by score."""

    def area(curve: Tensor, oracle: Tensor) -> float:
        return float((curve - oracle).mean() / oracle[0])

    names = [name for name in curves[0] if name != "oracle"]
    areas = {name: [area(curve[name], curve["oracle"]) for curve in curves] for name in names}
    areas["random"] = [area(curve["oracle"][:1].expand(FRACTIONS), curve["oracle"]) for curve in curves]
    return areas


def _advantages(areas: dict[str, list[float]]) -> dict[str, dict[str, Any]]:
    chance = areas["random"]
    return {
        name: paired_difference(chance, values, "images").interval().to_dict()
        for name, values in areas.items()
        if name != "random"
    }
