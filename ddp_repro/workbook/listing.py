"""Recipes and notebooks that there are, by paper, table, preset, task and data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.presets import PRESETS, check_preset
from ddp_repro.settings.recipe import Recipe
from ddp_repro.workbook.catalogue import paper_named, recipes_of
from ddp_repro.workbook.notebooks.notebook import Notebook, read_notebook
from ddp_repro.workbook.tables.printed import full_name


class RecipeLine(NamedTuple):
    """What a list says of a recipe."""

    name: str
    paper: str
    preset: str
    table: str
    row: str
    task: str
    data: str


def list_recipes(filters: Mapping[str, str | None]) -> list[RecipeLine]:
    """Return the recipes whose ``paper``, ``table``, ``preset``, ``task`` and ``data`` are those asked for (None: any).

    Raises:
        ConfigError: no paper, table, preset, task or data of that name; names those that there are.
    """
    known = [_line(recipe) for preset in PRESETS for recipe in recipes_of(preset).values()]
    asked = {field: name for field, name in filters.items() if name is not None}
    if "table" in asked:
        asked["table"] = full_name(asked["table"])
    for field, name in asked.items():
        _check(field, name, known)
    return [line for line in known if all(getattr(line, field) == name for field, name in asked.items())]


def list_notebooks(folder: Path, recipes: list[RecipeLine]) -> list[Notebook]:
    """Return the notebooks of a folder that are for the presets and the data of some of these recipes, by name."""
    notebooks = map(read_notebook, sorted(folder.glob("*.ipynb")))
    return [notebook for notebook in notebooks if any(_is_for(notebook, line) for line in recipes)]


def as_json(recipes: list[RecipeLine], notebooks: list[Notebook] | None) -> dict[str, Any]:
    """Return both lists as JSON values; ``notebooks`` is null where the package is installed without them."""
    return {
        "recipes": [line._asdict() for line in recipes],
        "notebooks": notebooks and [
            {
                "name": notebook.name,
                "presets": list(notebook.presets or PRESETS),
                "data": None if notebook.datasets is None else list(notebook.datasets),
                "parameters": {name: parameter.default for name, parameter in notebook.parameters.items()},
            }
            for notebook in notebooks
        ],
    }  # fmt: skip


def _line(recipe: Recipe) -> RecipeLine:
    model, data = recipe.model, recipe.data
    return RecipeLine(recipe.name, model.paper, recipe.preset, recipe.table, recipe.row, model.task, data.dataset)


def _check(field: str, name: str, recipes: list[RecipeLine]) -> None:
    checks = {"preset": check_preset, "paper": paper_named, "task": task_named}
    if field in checks:
        checks[field](name)
        return
    known = sorted({getattr(line, field) for line in recipes} - {""})
    if name not in known:
        raise ConfigError(f"no recipe of {field} {name!r}; there are {', '.join(known)}")


def _is_for(notebook: Notebook, line: RecipeLine) -> bool:
    reads = notebook.datasets is None or line.data in notebook.datasets
    return reads and (not notebook.presets or line.preset in notebook.presets)
