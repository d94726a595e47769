"""A checkpoint as safetensors, with the recipe that it belongs to inside."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from ddp_repro.interop.checkpoints import LoadReport, load_checkpoint, read_state_dict, save_weights, window_size_of
from ddp_repro.settings.overrides import to_dict
from ddp_repro.settings.recipe import Recipe


def convert(source: Path | str, destination: Path | str, recipe: Recipe) -> LoadReport:
    """Read an official checkpoint (or ours) and write it as ours: safetensors, the recipe in its metadata.

    A Swin encoder gets the window size of the weights, and so does the recipe that is written.

    Raises:
        CheckpointError: the file cannot be read or does not fit the recipe's model.
        OSError: the destination cannot be written.
    """
    state_dict, _ = read_state_dict(source)
    window_size = window_size_of(state_dict)
    if window_size is not None:
        recipe = dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, window_size=window_size))
    model = recipe.model.build()
    report = load_checkpoint(model, source)
    save_weights(model, destination, {"recipe": json.dumps(to_dict(recipe)), "converted_from": Path(source).name})
    return report
