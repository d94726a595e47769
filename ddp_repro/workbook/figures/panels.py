"""Pictures inside a figure: images, label maps in the dataset's colours, and their legend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure
    from matplotlib.image import AxesImage

IGNORE = 255
_IGNORE_COLOUR = (235, 235, 235)


def show(axes: Axes, picture: np.ndarray, title: str = "", *, below: bool = False, **options: Any) -> AxesImage:
    """Fill ``axes`` with a picture: no ticks, a thin frame, the title above or below."""
    shown = axes.imshow(picture, **options)
    if title and below:
        axes.set_xlabel(title, labelpad=3)
    elif title:
        axes.set_title(title, pad=3)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.4, color="#999999")
    return shown


def colour_bar(drawing: MatplotlibFigure, axes: Axes, shown: AxesImage, label: str) -> None:
    """Draw a colour bar exactly as high as its picture."""
    bar = drawing.colorbar(shown, cax=axes.inset_axes((1.03, 0, 0.05, 1)))
    bar.set_label(label, size=6.5)
    bar.outline.set_visible(False)


def row_label(axes: Axes, text: str) -> None:
    """Name a row of panels at its left end."""
    axes.set_ylabel(text, labelpad=3)


def colours(labels: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Class indices (h, w) -> the dataset's colours (h, w, 3); ignored pixels light grey."""
    table = np.full((256, 3), _IGNORE_COLOUR, dtype=np.uint8)
    table[: len(palette)] = palette
    return table[labels]


def enlarged(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Nearest neighbour, so that no colour appears that is no class."""
    rows = np.arange(size[0]) * picture.shape[0] // size[0]
    columns = np.arange(size[1]) * picture.shape[1] // size[1]
    return picture[rows[:, None], columns]


def class_legend(drawing: MatplotlibFigure, seen: np.ndarray, names: tuple[str, ...], palette: np.ndarray) -> None:
    """Name the classes among the labels ``seen``, most frequent first, below the panels."""
    from matplotlib.patches import Patch

    counts = np.bincount(seen[seen != IGNORE], minlength=len(names))
    classes = [int(c) for c in np.argsort(-counts) if counts[c]][:16]
    patches = [Patch(facecolor=palette[c] / 255, edgecolor="#777777", linewidth=0.3, label=names[c]) for c in classes]
    drawing.legend(
        handles=patches, loc="outside lower center", ncols=min(8, len(patches)), handlelength=1.0, fontsize=6.5
    )
