"""Which weights a run scores: a user's, the authors', another recipe's, or those that its training left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import Recipe
from ddp_repro.store.paths import resolve, run_folder
from ddp_repro.workbook.catalogue import paper_of
from ddp_repro.workbook.runs import provenance

if TYPE_CHECKING:
    from ddp_repro.training import TrainResult
    from ddp_repro.workbook.runs.records import Record


def recorded_weights(record: Record, output: str | Path) -> Path:
    """Return where the weights that were trained for a record lie, if they are still there."""
    return run_folder(output, record.preset, record.name) / Path(record.checkpoint.file).name


def scored_weights(record: Record, output: str | Path, checkpoint: str | Path | None = None) -> Path:
    """Return where the weights that a finished run scored lie, if they are still there.

    Args:
        checkpoint: what the run was given; None: it was trained here.
    """
    return given_weights(record.settings(), checkpoint, output) or recorded_weights(record, output)


def has_weights(record: Record, output: str | Path, checkpoint: str | Path | None = None) -> bool:
    """Whether the very weights that a finished run scored are here."""
    return scored_weights(record, output, checkpoint).is_file()


def kept_weights(name: str, preset: str, output: str | Path) -> Path:
    """Return where the half-precision copy of a run's weights is that comes with the repository, if there is one."""
    return resolve(output) / preset / "weights" / f"{name}.safetensors"


def half_weights(record: Record, output: str | Path) -> Path | None:
    """Return the half-precision copy of the very weights that a record scores, where it came with the repository."""
    kept = kept_weights(record.settings().weights_of or record.name, record.preset, output)
    return kept if kept.is_file() and provenance.half_of(kept) == record.checkpoint.sha256 else None


def weights_at_hand(name: str, preset: str, output: str | Path = "results") -> Path | None:
    """Return the weights that a training has left here, else those that came with the repository; None: neither."""
    places = run_folder(output, preset, name) / "model.safetensors", kept_weights(name, preset, output)
    return next((path for path in places if path.is_file()), None)


def given_weights(recipe: Recipe, checkpoint: str | Path | None, output: str | Path) -> Path | None:
    """Weights that are not trained under this recipe's own name; None: they are."""
    if checkpoint is None:
        lender = recipe.weights_of
        return run_folder(output, recipe.preset, lender) / "model.safetensors" if lender else None
    return paper_of(recipe).official_checkpoint(recipe.name) if checkpoint == "official" else resolve(checkpoint)


def is_lent(recipe: Recipe, checkpoint: str | Path | None) -> bool:
    """Whether the weights are those that another recipe's training leaves."""
    return checkpoint is None and recipe.weights_of is not None


def chosen_weights(result: TrainResult, recipe: Recipe) -> Path:
    """Return those of a training's weights that the recipe asks to score, the last or the best.

    Raises:
        ConfigError: the best ones, of a training that was never validated.
    """
    if recipe.evaluation.weights == "last":
        return result.checkpoint
    if result.best is None:
        raise ConfigError(f"{recipe.name} was never validated, so there are no best weights to evaluate")
    return result.best
