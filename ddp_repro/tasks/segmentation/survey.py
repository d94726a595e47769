"""How often every class occurs in label maps, and what that says about mistakes in drawing or naming them."""

from __future__ import annotations

import numpy as np

from ddp_repro.data.io import read_label
from ddp_repro.data.spec import IGNORE, DatasetSpec, Sample, id_table, to_train_ids
from ddp_repro.data.survey import MUCH, VALUES, Survey, count_values, in_threads, surveyed
from ddp_repro.settings.recipe import Recipe
from ddp_repro.tasks.segmentation.dataset import SegmentationDataset

_SHOWN = 10


def survey(dataset: SegmentationDataset, recipe: Recipe) -> Survey:
    """Count the classes of a training split.

    Raises:
        DataError: a damaged label map, or one with an id that the data set does not have; names the file.
    """
    return survey_labels(dataset.spec, dataset.samples, dataset.data.train_split)


def survey_labels(spec: DatasetSpec, samples: list[Sample], split: str) -> Survey:
    """Count the classes in the label maps of a split.

    Raises:
        DataError: as :func:`survey`.
    """
    table, chosen = id_table(spec.label_ids), surveyed(samples)

    def read(sample: Sample) -> np.ndarray:
        stored = read_label(sample.truth)
        to_train_ids(stored, table, sample.truth)
        return count_values(stored)

    return summarize(spec, sum(in_threads(read, chosen), np.zeros(VALUES, np.int64)), split, len(chosen), len(samples))


def summarize(spec: DatasetSpec, stored: np.ndarray, split: str, images: int, split_images: int) -> Survey:
    """Return the survey of a split from its stored ids' counts, int64 (65536,)."""
    counts = np.zeros(IGNORE + 1, np.int64)
    for stored_id, train_id in spec.label_ids.items():
        counts[train_id] += stored[stored_id]
    classes = dict(zip(spec.class_names, counts[: len(spec.class_names)].tolist(), strict=True))
    ignored = int(counts[IGNORE])
    warnings = _warnings(spec, stored, classes, ignored, split)
    return Survey(
        split=split, images=images, split_images=split_images, pixels=classes, ignored=ignored, warnings=warnings
    )


def _warnings(
    spec: DatasetSpec, stored: np.ndarray, classes: dict[str, int], ignored: int, split: str
) -> list[str]:  # fmt: skip
    total = sum(classes.values()) + ignored
    if not any(classes.values()):
        return [f"every pixel of {split} is ignored: there is nothing to learn from"]
    warnings = []
    if np.flatnonzero(stored).tolist() == [0, IGNORE] and spec.label_ids.get(IGNORE) == IGNORE:
        warnings.append(
            f"the masks of {split} hold 0 and 255 only: 255 is ignored; for a foreground mask write 1 in place of 255"
            + (", and name two classes" if len(classes) == 1 else "")
        )
    if absent := [name for name, count in classes.items() if not count]:
        more = f" and {len(absent) - _SHOWN} more" if len(absent) > _SHOWN else ""
        names = ", ".join(absent[:_SHOWN])
        warnings.append(f"{len(absent)} of {len(classes)} classes never occur in {split}: {names}{more}")
    if ignored > MUCH * total:
        warnings.append(f"{ignored / total:.0%} of the pixels of {split} are ignored")
    return warnings
