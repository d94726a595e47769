"""Models by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ddp_repro.settings.overrides import override
from ddp_repro.workbook.catalogue import paper_of, recipe


def create_model(name: str, checkpoint: str | Path | None = None, **overrides: Any) -> Any:
    """Return the model of a recipe, in evaluation mode.

    Args:
        name: e.g. "ade20k_swin_t"; see :func:`ddp_repro.recipe_names`, and :func:`ddp_repro.list_models` for weights.
        checkpoint: a file (ours or the authors'), "official" (downloaded from the authors' hub repository), or None
            for initial weights.
        overrides: fields of :class:`ddp_repro.papers.ddp.settings.ModelConfig`, e.g. ``num_classes=21``.

    Raises:
        ConfigError: no such model or field.
        CheckpointError: the checkpoint cannot be read or does not fit.
    """
    chosen = recipe(name)
    model = override(chosen.model, overrides).build()
    if checkpoint is not None:
        from ddp_repro.interop import load_checkpoint
        from ddp_repro.workbook.runs.bounds import error_bounds

        weights = paper_of(chosen).official_checkpoint(name) if checkpoint == "official" else checkpoint
        load_checkpoint(model, weights)
        model.error_bounds = error_bounds(chosen, Path(weights))
    return model.eval()
