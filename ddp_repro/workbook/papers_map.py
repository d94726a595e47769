"""The map of the papers: every table, figure and claim with its command, its needs, its time and where its result lies.

Everything is read from what there is: printed tables, the notebooks' declarations, claims, records and results.
"""

from __future__ import annotations

import html
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pandas as pd

from ddp_repro.protocols.paper import Paper
from ddp_repro.settings.durations import describe_duration
from ddp_repro.settings.presets import PRESETS
from ddp_repro.settings.recipe import Recipe
from ddp_repro.store.paths import resolve
from ddp_repro.workbook.catalogue import paper_named, paper_names
from ddp_repro.workbook.claims.judge import judge
from ddp_repro.workbook.notebooks.notebook import Notebook, read_notebook
from ddp_repro.workbook.runs.records import write_atomically
from ddp_repro.workbook.tables.rendering import NOT_RUN, NOTHING, Table, to_html, to_markdown
from ddp_repro.workbook.tables.table import table_frame

NOT_BUILT = "not built"
NUMBERED = re.compile(r"[a-z]+_(?P<kind>table|figure)(?P<number>\d+[a-z]?)$")
NOTE = (
    "A time is what the whole notebook took where the result was made, which may hold several tables. "
    "“Needs” is for the paper preset; mini needs neither data nor weights, the others the data that they are named "
    "after. –: not for this preset."
)


@dataclass(frozen=True)
class Place:
    """How an item stands under a preset.

    Attributes:
        status: ``done``, ``not run``, a claim's verdict, or ``–`` where the preset has no such item.
        file: its result, relative to the root of the results.
        seconds: what making it took.
    """

    status: str
    file: str | None = None
    seconds: float | None = None

    def describe(self) -> str:
        """Return the place in words."""
        took = f", {describe_duration(self.seconds)}" if self.seconds else ""
        return f"{self.status}{took}" + (f": {self.file}" if self.file else "")


@dataclass(frozen=True)
class Item:
    """A table, figure or claim of a paper."""

    name: str
    content: str
    command: str
    needs: str
    places: dict[str, Place]


def items(paper: Paper, notebooks: Path, output: str | Path = "results") -> list[Item]:
    """Return everything of a paper: printed tables in the paper's order, then figures, then claims.

    Args:
        notebooks: folder of the notebooks.

    Raises:
        ConfigError: a notebook that cannot be read.
        RecordError: a damaged record.
    """
    declared = [
        read_notebook(path) for path in sorted(notebooks.glob("*.ipynb")) if paper_of_notebook(path) == paper.name
    ]
    makers = {Path(result).stem: notebook for notebook in declared for result in notebook.results}
    captions = dict(_printed(paper))
    drawn = {name: _title(notebook.path) for name, notebook in makers.items() if name not in captions}
    shown = [name for name in captions if name in makers or not any(m.startswith(name) for m in makers)]
    results = [*shown, *sorted(drawn, key=lambda name: not NUMBERED.match(name))]
    rows = [_item(paper, name, (captions | drawn)[name], makers.get(name), output) for name in results]
    return [*rows, *_claims(paper, output)]


def paper_of_notebook(path: Path) -> str:
    """Return the paper whose name a notebook's name begins with; the first one's notebooks bear none."""
    names = paper_names()
    return next((name for name in names if path.stem.startswith(f"{name}_")), names[0])


def map_table(paper: Paper, rows: Sequence[Item]) -> Table:
    """Return a paper's map as a table, with a column for each preset."""
    columns = {
        ("", "Item"): [row.name for row in rows],
        ("", "What"): [row.content for row in rows],
        ("", "Command"): [row.command for row in rows],
        ("", "Needs"): [row.needs for row in rows],
    }
    columns |= {("Preset", preset): [row.places[preset].describe() for row in rows] for preset in PRESETS}
    title = f"{paper.title} ({paper.citation})"
    return Table(f"{paper.name}_map", title, table_frame(columns), pd.DataFrame(), (NOTE,), prose=True)


def write_map(notebooks: Path, output: str | Path = "results") -> list[Path]:
    """Write the map of all papers as ``papers.md`` and ``papers.html`` into the root of the results.

    Raises:
        ConfigError, RecordError: as :func:`items`.
        OSError: the results cannot be written.
    """
    papers = [paper_named(name) for name in paper_names()]
    tables = [map_table(paper, items(paper, notebooks, output)) for paper in papers]
    folder = resolve(output)
    paths = [folder / "papers.md", folder / "papers.html"]
    write_atomically(paths[0], "\n".join(map(to_markdown, tables)).encode())
    write_atomically(paths[1], _page("".join(map(to_html, tables))).encode())
    return paths


def short_form(notebooks: Path, presets: Sequence[str], output: str | Path = "results") -> list[str]:
    """Return the map's lines for README, in Markdown: tables and figures, and which of ``presets`` have results."""
    lines = ["| | command | runs under | results |", "| --- | --- | --- | --- |"]
    for paper in map(paper_named, paper_names()):
        rows = [row for row in items(paper, notebooks, output) if not row.name.startswith("claim ")]
        alike = itertools.groupby(rows, key=lambda row: row.command)
        lines += [_short_line(paper, list(group), presets) for _, group in alike]
    return lines


def _short_line(paper: Paper, rows: Sequence[Item], presets: Sequence[str]) -> str:
    """Return the line of items that one command makes; the links are to the first."""
    row, *more = rows
    under = [preset for preset, place in row.places.items() if place.status != NOTHING] if row.command else []
    done = [f"[{preset}](results/{row.places[preset].file})" for preset in presets if row.places[preset].file]
    name = ", ".join([row.name, *(other.name.split()[-1] for other in more)])
    name = name if paper.name == paper_names()[0] else f"{paper.name}: {name}"
    command = f"`{row.command}`" if row.command else NOT_BUILT
    return f"| {name} | {command} | {', '.join(under) or NOTHING} | {', '.join(done) or NOTHING} |"


def _printed(paper: Paper) -> Iterator[tuple[str, str]]:
    """Yield name and caption of every printed table, by number."""

    def order(path: Path) -> tuple[str, int]:
        word = re.sub(r"\d.*", "", path.stem)
        return word, int(re.sub(r"\D", "", path.stem) or 0)

    for path in sorted(paper.printed.glob("*.json"), key=order):
        content = json.loads(path.read_text(encoding="utf-8"))
        for part, inner in content.get("parts", {"": content}).items():
            yield f"{paper.name}_{path.stem}{part}", inner.get("caption", content["caption"])


def _item(paper: Paper, name: str, content: str, notebook: Notebook | None, output: str | Path) -> Item:
    command = "" if notebook is None else f"ddp-repro reproduce {notebook.path.stem} --preset PRESET"
    if name in paper.tables and not NUMBERED.match(name):  # which records alone make, whatever notebook shows it too
        command, notebook = f"ddp-repro table {name} --preset PRESET", None
    places = {preset: _place(name, notebook, preset, output, bool(command)) for preset in PRESETS}
    return Item(_printed_name(name), content, command, _needs(paper, name, notebook), places)


def _place(name: str, notebook: Notebook | None, preset: str, output: str | Path, is_built: bool) -> Place:
    folder = resolve(output) / preset
    files = [f"{preset}/{kind}/{name}.{end}" for kind, end in (("tables", "md"), ("figures", "png"))]
    file = next((file for file in files if (folder.parent / file).is_file()), None)
    if file:
        return Place("done", file, _seconds(folder / "notebooks" / f"{notebook.path.stem}.json") if notebook else None)
    if not is_built:
        return Place(NOT_BUILT)
    return Place(NOTHING if notebook and notebook.presets and preset not in notebook.presets else NOT_RUN)


def _seconds(manifest: Path) -> float | None:
    return json.loads(manifest.read_text(encoding="utf-8"))["wall_seconds"] if manifest.is_file() else None


def _needs(paper: Paper, name: str, notebook: Notebook | None) -> str:
    """Return data and weights of the paper's own runs."""
    recipes = list(paper.recipes("paper").values())
    own = [recipe for recipe in recipes if recipe.table == name]
    known = {recipe.data.dataset for recipe in recipes}
    data = sorted({recipe.data.dataset for recipe in own} or known & set((notebook and notebook.datasets) or ()))
    return "; ".join(part for part in (", ".join(data), _weights(paper, own)) if part) or NOTHING


def _weights(paper: Paper, recipes: list[Recipe]) -> str:
    if not recipes:
        return ""
    released = sum(recipe.name in paper.released for recipe in recipes)
    if released == len(recipes):
        return "the authors' weights"
    training = f"training on GPUs ({len(recipes) - released} of {len(recipes)} models)"
    return f"the authors' weights, {training}" if released else "training on GPUs"


def _claims(paper: Paper, output: str | Path) -> list[Item]:
    judged, stated = {}, {}
    for preset in PRESETS:
        questions = paper.claims(preset)
        if questions:
            judged[preset] = {j.claim.key: j for j in judge(questions, paper.evidence(preset, output))}
            stated |= {question[0].key: question[0] for question in questions}
    rows = []
    for key, claim in stated.items():
        places = {p: Place(judged[p][key].verdict if p in judged and key in judged[p] else NOTHING) for p in PRESETS}
        command = f"decide {key} --budget 2h" if claim.arms else f"table {paper.name}_claims"
        rows.append(
            Item(
                f"claim {key}",
                f"{claim.statement} ({claim.where})",
                f"ddp-repro {command} --preset PRESET",
                NOTHING,
                places,
            )
        )
    return rows


def _printed_name(name: str) -> str:
    match = NUMBERED.match(name)
    return f"{match['kind'].capitalize()} {match['number']}" if match else name


def _title(notebook: Path) -> str:
    """Return the heading of a notebook."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    lines = (line for cell in cells if cell["cell_type"] == "markdown" for line in "".join(cell["source"]).splitlines())
    return next((line.lstrip("# ").strip() for line in lines if line.startswith("#")), notebook.stem)


def _page(sections: str) -> str:
    """Return the page, in the style of the index pages."""
    template = resources.files("ddp_repro.workbook").joinpath("index.html").read_text(encoding="utf-8")
    style = template.partition("<style>")[2].partition("</style>")[0]
    title = html.escape("Map of the papers")
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
        f"<style>{style}</style>\n</head>\n<body>\n<header><div><h1>{title}</h1></div></header>\n"
        f"<main>\n{sections}\n</main>\n</body>\n</html>\n"
    )
