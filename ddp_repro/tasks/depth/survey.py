"""How much of the depth maps was measured, and whether their unit is plausible."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from ddp_repro.data.io import DataError, read_depth
from ddp_repro.data.spec import Sample
from ddp_repro.data.survey import VALUES, Survey, count_values, in_threads, surveyed
from ddp_repro.data.transforms import size_of
from ddp_repro.settings.recipe import Recipe
from ddp_repro.tasks.depth.dataset import DepthDataset, to_metres
from ddp_repro.tasks.depth.datasets.spec import DepthSpec, read_stored
from ddp_repro.tasks.depth.protocols import protocol_named

# Between which shares of the protocol's cap the median depth of a scene lies.  The real sets here have 0.09 and 0.2; a
# unit that is wrong by ten is outside either way.
PLAUSIBLE = (0.04, 0.75)


def survey(dataset: DepthDataset, recipe: Recipe) -> Survey:
    """Count the measurements of a training split.

    Raises:
        DataError: a damaged depth map, or an impossible unit; names the file.
    """
    protocol = recipe.evaluation.protocol
    cap = cast(Any, recipe.model).max_depth if protocol is None else protocol_named(protocol).max_depth
    return survey_depth(dataset.spec, dataset.samples, dataset.data.train_split, cap)


def survey_depth(spec: DepthSpec, samples: list[Sample], split: str, cap: float | None) -> Survey:
    """Count the measurements in the depth maps of a split.

    Args:
        cap: metres up to which is evaluated; None: not known, the median is not judged.

    Raises:
        DataError: as :func:`survey`.
    """
    if spec.read is not read_stored:
        raise DataError(f"{spec.name} is a set to evaluate on; its floating-point depth is not trained on")
    chosen = surveyed(samples)

    def read(sample: Sample) -> np.ndarray:
        stored = spec.decode(read_depth(sample.truth))
        to_metres(stored, spec, sample.truth)
        return count_values(stored[spec.eval_window(size_of(stored))])

    counts, empty = np.zeros(VALUES, np.int64), 0
    for values in in_threads(read, chosen):
        counts += values
        empty += not values[1:].any()
    return summarize(spec, counts, split, len(chosen), len(samples), empty, cap)


def summarize(
    spec: DepthSpec, counts: np.ndarray, split: str, images: int, split_images: int, empty: int, cap: float | None
) -> Survey:
    """Return the survey of a split from its stored values' counts, int64 (65536,).

    Args:
        empty: how many of the depth maps hold no measurement.
        cap: as in :func:`survey_depth`.
    """
    measured = int(counts[1:].sum())
    rank = np.searchsorted(np.cumsum(counts[1:]), (measured + 1) // 2)
    median = float(rank + 1) / spec.depth_scale if measured else None
    metres = (np.flatnonzero(counts[1:]) + 1) / spec.depth_scale
    warnings = [] if measured else [f"no depth map of {split} holds a measurement: there is nothing to learn from"]
    if measured and empty:
        warnings.append(f"{empty} of {images} depth maps of {split} hold no measurement")
    if median is not None and cap is not None and not PLAUSIBLE[0] * cap <= median <= PLAUSIBLE[1] * cap:
        low, high = (share * cap for share in PLAUSIBLE)
        warnings.append(
            f"the median depth of {split} is {median:.3g} m with depth_scale {spec.depth_scale:g} (stored units per "
            f"metre), where {low:.3g} to {high:.3g} m is usual for a cap of {cap:g} m: is the unit right?"
        )
    return Survey(
        split=split, images=images, split_images=split_images, pixels={"measurement": measured},
        ignored=int(counts[0]), median=median, warnings=warnings,
        nearest=float(metres[0]) if measured else None, farthest=float(metres[-1]) if measured else None,
    )  # fmt: skip
