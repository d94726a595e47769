"""Trainings as jobs."""

from __future__ import annotations

from collections.abc import Sequence

from ddp_repro.settings.recipe import Recipe
from ddp_repro.settings.sources import first_stages
from ddp_repro.store.paths import run_folder
from ddp_repro.workbook.jobs.job import Job


def training(recipe: Recipe, words: Sequence[str], output: str) -> Job:
    """Return the job of one training.

    Args:
        words: of the command ``train``.
    """
    weights = run_folder(output, recipe.preset, recipe.name) / "model.safetensors"
    return Job(
        name=recipe.name, commands=(("train", *words),), files=(weights,), needs=_trained(recipe, recipe.name),
        shared=True,
    )  # fmt: skip


def scored_training(recipe: Recipe, output: str) -> Job:
    """Return the job of a recipe of the catalogue: its training, or that of the weights it borrows, and its score."""
    source, place = recipe.weights_of or recipe.name, ("--preset", recipe.preset, "--output", output)
    weights = run_folder(output, recipe.preset, source) / "model.safetensors"
    return Job(
        name=recipe.name, commands=(("train", source, *place), ("evaluate", recipe.name, *place)), files=(weights,),
        needs=_trained(recipe, source), shared=True,
    )  # fmt: skip


def _trained(recipe: Recipe, source: str) -> frozenset[str]:
    """Names of all trainings that a job may be at."""
    return frozenset({source, *first_stages(recipe.train.initialize_from, recipe.train.weights)})
