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
        agreement: of the first paintings with the maps.
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
    return Painted(pictures, maps, paintings, seen, measure_agreement(segmentor, paintings[0], labels))


def figure_10(painted: Painted, about: str, sources: Sequence[str]) -> Figure:
    """Draw a row for every picture: itself, its predicted map, paintings of the map, what is seen in the first.

    Args:
        about: painter and segmentor in words.
        sources: runs that they come from.
    """
    import matplotlib.pyplot as plt

    number, height, width = painted.pictures.shape[:3]
    titles = ["image", "predicted map", *(f"painting {n}" for n in range(1, len(painted.paintings) + 1)), "seen in 1"]
    panel = TEXT_WIDTH / len(titles)
    with paper_style():
        size = (TEXT_WIDTH, number * panel * height / width + 0.25)
        drawing, axes = plt.subplots(number, len(titles), figsize=size, layout="constrained", squeeze=False)
        drawing.set_layout_engine("constrained", w_pad=0.012, h_pad=0.012, wspace=0.0, hspace=0.0)
        for row in range(number):
            panels = [painted.pictures[row], painted.maps[row], *painted.paintings[:, row], painted.seen[row]]
            for place, pixels, title in zip(axes[row], panels, titles, strict=True):
                show(place, pixels, title if row == 0 else "")
        plt.close(drawing)
    agreement = painted.agreement
    caption = (
        f"{about}. What the segmentor sees in the first paintings agrees with their maps to {agreement.maps:.1f} mIoU, "
        f"with the maps of the next picture to {agreement.others:.1f} ({number} pictures, the segmentor's own maps)."
    )
    return Figure("ddp_figure10", "Figure 10. Pictures of predicted label maps", caption, tuple(sources), drawing)
