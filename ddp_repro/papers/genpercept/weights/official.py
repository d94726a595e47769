"""The authors' weights as one file that ``load_checkpoint`` reads: U-Net, VAE, head and text embedding together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file

from ddp_repro.papers.genpercept.weights.hub_files import cache_folder
from ddp_repro.papers.genpercept.weights.loading import RELEASED, load_released
from ddp_repro.settings.errors import CheckpointError, ConfigError


def official_checkpoint(name: str, released: Mapping[str, str]) -> Path:
    """Return the authors' weights of a recipe as one file, put together once from the hub's files.

    The file lies in the cache beside the text embedding, and has the size of its parts (3.8 GB at full size).

    Args:
        name: of the recipe.
        released: the released model of each recipe.

    Raises:
        CheckpointError: none was released for this recipe, or the files cannot be had.
    """
    if name not in released:
        raise CheckpointError(f"GenPercept's authors released no weights for {name!r}; released: {', '.join(released)}")
    path = _file(released[name])
    if path.is_file():
        return path
    try:
        model = load_released(released[name])
    except ConfigError as error:
        raise CheckpointError(f"{name}: {error}") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, partial)
    partial.replace(path)
    return path


def official_place(model: str) -> tuple[str, bool]:
    """Return where in the hub a released model's U-Net is, and whether the model has been downloaded."""
    released = RELEASED[model]
    return f"{released.repository}/{released.subfolder}", _file(model).is_file()


def _file(model: str) -> Path:
    return cache_folder() / f"{model}.safetensors"
