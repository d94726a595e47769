"""Figure 10: new pictures of a predicted label map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ddp_repro.evaluation.predict import predict
from ddp_repro.papers.ddp.painting.agreement import Agreement, measure_agreement
from ddp_repro.papers.ddp.painting.painter import Painter
from ddp_repro.papers.ddp.painting.training import load_pair
from ddp_repro.protocols.method import Method
from ddp_repro.tasks.segmentation.dataset import SegmentationDataset
from ddp_repro.workbook.figures.panels import colours, show
from ddp_repro.workbook.figures.style import TEXT_WIDTH, Figure, paper_style


@dataclass(frozen=True)
class Painted:
    """Pictures of evaluation images' predicted maps, and what a segmentor sees in them.

    Attributes:
        pictures: of the dataset; maps: predicted for them, in colours; seen: predicted for the first painting of each,
            in colours; all uint8 (N, H, W, 3).
        paintings: by seed, uint8 (S, N, H, W, 3).
        agreement: of all paintings with the maps.
    """

    pictures: np.ndarray
    maps: np.ndarray
    paintings: np.ndarray
    seen: np.ndarray
    agreement: Agreement


def paint_predictions(
    painter: Painter, segmentor: Method, dataset: SegmentationDataset, indices: Sequence[int], size: tuple[int, int], *,
    seeds: Sequence[int] = (0, 1), steps: int = 50,
) -> Painted:  # fmt: skip
    """Segment pictures of a dataset and paint new ones of the predicted maps.

    Args:
        indices: of the pictures, two or more.
        size: (height, width) of what is painted, multiples of ``painter.stride``.
        seeds: a painting of every map for each of them.
        steps: of the pipeline's sampler.
    """
    palette = np.asarray(dataset.palette, dtype=np.uint8)
    pictures = np.stack([load_pair(dataset, index, size)[0] for index in indices])
    labels = np.stack([predict(segmentor, picture).labels.astype(np.uint8) for picture in pictures])
    maps = colours(labels, palette)
    paintings = np.stack(
        [painter.paint(maps, [1000 * seed + number for number in range(len(maps))], steps=steps) for seed in seeds]
    )
    seen = np.stack(
        [colours(predict(segmentor, painting).labels.astype(np.uint8), palette) for painting in paintings[0]]
    )
    return Painted(pictures, maps, paintings, seen, measure_agreement(segmentor, paintings, labels))


def figure_10(painted: Painted, about: str, sources: Sequence[str], rows: int = 4) -> Figure:
    """Draw a row for a picture: itself, its predicted map, paintings of the map, what is seen in the first.

    Args:
        about: painter and segmentor in words.
        sources: runs that they come from.
        rows: how many of the pictures are drawn, evenly spaced; all of them are in the caption's numbers.
    """
    import matplotlib.pyplot as plt

    number, height, width = painted.pictures.shape[:3]
    shown = sorted({round(n) for n in np.linspace(0, number - 1, min(rows, number))})
    titles = ["image", "predicted map", *(f"painting {n}" for n in range(1, len(painted.paintings) + 1)), "seen in 1"]
    panel = TEXT_WIDTH / len(titles)
    with paper_style():
        size = (TEXT_WIDTH, len(shown) * panel * height / width + 0.25)
        drawing, axes = plt.subplots(len(shown), len(titles), figsize=size, layout="constrained", squeeze=False)
        drawing.set_layout_engine("constrained", w_pad=0.012, h_pad=0.012, wspace=0.0, hspace=0.0)
        for row, n in zip(axes, shown, strict=True):
            panels = [painted.pictures[n], painted.maps[n], *painted.paintings[:, n], painted.seen[n]]
            for place, pixels, title in zip(row, panels, titles, strict=True):
                show(place, pixels, title if n == shown[0] else "")
        plt.close(drawing)
    agreement, gain = painted.agreement, painted.agreement.gain
    caption = (
        f"{about}. What the segmentor sees in the paintings agrees with their maps on {agreement.pixels:.1f} % of the "
        f"pixels ({agreement.miou:.1f} mIoU), with the maps of the others on {agreement.other_pixels:.1f} % "
        f"({agreement.other_miou:.1f} mIoU): more by {gain.estimate:.1f} (95 % interval over pictures: {gain.low:.1f} "
        f"to {gain.high:.1f}; {len(painted.paintings)} paintings of each of {number} predicted maps)."
    )
    return Figure("ddp_figure10", "Figure 10. Pictures of predicted label maps", caption, tuple(sources), drawing)
