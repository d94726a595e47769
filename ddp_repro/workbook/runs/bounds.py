"""What weights' uncertainty means as an error, where that was measured beside their record."""

from __future__ import annotations

from pathlib import Path

from ddp_repro.evaluation.uncertainty.bounds import ErrorBound
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.recipe import Recipe


def error_bounds(recipe: Recipe, weights: Path) -> dict[int, ErrorBound]:
    """Return the curves of a file of weights, by number of steps; none where they were not measured on these weights.

    Args:
        weights: ``runs/<run>/model.safetensors`` of a preset, or ``weights/<run>.safetensors``, which holds the same in
            half precision.

    Raises:
        CheckpointError, RecordError: a damaged file.
    """
    kind = task_named(recipe.model.task).bounded_by
    kept = weights.parent.name == "weights"
    folder = weights.parents[1] / "runs" / weights.stem if kept else weights.parent
    if kind is None or not (folder / f"{kind}.json").is_file():
        return {}
    from ddp_repro.workbook.runs import provenance  # heavy: a prediction without a curve does not wait for them
    from ddp_repro.workbook.runs.analyses import load_beside

    analysis = load_beside(folder, kind)
    if analysis is None or not analysis.result.get("calibration"):
        return {}
    known = analysis.checkpoint
    is_of_these = known == provenance.half_of(weights) or provenance.are_weights(weights, known)
    return {analysis.settings["steps"]: ErrorBound.of(analysis.result["calibration"])} if is_of_these else {}
