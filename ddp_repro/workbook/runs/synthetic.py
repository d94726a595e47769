"""The synthetic scenes that a recipe finds nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ddp_repro.data.io import DataError
from ddp_repro.settings.recipe import Recipe
from ddp_repro.store.locks import file_lock
from ddp_repro.store.paths import resolve
from ddp_repro.workbook.catalogue import paper_of, recipes_of


def prepare_data(recipe: Recipe) -> None:
    """Write the synthetic scenes of a recipe if they are not there; other data is the user's to prepare.

    They are those of the preset ``mini``, and those that the recipe's paper describes.

    Raises:
        DataError: there are none in a folder that no recipe has by default: the name may be a mistake.
    """
    described = paper_of(recipe).synthetic
    for data in (recipe.data, *recipe.data.added):
        if data.root in described:
            _write_described(data.root, described[data.root])
        elif recipe.preset == "mini":
            _prepare_mini(data.dataset, data.root)


def _write_described(folder: str, arguments: Mapping[str, Any]) -> None:
    from data_prep.mini import write_mini

    root = resolve(folder)
    with file_lock(root.with_name(f".{root.name}.lock")):
        if not root.is_dir():
            write_mini(root=root, **arguments)


def _prepare_mini(dataset: str, folder: str) -> None:
    root = resolve(folder)
    if root.is_dir():
        return
    from data_prep.mini import MINI_DATASETS, write_mini

    settings = [data for each in recipes_of("mini").values() for data in (each.data, *each.data.added)]
    usual = {data.root for data in settings if data.dataset == dataset}
    if root not in map(resolve, usual):
        made = f"`ddp-repro data mini --dataset {dataset} --output {folder}` writes a synthetic one there"
        raise DataError(f"{folder}: no such folder" + (f"; {made}" if dataset in MINI_DATASETS else ""))
    with file_lock(root.with_name(f".{root.name}.lock")):
        if not root.is_dir():
            write_mini(dataset, root)
