"""How every figure looks: sizes of a two-column paper, colours told apart by everybody and in grey, vector output."""

from __future__ import annotations

import html
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ddp_repro.store.atomic import write_atomically
from ddp_repro.workbook.drawing import content_hash

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure

COLUMN_WIDTH, TEXT_WIDTH = 3.35, 6.9  # inches, of a two-column paper
PNG_DPI = 300

# Okabe and Ito's colours, in an order whose lightness differs from one to the next.
BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000",
)  # fmt: skip
GREY = "#5A5A5A"
SEQUENTIAL = "cividis"

_SETTINGS = {
    "font.family": "DejaVu Sans", "font.size": 7.5, "axes.titlesize": 8, "axes.labelsize": 8, "legend.fontsize": 7,
    "xtick.labelsize": 7, "ytick.labelsize": 7, "figure.dpi": 150, "savefig.dpi": PNG_DPI,
    "axes.linewidth": 0.6, "axes.edgecolor": "#333333", "axes.labelcolor": "#222222", "text.color": "#222222",
    "xtick.color": "#333333", "ytick.color": "#333333", "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    "xtick.major.size": 2.5, "ytick.major.size": 2.5, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": "#E3E3E3", "grid.linewidth": 0.5,
    "lines.linewidth": 1.4, "lines.markersize": 4, "legend.frameon": False, "legend.handlelength": 2.2,
    "pdf.fonttype": 42, "ps.fonttype": 42, "image.interpolation": "nearest",
}  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """A drawn figure and the words that belong to it.

    Attributes:
        caption: one or two sentences, with preset, data and image count of what is measured.
        sources: names of the runs it is drawn from.
    """

    name: str
    title: str
    caption: str
    sources: tuple[str, ...]
    drawing: MatplotlibFigure

    def _repr_png_(self) -> bytes:
        """Return what a notebook shows."""
        return _rendered(self, "png", dpi=150)


@contextmanager
def paper_style() -> Iterator[None]:
    """Matplotlib settings for the body of a ``with`` statement."""
    import matplotlib as mpl

    with mpl.rc_context(cast(Any, _SETTINGS)):
        yield


def save_figure(figure: Figure, folder: Path) -> list[Path]:
    """Write ``<name>.pdf`` (vector), ``.png`` and ``.html`` (title, caption, source, for the index page).

    Dates and versions are left out, so that equal figures are equal files.  Pictures whose content is the same stay as
    they are, because another version of Matplotlib would draw the same with other bytes.

    Raises:
        OSError: the folder cannot be written.
    """
    metadata: dict[str, dict[str, str | None]] = {
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None}, "png": {"Software": None}
    }  # fmt: skip
    paths, page = [folder / f"{figure.name}.{suffix}" for suffix in metadata], folder / f"{figure.name}.html"
    drawn = content_hash(figure.drawing, _SETTINGS)
    before = page.read_text(encoding="utf-8") if page.is_file() else ""
    same = f'data-drawn="{drawn}"' in before and all(path.is_file() for path in paths)
    for path, (suffix, entries) in zip(paths, metadata.items(), strict=True):
        if same:
            path.touch()  # it is what this call would write
        else:
            write_atomically(path, _rendered(figure, suffix, metadata=entries))
    write_atomically(page, _html(figure, drawn).encode())
    return [*paths, page]


def _rendered(figure: Figure, suffix: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with paper_style():
        figure.drawing.savefig(buffer, format=suffix, bbox_inches="tight", pad_inches=0.03, **options)
    return buffer.getvalue()


def _html(figure: Figure, drawn: str) -> str:
    """Return the figure for a page one folder above its own."""
    picture = f"figures/{html.escape(figure.name)}"
    sources = ", ".join(html.escape(source) for source in figure.sources)
    return (
        f'<figure id="figure-{html.escape(figure.name)}" data-drawn="{drawn}"><h3>{html.escape(figure.title)}</h3>\n'
        f'<a class="scroll" href="{picture}.png"><img src="{picture}.png" alt="{html.escape(figure.title)}"></a>\n'
        f'<figcaption>{html.escape(figure.caption)} <span class="source">Runs: {sources}. '
        f'<a href="{picture}.png">full size</a>, <a href="{picture}.pdf">PDF</a></span></figcaption></figure>\n'
    )
