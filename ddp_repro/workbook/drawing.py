"""What a Matplotlib figure shows, told apart from the bytes that one version of Matplotlib draws it with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def content_hash(figure: Figure, settings: Mapping[str, Any]) -> str:
    """Return a hash of the data, words, colours and sizes in ``figure``, and of its style's ``settings``.

    Ticks, and whatever else Matplotlib places itself, are left out.
    """
    digest = hashlib.sha256(repr(sorted(settings.items())).encode())
    for value in _content(figure):
        digest.update(_words(value).encode() + b"\0")
    return digest.hexdigest()[:16]


def _content(figure: Figure) -> Iterator[Any]:
    yield figure.get_size_inches()
    yield from (text.get_text() for text in figure.texts)
    for legend in figure.legends:
        yield from (text.get_text() for text in legend.get_texts())
    for axes in figure.axes:
        yield from _axes(axes)


def _axes(axes: Axes) -> Iterator[Any]:
    yield from (axes.get_title(place) for place in ("left", "center", "right"))
    yield from (axes.get_xlabel(), axes.get_ylabel(), axes.get_xscale(), axes.get_yscale())
    yield from (axes.get_xlim(), axes.get_ylim(), axes.get_visible(), axes.axison)
    legend = axes.get_legend()
    if legend is not None:
        yield from (text.get_text() for text in legend.get_texts())
    for artist in (*axes.lines, *axes.images, *axes.collections, *axes.patches, *axes.texts, *axes.tables):
        yield type(artist).__name__
        yield from _artist(artist)


def _artist(artist: Artist) -> Iterator[Any]:
    from matplotlib import collections, image, lines, patches, text

    yield from (artist.get_alpha(), artist.get_visible())
    if isinstance(artist, lines.Line2D):
        yield from (artist.get_xydata(), artist.get_color(), artist.get_linestyle(), artist.get_linewidth())
        yield from (artist.get_marker(), artist.get_markersize())
    elif isinstance(artist, image.AxesImage):
        yield from (artist.get_array(), artist.get_clim(), artist.get_cmap().name, artist.get_extent())
    elif isinstance(artist, collections.Collection):
        yield from (artist.get_offsets(), artist.get_facecolor(), artist.get_edgecolor(), artist.get_linewidth())
        yield from (path.vertices for path in artist.get_paths())
        yield artist.get_array()
    elif isinstance(artist, patches.FancyArrowPatch):  # its path depends on how large text is drawn
        yield from (artist.get_facecolor(), artist.get_linewidth())
    elif isinstance(artist, patches.Patch):
        yield artist.get_patch_transform().transform(artist.get_path().vertices)
        yield from (artist.get_facecolor(), artist.get_edgecolor(), artist.get_linewidth())
    elif isinstance(artist, text.Text):
        yield from (artist.get_text(), artist.get_position(), artist.get_color(), artist.get_fontsize())


def _words(value: Any) -> str:
    """``value`` as text: numbers by five digits, so that rounding in the last ones does not count."""
    if value is None or isinstance(value, (str, bool)):
        return str(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biu":
        return hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest() + str(value.shape)
    try:
        numbers = np.ma.filled(np.ma.asarray(value, dtype=np.float64), np.nan)
    except (TypeError, ValueError):  # a tuple of a dash pattern and the like
        return repr(value)
    return " ".join(f"{number:.5g}" for number in numbers.ravel()) + str(numbers.shape)
