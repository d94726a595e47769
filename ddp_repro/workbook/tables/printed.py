"""The printed numbers of a paper (its ``printed/*.json``), the left-hand side of every comparison.

They are data, transcribed by hand; nothing in this package computes or changes them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import Recipe
from ddp_repro.workbook.catalogue import full_name, paper_named

# Images of the split the paper evaluates on: only a run over all of them may claim the paper's number.
EVALUATION_IMAGES = {"ade20k": 2000, "cityscapes": 500, "kitti": 652, "nyu": 654, "sunrgbd": 5050, "nuscenes": 6019}


@dataclass(frozen=True)
class PaperColumn:
    """One quantity of a table, e.g. mIoU: higher is better, in percent, printed to one decimal."""

    key: str
    label: str
    direction: Literal["higher", "lower"] | None
    unit: str | None
    decimals: int


@dataclass(frozen=True)
class PaperRow:
    """One printed row.  ``recipe`` and ``overrides`` say which run of ours it stands beside (None: a peer's row)."""

    method: str
    values: dict[str, float | None]
    backbone: str | None = None
    modality: str | None = None
    citation: tuple[int, ...] = ()
    steps: int | None = None
    recipe: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PaperTable:
    """A table as printed; ``headers`` names the columns that identify a row (row field -> printed heading)."""

    name: str
    caption: str
    dataset: str
    headers: dict[str, str]
    columns: tuple[PaperColumn, ...]
    rows: tuple[PaperRow, ...]
    image_size: tuple[int, int] | None = None  # (height, width) of the FLOPs column
    notes: tuple[str, ...] = ()

    def column(self, key: str) -> PaperColumn | None:
        """Return the column called ``key``, or None."""
        return next((c for c in self.columns if c.key == key), None)

    @property
    def title(self) -> str:
        """Return ``Table 5a`` and the like."""
        place = self.name.partition("_")[2]
        kind = "Table" if place.startswith("table") else "Figure"
        return f"{kind} {place.removeprefix(kind.lower())}"


@cache
def printed_names(paper: str) -> tuple[str, ...]:
    """Return the full names of what a paper prints: tables, their parts, and figures with numbers in the text.

    Raises:
        ConfigError: no such paper.
    """
    names = []
    for path in sorted(paper_named(paper).printed.glob("*.json")):
        parts = json.loads(path.read_text(encoding="utf-8")).get("parts", ("",))
        names += [f"{paper}_{path.stem}{part}" for part in parts]
    return tuple(names)


@cache
def load_table(name: str) -> PaperTable:
    """Return a printed table by its full name, e.g. ``ddp_table1``, or what a figure's text says (``ddp_figure3``).

    Raises:
        ConfigError: no such table.
    """
    paper, _, place = full_name(name).partition("_")
    if f"{paper}_{place}" not in printed_names(paper):
        raise ConfigError(f"the paper {paper} has no table {place!r}; it has: {', '.join(printed_names(paper))}")
    file, part = (place[:-1], place[-1]) if place[-1].isalpha() else (place, None)
    content = json.loads((paper_named(paper).printed / f"{file}.json").read_text(encoding="utf-8"))
    if part is not None:
        content |= content.pop("parts")[part]
    return _table(content, f"{paper}_{place}")


def paper_value(recipe: Recipe, steps: int, key: str) -> float | None:
    """Return what the paper's tables print in column ``key`` for a recipe at a number of steps (None: nothing).

    Tables in parts, which vary one setting, are left out.  The non-diffusion baseline's row has no steps; any number
    finds it.
    """
    for name in printed_names(recipe.model.paper):
        if name[-1].isalpha() or "figure" in name:
            continue
        for row in load_table(name).rows:
            if row.recipe == recipe.name and row.steps in (steps, None):
                return row.values.get(key)
    return None


def _table(content: dict[str, Any], name: str) -> PaperTable:
    columns = tuple(PaperColumn(**column) for column in content["columns"])
    rows = tuple(PaperRow(**(row | {"citation": tuple(row.get("citation", ()))})) for row in content["rows"])
    size = content.get("image_size")
    return PaperTable(
        name=name,
        caption=content["caption"],
        dataset=content["dataset"],
        headers=content["headers"],
        columns=columns,
        rows=rows,
        image_size=tuple(size) if size else None,
        notes=tuple(content["notes"]),
    )
