"""Models by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.model import DDP, Baseline
from ddp_repro.papers.ddp.recipes.segmentation import PRESETS, recipe, recipe_names
from ddp_repro.settings.recipe import override


def list_models(preset: str | None = None) -> list[str]:
    """Names that :func:`create_model` knows, of one preset or of all."""
    return [name for each in ([preset] if preset else PRESETS) for name in recipe_names(each)]


def create_model(name: str, checkpoint: str | Path | None = None, **overrides: Any) -> DDP | Baseline:
    """The model of a recipe, in evaluation mode.

    Args:
        name: e.g. "ade20k_swin_t"; see :func:`list_models`.
        checkpoint: a file (ours or the authors'), "official" (downloaded from the authors' hub repository), or None
            for initial weights.
        overrides: fields of :class:`ddp_repro.settings.recipe.ModelConfig`, e.g. ``num_classes=21``.

    Raises:
        ConfigError: no such model or field.
        CheckpointError: the checkpoint cannot be read or does not fit.
    """
    chosen = recipe(name)
    model = build_model(override(chosen.model, overrides))
    if checkpoint is not None:
        from ddp_repro.interop import load_checkpoint, official_checkpoint

        load_checkpoint(model, official_checkpoint(name) if checkpoint == "official" else checkpoint)
    return model.eval()
