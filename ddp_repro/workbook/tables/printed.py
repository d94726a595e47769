"""The papers' printed numbers (``papers/*/printed/*.json``), the left-hand side of every comparison.

They are data, transcribed by hand; nothing in this package computes or changes them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ddp_repro.settings.errors import ConfigError
from ddp_repro.workbook.catalogue import paper_named, paper_names, recipe, recipe_names

TABLES = (*(f"table{n}" for n in "1234"), *(f"table5{part}" for part in "abcde"), "table6", "table7")

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
        """The column called ``key``, or None."""
        return next((c for c in self.columns if c.key == key), None)

    @property
    def title(self) -> str:
        """``Table 5a`` and the like."""
        kind = "Table" if self.name.startswith("table") else "Figure"
        return f"{kind} {self.name.removeprefix(kind.lower())}"


@cache
def load_table(name: str) -> PaperTable:
    """A printed table by name: one of :data:`TABLES`, ``figure3`` (numbers given in the text), or another paper's.

    Where papers have tables of one name, it is the first paper's.

    Raises:
        ConfigError: no such table.
    """
    if path := _file(name):
        return _table(json.loads(path.read_text(encoding="utf-8")), name)
    path = _file(name[:-1])
    parts = json.loads(path.read_text(encoding="utf-8")) if path else {}
    part = parts.pop("parts", {}).get(name[-1:])
    if part is None:
        raise ConfigError(f"no paper has a table {name!r}; there are: {', '.join(_names())}")
    return _table(parts | part, name)


def paper_value(name: str, steps: int, key: str) -> float | None:
    """What the table of the recipe of this name prints of it in column ``key`` at this number of steps (None: nothing).

    A row without steps, such as the non-diffusion baseline's, stands for any number.
    """
    if name not in recipe_names("paper") or not _file(table := recipe(name, "paper").table):
        return None
    rows = () if table.startswith("figure") else load_table(table).rows
    values = [row.values.get(key) for row in rows if row.recipe == name and row.steps in (steps, None)]
    return values[0] if values else None


def _file(name: str) -> Path | None:
    """The file of a printed table, if a paper has one."""
    folders = (getattr(paper_named(paper), "printed", None) for paper in paper_names())
    paths = (folder / f"{name}.json" for folder in folders if folder)
    return next((path for path in paths if path.is_file()), None)


def _names() -> list[str]:
    folders = (getattr(paper_named(paper), "printed", None) for paper in paper_names())
    others = [path.stem for folder in folders if folder for path in sorted(folder.glob("*.json"))]
    return list(dict.fromkeys([*TABLES, *(name for name in others if name not in ("table5", "figure3"))]))


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
