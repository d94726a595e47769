"""What figures need of a few images of a run, in one file beside its record; a recipe's paper says what that is."""

from __future__ import annotations

from pathlib import Path

from ddp_repro.data.dataset import PairDataset
from ddp_repro.protocols.method import Method
from ddp_repro.settings.recipe import Recipe
from ddp_repro.workbook.catalogue import paper_of


def save_samples(model: Method, dataset: PairDataset, recipe: Recipe, folder: Path) -> None:
    """Write the samples of a run into the folder of its record; a model without steps to show has none."""
    if samples := paper_of(recipe).samples(recipe):
        samples.save(model, dataset, recipe, folder / samples.file)


def missing_samples(recipe: Recipe, folder: Path) -> Path | None:
    """Return the file of samples that should be in a finished run's folder and is not; None: nothing is missing."""
    samples = paper_of(recipe).samples(recipe)
    path = folder / samples.file if samples else None
    return path if path and not path.is_file() else None
