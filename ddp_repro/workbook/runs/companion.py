"""The companion of a record, ``images.npz`` beside it: what each image added to the scores."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ddp_repro.evaluation.per_image.journal import Journal
from ddp_repro.evaluation.per_image.statistics import ImageStatistics, StatisticsFileError
from ddp_repro.evaluation.score import Score
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import Recipe
from ddp_repro.store.paths import run_folder
from ddp_repro.workbook.runs import provenance
from ddp_repro.workbook.runs.records import Record, RecordError, write_atomically
from ddp_repro.workbook.runs.works import EVALUATION, code_of

FILE = "images.npz"
JOURNAL = "evaluation"  # folder


def read_image_statistics(record: Record, output: str | Path = "results") -> ImageStatistics:
    """Return what each image added to a record's scores, to be used with :mod:`ddp_repro.evaluation.resampling`.

    Raises:
        ConfigError: the record has no companion (it is older than these are), or the file is not there.
        RecordError: the file is not the one that the record names, or damaged.
    """
    path = run_folder(output, record.preset, record.run) / FILE
    if record.images_sha256 is None:
        raise ConfigError(f"the record of {record.run} was written without {FILE}: evaluate it again")
    if not path.is_file():
        raise ConfigError(f"{path} is missing: evaluate {record.run} again")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != record.images_sha256:
        raise RecordError(f"{path} is not the file that record.json names: evaluate {record.run} again")
    try:
        return ImageStatistics.from_bytes(content)
    except StatisticsFileError as error:
        raise RecordError(f"{path}: {error}") from None


def save_image_statistics(statistics: ImageStatistics, folder: Path) -> None:
    """Write the companion of the record in ``folder``.

    Raises:
        OSError: the folder cannot be written.
    """
    write_atomically(folder / FILE, statistics.to_bytes())


def statistics_sha256(statistics: ImageStatistics) -> str:
    """Return the hash of the file that :func:`save_image_statistics` writes."""
    return hashlib.sha256(statistics.to_bytes()).hexdigest()


def is_complete(record: Record, folder: Path) -> bool:
    """Return whether the companion that a record names is there; an older record names none."""
    path = folder / FILE
    return record.images_sha256 is None or (
        path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == record.images_sha256
    )


def scores_of(recipe: Recipe, statistics: ImageStatistics) -> list[Score]:
    """Return the scores of every run, from what each image added alone."""
    task, scores = task_named(recipe.model.task), []
    for steps, seed in statistics.runs:
        tally = task.tally(recipe.model, recipe.evaluation)
        if statistics.ids:
            tally.add(statistics.run((steps, seed)))
        scores.append(task.score(steps, seed, tally))
    return scores


def journal_of(
    recipe: Recipe, folder: Path, *, weights: str, data: str, images: Sequence[str], device: Any
) -> Journal:  # fmt: skip
    """Return the journal of an evaluation, which goes on only where everything that decides its numbers is the same.

    Args:
        folder: of the record.
        weights, data: hashes of tensors and of the evaluation images.
        images: their names, in order.
    """
    settings = provenance.public_recipe(recipe)
    machine = provenance.environment(device)
    decided_by = {
        "weights": weights, "data": data, "images": hashlib.sha256("\n".join(images).encode()).hexdigest(),
        "recipe": {name: settings[name] for name in ("model", "data", "evaluation")},
        "code": code_of(recipe, EVALUATION), "packages": machine.packages,
        "device": machine.gpu or machine.cpu, "backend": machine.backend,
    }  # fmt: skip
    return Journal(folder / JOURNAL, decided_by)
