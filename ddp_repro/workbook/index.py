"""``results/<preset>/index.html``: every table and figure of a preset with its provenance, on one page without scripts.

The page embeds what :func:`save_table` and :func:`save_figure` wrote and links to the rest by relative paths, so that
the folder can be moved, zipped or opened from disk.
"""

from __future__ import annotations

import html
import string
from importlib import resources
from pathlib import Path

from ddp_repro.evaluation.measure import mean_text, number_text
from ddp_repro.settings.presets import INFO, check_preset
from ddp_repro.store.atomic import write_atomically
from ddp_repro.store.paths import resolve
from ddp_repro.workbook.runs.records import Record, find_records
from ddp_repro.workbook.tables.measures import measures
from ddp_repro.workbook.tables.table import provenance_frame


def write_index(preset: str, output: str | Path = "results") -> Path:
    """Write the page for all that ``<output>/<preset>`` holds now, and return its path.

    Raises:
        ConfigError: no such preset.
        RecordError: a record is damaged.
        OSError: the page cannot be written.
    """
    check_preset(preset)
    folder = resolve(output) / preset
    records = find_records(preset, output)
    template = resources.files("ddp_repro.workbook").joinpath("index.html").read_text(encoding="utf-8")
    sections = {
        "figures": _fragments(folder / "figures", "figure"),
        "tables": _fragments(folder / "tables", "table"),
        "statistics": _explanation(),
        "map": '<a href="../papers.html">Map of the papers</a>' if (folder.parent / "papers.html").is_file() else "",
        "runs": _runs(records),
        "notebooks": _notebooks(folder / "notebooks"),
    }
    page = string.Template(template).substitute(
        sections, preset=html.escape(preset), claim=html.escape(INFO[preset].claim), summary=_summary(records),
        environment=_environment(records),
    )  # fmt: skip
    path = folder / "index.html"
    write_atomically(path, page.encode())
    return path


def _fragments(folder: Path, kind: str) -> str:
    parts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.html"))]
    return "\n".join(parts) or f'<p class="nothing">No {kind} yet: run the notebooks of this preset.</p>'


def _explanation() -> str:
    """Return the page on how claims are judged, ``explain_statistics.md``, as HTML."""
    from nbconvert.filters import markdown2html

    text = resources.files("ddp_repro.workbook").joinpath("explain_statistics.md").read_text(encoding="utf-8")
    return markdown2html(text.partition("\n")[2])  # without its title, which the page has


def _summary(records: list[Record]) -> str:
    """One card a run: its best-known number, spread and verdict."""
    cards = []
    for record in records:
        steps, measure = 3 if 3 in record.steps else record.steps[-1], measures()[record.metrics[0]]
        value, _, deviation = mean_text(record.values(steps), measure.decimals).partition(" ± ")
        value += f"<small> ± {deviation}</small>" if deviation else ""
        at = measure.heading + (f" at {steps} step{'s' if steps > 1 else ''}" if record.seeds else "")
        verdict = record.verdict.replace(" ", "-")
        name = html.escape(record.run).replace("_", "_<wbr>")
        cards.append(
            f'<li><span class="name">{name}</span><span class="value">{value}</span>'
            f'<span class="what">{html.escape(at)}, {record.dataset.images} images</span>'
            f'<span class="verdict {verdict}">{record.verdict}</span></li>'
        )
    return f"<ul class='cards'>{''.join(cards)}</ul>" if cards else '<p class="nothing">No finished run yet.</p>'


def _runs(records: list[Record]) -> str:
    if not records:
        return '<p class="nothing">No finished run yet.</p>'
    frame = provenance_frame(records)
    links = [f'<a href="runs/{html.escape(r.run)}/record.json">{html.escape(r.run)}</a>' for r in records]
    escaped = frame.map(lambda cell: html.escape(str(cell))).assign(Run=links)
    table = escaped.to_html(index=False, border=0, escape=False, classes="provenance", justify="left")
    return f'<div class="scroll">{table}</div>{_comparisons(records)}'


def _comparisons(records: list[Record]) -> str:
    rows = [
        f"<tr><td>{html.escape(r.run)}</td><td>{c.steps}</td><td>{c.column}</td><td>{c.paper:.2f}</td>"
        f"<td>{number_text(c.measured, 2)}</td><td>± {c.tolerance:.2f}</td><td>{c.verdict}</td></tr>"
        for r in records
        for c in r.comparisons
    ]
    if not rows:
        return ""
    head = "".join(f"<th>{h}</th>" for h in ("Run", "Steps", "Column", "Paper", "Measured", "Tolerance", "Verdict"))
    return f'<h3>Against the printed numbers</h3><table class="provenance"><tr>{head}</tr>{"".join(rows)}</table>'


def _notebooks(folder: Path) -> str:
    links = [
        f'<li><a href="notebooks/{html.escape(path.name)}">{html.escape(path.stem)}</a></li>'
        for path in sorted(folder.glob("*.html"))
    ]
    return f"<ul>{''.join(links)}</ul>" if links else '<p class="nothing">No executed notebook yet.</p>'


def _environment(records: list[Record]) -> str:
    """Machine and packages, once for each that differs."""
    lines = {}
    for record in records:
        env = record.environment
        packages = ", ".join(f"{name} {version}" for name, version in env.packages.items())
        threads = f"{env.threads} thread{'s' if env.threads > 1 else ''}"
        machine = f"{env.gpu or env.cpu}, attention: {env.backend}, {threads}"
        lines.setdefault(f"{machine}; {env.system}; Python {env.python}; {packages}", []).append(record.run)
    items = [f"<li>{html.escape(line)} <em>({html.escape(', '.join(runs))})</em></li>" for line, runs in lines.items()]
    return f"<ul>{''.join(items)}</ul>" if items else ""
