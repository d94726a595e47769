"""The paper's printed numbers (``papers/ddp/printed/*.json``), the left-hand side of every comparison.

They are data, transcribed by hand; nothing in this package computes or changes them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal

from ddp_repro.settings.errors import ConfigError

PRINTED = "ddp_repro.papers.ddp"
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
        """Return the column called ``key``, or None."""
        return next((c for c in self.columns if c.key == key), None)

    @property
    def title(self) -> str:
        """``Table 5a`` and the like."""
        kind = "Table" if self.name.startswith("table") else "Figure"
        return f"{kind} {self.name.removeprefix(kind.lower())}"


@cache
def load_table(name: str) -> PaperTable:
    """Return a table of the paper by name: one of :data:`TABLES`, or ``figure3`` (numbers given in the text).

    Raises:
        ConfigError: no such table.
    """
    if name not in (*TABLES, "figure3"):
        raise ConfigError(f"the paper has no table {name!r}; it has: {', '.join(TABLES)}")
    file, part = (name[:-1], name[-1]) if name[-1].isalpha() else (name, None)
    content = json.loads(resources.files(PRINTED).joinpath("printed", f"{file}.json").read_text(encoding="utf-8"))
    if part is not None:
        content |= content.pop("parts")[part]
    return _table(content, name)


def paper_value(recipe: str, steps: int, key: str) -> float | None:
    """Return what Tables 1 to 4, 6 and 7 print in column ``key`` for this recipe at these steps (None: nothing).

    The non-diffusion baseline's row has no steps; any number finds it.
    """
    for name in ("table1", "table2", "table3", "table4", "table6", "table7"):
        for row in load_table(name).rows:
            if row.recipe == recipe and row.steps in (steps, None):
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
