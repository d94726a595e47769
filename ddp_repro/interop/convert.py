"""A checkpoint as safetensors, with the recipe that it belongs to inside."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from ddp_repro.interop.checkpoints import LoadReport, load_checkpoint, read_state_dict, save_weights, window_size_of
from ddp_repro.interop.partial import weights_sha256
from ddp_repro.interop.weight_files import HALF_OF
from ddp_repro.settings.overrides import to_dict
from ddp_repro.settings.recipe import Recipe


def convert(
    source: Path | str, destination: Path | str, recipe: Recipe, *, half: bool = False
) -> LoadReport:  # fmt: skip
    """Read an official checkpoint (or ours) and write it as ours: safetensors, the recipe in its metadata.

    A Swin encoder gets the window size of the weights, and so does the recipe that is written.

    Args:
        half: writes parameters in half precision, half the size, with the hash of the weights that they are of.

    Raises:
        CheckpointError: the file cannot be read or does not fit the recipe's model, or a weight is too large for half
            precision.
        OSError: the destination cannot be written.
    """
    state_dict, known = read_state_dict(source)
    window_size = window_size_of(state_dict)
    if window_size is not None:
        recipe = dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, window_size=window_size))
    model = recipe.model.build()
    report = load_checkpoint(model, source)
    metadata = {"recipe": json.dumps(to_dict(recipe)), "converted_from": Path(source).name}
    metadata |= {name: known[name] for name in ("classes",) if name in known}
    metadata |= {HALF_OF: weights_sha256(Path(source))} if half else {}
    save_weights(model, destination, metadata, half=half)
    return report
