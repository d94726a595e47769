"""The printed numbers of GenPercept's Tables 1 to 14 (``printed/table*.json``), as package data.

They are transcribed, never computed; columns have the form of the other printed tables.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ddp_repro.settings.errors import ConfigError
from ddp_repro.workbook.tables.printed import PaperColumn

TABLES = tuple(f"table{n}" for n in range(1, 15))


@dataclass(frozen=True)
class PrintedRow:
    """One printed row.

    Attributes:
        method: its name.
        values: column key to number; None where the paper prints a dash.
        settings: what else identifies the row (``headers`` of the table), or is said of it.
    """

    method: str
    values: dict[str, float | None]
    settings: dict[str, Any]


@dataclass(frozen=True)
class PrintedTable:
    """A table as printed.

    Attributes:
        headers: row field to printed heading.
        savings: Table 11 alone: percentages that the text states, of one row against another.
    """

    name: str
    caption: str
    dataset: str
    headers: dict[str, str]
    columns: tuple[PaperColumn, ...]
    rows: tuple[PrintedRow, ...]
    notes: tuple[str, ...] = ()
    savings: tuple[dict[str, float], ...] = ()

    def row(self, method: str, **settings: Any) -> PrintedRow:
        """Return the only row of a method under these settings.

        Raises:
            ConfigError: none, or several.
        """
        rows = [row for row in self.rows if row.method == method and settings.items() <= row.settings.items()]
        if len(rows) != 1:
            raise ConfigError(f"{self.name} has {len(rows)} rows of {method!r} with {settings}")
        return rows[0]


@cache
def load_table(name: str) -> PrintedTable:
    """Return a table by name, one of :data:`TABLES`.

    Raises:
        ConfigError: no such table.
    """
    if name not in TABLES:
        raise ConfigError(f"GenPercept has no table {name!r}; it has table1 to table14")
    text = (Path(__file__).parents[1] / "printed" / f"{name}.json").read_text(encoding="utf-8")
    content = json.loads(text)
    content["columns"] = tuple(PaperColumn(**column) for column in content["columns"])
    content["rows"] = tuple(
        PrintedRow(row.pop("method"), row.pop("values"), row) for row in content["rows"]
    )  # what is left are the settings
    for field in ("notes", "savings"):
        content[field] = tuple(content.get(field, ()))
    return PrintedTable(**content)
