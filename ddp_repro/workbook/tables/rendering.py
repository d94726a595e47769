"""A table as Markdown, CSV, LaTeX (booktabs) and HTML."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ddp_repro.store.atomic import write_atomically

NOT_RUN = "not run"
NOTHING = "–"  # the paper prints no number here
PAPER = "paper"


@dataclass(frozen=True)
class Table:
    """A rendered-ready table.

    Attributes:
        frame: text cells; two-level columns (quantity, source), the source being ``paper``, ``counted live...`` or
            ``measured (...)``; the columns that identify a row have a heading as source and no quantity.
        provenance: one row per run that a measured cell comes from.
        prose: whether cells hold sentences: on a page they wrap, and rows that were not run are folded away.
    """

    name: str
    title: str
    frame: pd.DataFrame
    provenance: pd.DataFrame
    notes: tuple[str, ...]
    prose: bool = False

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return to_html(self)


def to_markdown(table: Table) -> str:
    """Return the table, its notes and its provenance as GitHub Markdown."""
    parts = [f"### {table.title}", _flat(table.frame).to_markdown(index=False, disable_numparse=True)]
    if table.notes:
        parts.append("\n".join(f"- {note}" for note in table.notes))
    if len(table.provenance):
        parts.append("**Provenance of the measured cells**")
        parts.append(table.provenance.to_markdown(index=False, disable_numparse=True))
    return "\n\n".join(parts) + "\n"


def to_csv(table: Table) -> str:
    """Return the cells alone, one header line (quantity and source joined)."""
    return _flat(table.frame).to_csv(index=False)


def to_latex(table: Table) -> str:
    """Return a ``table`` environment for booktabs and multirow, with the provenance as a comment above it."""
    comment = "".join(f"% {line}\n" for line in table.provenance.to_csv(index=False).splitlines())
    escaped = table.frame.map(_latex)
    escaped.columns = pd.MultiIndex.from_arrays([[_latex(c[level]) for c in table.frame.columns] for level in (0, 1)])
    text = escaped.to_latex(
        index=False, escape=False, caption=_latex(table.title), label=f"tab:{table.name}", multicolumn_format="c",
        column_format="l" * len(table.frame.columns), position="t",
    )  # fmt: skip
    return comment + text


def to_html(table: Table) -> str:
    """Return a self-contained ``<section>`` (no style of its own) with table, notes and provenance."""
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
    provenance = ""
    if len(table.provenance):
        inner = table.provenance.to_html(index=False, border=0, classes="provenance", justify="left")
        provenance = f"<details><summary>Provenance of the measured cells</summary>{inner}</details>"
    kind = "table prose" if table.prose else "table"
    return (
        f'<section class="{kind}" id="table-{html.escape(table.name)}"><h3>{html.escape(table.title)}</h3>\n'
        f"{_html_folded(table.frame) if table.prose else _html_scrolling(table.frame)}\n"
        f'<ul class="notes">{notes}</ul>\n{provenance}</section>\n'
    )


FORMATS: dict[str, Callable[[Table], str]] = {"md": to_markdown, "csv": to_csv, "tex": to_latex, "html": to_html}


def save_table(table: Table, folder: Path) -> list[Path]:
    """Write ``<name>.md``, ``.csv``, ``.tex`` and ``.html`` and the provenance's ``.csv``; returns the paths.

    Raises:
        OSError: the folder cannot be written.
    """
    paths = []
    for suffix, render in FORMATS.items():
        paths.append(folder / f"{table.name}.{suffix}")
        write_atomically(paths[-1], render(table).encode())
    paths.append(folder / f"{table.name}_provenance.csv")
    write_atomically(paths[-1], table.provenance.to_csv(index=False).encode())
    return paths


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    """One-level headings: ``mIoU (%) ↑ paper``."""
    flat = frame.copy()
    flat.columns = [f"{quantity} {source}".strip() for quantity, source in frame.columns]
    return flat


def _html_scrolling(frame: pd.DataFrame, prose: bool = False) -> str:
    return f'<div class="scroll">{_html_cells(frame, prose)}</div>'


def _html_folded(frame: pd.DataFrame) -> str:
    """Return the rows that were run; the others fold into one line."""
    kinds = [_kind(source) for source in frame.columns.get_level_values(1)]
    measured = frame.loc[:, [kind == "measured" for kind in kinds]]
    idle = measured.eq(NOT_RUN).all(axis=1) if len(measured.columns) else pd.Series(False, index=frame.index)
    parts = [] if idle.all() else [_html_scrolling(frame.loc[~idle, :], prose=True)]
    if idle.any():
        count = f"{idle.sum()} {'row' if idle.sum() == 1 else 'rows'}"
        parts.append(
            f"<details><summary>{count} not run</summary>{_html_scrolling(frame.loc[idle, :], prose=True)}</details>"
        )
    return "\n".join(parts)


def _html_cells(frame: pd.DataFrame, prose: bool) -> str:
    """Return the cells with a class per source, so that a style sheet can set printed and measured numbers apart.

    In prose, the heading is an attribute of each cell: it stands before it where a narrow page shows rows as blocks.
    """
    kinds = [_kind(source) for source in frame.columns.get_level_values(1)] if len(frame.columns) else []
    headings = [f"{quantity} {source}".strip() if prose else "" for quantity, source in frame.columns]
    body = "".join(_html_row(row, kinds, headings) for row in frame.itertuples(index=False, name=None))
    return f"<table><thead>{_html_head(frame, kinds)}</thead>\n<tbody>{body}</tbody></table>"


def _html_head(frame: pd.DataFrame, kinds: list[str]) -> str:
    top, bottom, position = "", "", 0
    columns = list(frame.columns)
    while position < len(columns):
        quantity = columns[position][0]
        width = next((n for n, c in enumerate(columns[position:]) if c[0] != quantity), len(columns) - position)
        top += f'<th colspan="{width}">{html.escape(quantity)}</th>'
        position += width
    for (_, source), kind in zip(columns, kinds, strict=True):
        bottom += f'<th class="{kind}">{html.escape(source)}</th>'
    return f"<tr>{top}</tr><tr>{bottom}</tr>"


def _html_row(row: tuple[str, ...], kinds: list[str], headings: list[str]) -> str:
    cells = list(zip(row, kinds, headings, strict=True))
    own = "printed" in kinds and all(cell == NOTHING for cell, kind, _ in cells if kind == "printed")
    return f"<tr{' class=own' if own else ''}>" + "".join(_html_cell(*cell) for cell in cells) + "</tr>\n"


def _html_cell(cell: str, kind: str, heading: str) -> str:
    classes = f"{kind} absent" if cell == NOT_RUN else kind
    attribute = f' data-heading="{html.escape(heading)}"' if heading else ""
    return f'<td class="{classes}"{attribute}>{html.escape(str(cell))}</td>'


def _kind(source: str) -> str:
    kinds = {"measured": "measured", "counted": "live", "agreement": "remark", PAPER: "printed"}
    return kinds.get(source.partition(" ")[0], "label")


_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "±": r"$\pm$",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "δ": r"$\delta$", "×": r"$\times$",
}  # fmt: skip


def _latex(text: object) -> str:
    return "".join(_LATEX.get(character, character) for character in str(text))
