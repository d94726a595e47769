"""Figure 7: six cameras with the predicted map projected into them, and the maps around the car, drawn from records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ddp_repro.papers.ddp.recipes.bev import MODALITIES
from ddp_repro.papers.ddp.samples.bev import STEPS, BEVSample
from ddp_repro.tasks.bev.nuscenes.geometry import project_points
from ddp_repro.tasks.bev.nuscenes.index import CAMERAS
from ddp_repro.tasks.bev.settings import MAP_CLASSES, PRESENT
from ddp_repro.workbook.figures.panels import colour_bar, row_label, show
from ddp_repro.workbook.figures.style import SEQUENTIAL, TEXT_WIDTH, VERMILION, Figure, paper_style
from ddp_repro.workbook.runs.records import Record
from ddp_repro.workbook.tables.table import measured_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure

# The released visualiser's colours, in the order of the classes; those drawn later lie above.
PALETTE = np.array(
    [(166, 206, 227), (251, 154, 153), (227, 26, 28), (253, 191, 111), (255, 127, 0), (106, 61, 154)], np.uint8
)
BACKGROUND = (240, 240, 240)
OPACITY = 0.55
CAR = (1.73, 4.08)  # metres, width and length of that car
NEAREST = 1.0  # metres: ground closer to a camera is not drawn
POINT_HEIGHT = 0.3  # metres above the ground from which LiDAR points are shown: walls, cars, trees
LEFT_TO_RIGHT = ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_LEFT", "CAM_BACK", "CAM_BACK_RIGHT")


def figure_bev(records: Sequence[Record], samples: Sequence[list[BEVSample]]) -> Figure:
    """Figure 7.

    Args:
        records: models that were evaluated on the same samples; the last one's map is projected into the pictures.
        samples: of each model, from :func:`ddp_repro.papers.ddp.samples.bev.load_bev_samples`.
    """
    import matplotlib.pyplot as plt

    height, width = samples[0][0].pictures.shape[1:3]
    columns = 1 + 2 * len(records)  # truth; map and uncertainty of every model
    views, maps = TEXT_WIDTH / 3 * height / width * 2, TEXT_WIDTH / columns
    block, legend = views + maps + 0.5, 0.3
    count = len(samples[0])
    with paper_style():
        drawing = plt.figure(figsize=(TEXT_WIDTH, count * block + legend), layout="constrained")
        drawing.set_layout_engine("constrained", w_pad=0.015, h_pad=0.015, wspace=0, hspace=0)
        parts = drawing.subfigures(count, 1, squeeze=False)[:, 0]
        for part, same in zip(parts, zip(*samples, strict=True), strict=True):
            upper, lower = part.subfigures(2, 1, height_ratios=(views, maps + 0.35))
            _draw_views(upper.subplots(2, 3), same[-1])
            _draw_maps(lower, records, same)
        _class_legend(drawing)
        plt.close(drawing)
    names = ", ".join(record.run for record in records)
    title = measured_title(records[0].preset, "nuscenes", list(records))
    caption = (
        f"BEV map segmentation, {names}, {title}; {STEPS} steps. Cells with a probability of {PRESENT:g} or more, of "
        f"overlapping classes the one later in the legend. The map of {records[-1].run} is projected into the cameras "
        "onto flat ground. Black: the car, driving upwards; dots: LiDAR points more than "
        f"{POINT_HEIGHT:g} m above the ground. Uncertainty: entropy of the mean probability over steps and start "
        "noises, of the class where it is largest."
    )
    runs = tuple(record.run for record in records)
    return Figure("ddp_figure7", "Figure 7. BEV map segmentation", caption, runs, drawing)


def colour_map(masks: np.ndarray) -> np.ndarray:
    """Masks (K, X, Y) -> picture uint8 (Y, X, 3) seen from above, driving upwards."""
    picture = np.full((*masks.shape[1:], 3), BACKGROUND, np.uint8)
    for mask, colour in zip(masks, PALETTE, strict=True):
        picture[mask.astype(bool)] = colour
    return picture.transpose(1, 0, 2)[::-1]


def overlay(sample: BEVSample, camera: int) -> np.ndarray:
    """Draw a camera's picture with the predicted map on it, uint8 (H, W, 3).

    Every pixel is followed to where its ray meets the ground, and takes that cell's colour.
    """
    picture = sample.pictures[camera].astype(float)
    x, y = _ground_under_pixels(sample, camera)
    size, reach = sample.probability.shape[1], sample.map_range
    column, row = (np.floor((each + reach) / (2 * reach) * size) for each in (x, y))
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)  # false for NaN
    cells = column[inside].astype(int), row[inside].astype(int)
    present = sample.probability >= PRESENT
    colours = colour_map(present)[::-1].transpose(1, 0, 2)[cells]
    shown = present.any(0)[cells]
    blended = picture[inside]
    blended[shown] = (1 - OPACITY) * blended[shown] + OPACITY * colours[shown]
    picture[inside] = blended
    return picture.round().astype(np.uint8)


def _ground_under_pixels(sample: BEVSample, camera: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y (H, W) in the LiDAR frame where each pixel's ray meets the ground; NaN where it does not."""
    height, width = sample.pictures.shape[1:3]
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    pixels = np.stack([u, v, np.ones_like(u)], -1)
    pose = sample.camera_to_lidar[camera]
    rays = pixels @ np.linalg.inv(sample.intrinsics[camera]).T @ pose[:3, :3].T
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = (sample.ground - pose[2, 3]) / rays[..., 2]  # along the optical axis, since pixels have z = 1
    distance = np.where(np.isfinite(distance) & (distance > NEAREST), distance, np.nan)
    return pose[0, 3] + distance * rays[..., 0], pose[1, 3] + distance * rays[..., 1]


def _draw_views(axes: np.ndarray, sample: BEVSample) -> None:
    for place, name in zip(axes.flat, LEFT_TO_RIGHT, strict=True):
        camera = CAMERAS.index(name)
        show(place, overlay(sample, camera), name.removeprefix("CAM_").replace("_", " ").lower())
        if len(sample.points):
            _draw_points_in_view(place, sample, camera)


def _draw_points_in_view(axes: Axes, sample: BEVSample, camera: int) -> None:
    points = _standing(sample)
    height, width = sample.pictures.shape[1:3]
    pixels, depth = project_points(points, sample.camera_to_lidar[camera], sample.intrinsics[camera])
    seen = (depth > NEAREST) & (pixels > 0).all(1) & (pixels < (width, height)).all(1)
    axes.scatter(*pixels[seen].T, s=0.4, c="white", linewidths=0, alpha=0.6, rasterized=True)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _draw_maps(drawing: MatplotlibFigure, records: Sequence[Record], same: Sequence[BEVSample]) -> None:
    axes = drawing.subplots(1, 1 + 2 * len(records))
    extent = (-same[0].map_range, same[0].map_range) * 2
    show(axes[0], colour_map(same[0].truth), "truth", extent=extent)
    _draw_surroundings(axes[0], same[-1])
    for number, (record, sample) in enumerate(zip(records, same, strict=True)):
        name = MODALITIES[record.recipe["model"]["sensors"]]
        place, beside = axes[1 + 2 * number], axes[2 + 2 * number]
        show(place, colour_map(sample.probability >= PRESENT), f"DDP, {name}", extent=extent)
        shown = show(
            beside, sample.uncertainty.astype(float).T[::-1], f"uncertainty, {name}", extent=extent, cmap=SEQUENTIAL,
            vmin=0, vmax=1,
        )  # fmt: skip
        for each in (place, beside):
            _draw_car(each)
    colour_bar(drawing, axes[-1], shown, "entropy (bit)")
    row_label(axes[0], f"±{same[0].map_range:g} m")


def _draw_surroundings(axes: Axes, sample: BEVSample) -> None:
    points = _standing(sample)
    axes.scatter(points[:, 0], points[:, 1], s=0.25, c="#444444", linewidths=0, rasterized=True)
    axes.set(xlim=(-sample.map_range, sample.map_range), ylim=(-sample.map_range, sample.map_range))
    _draw_car(axes)


def _standing(sample: BEVSample) -> np.ndarray:
    points = sample.points.astype(float)
    return points[points[:, 2] > sample.ground + POINT_HEIGHT]


def _draw_car(axes: Axes) -> None:
    from matplotlib.patches import Rectangle

    width, length = CAR
    axes.add_patch(Rectangle((-width / 2, -length / 2), width, length, facecolor="black", linewidth=0))
    axes.plot([0, 0], [length / 2, length / 2 + 5], color=VERMILION, linewidth=0.8)


def _class_legend(drawing: MatplotlibFigure) -> None:
    from matplotlib.patches import Patch

    patches = [
        Patch(facecolor=colour / 255, edgecolor="#777777", linewidth=0.3, label=name.replace("_", " "))
        for name, colour in zip(MAP_CLASSES, PALETTE, strict=True)
    ]
    drawing.legend(handles=patches, loc="outside lower center", ncols=6, handlelength=1.0, fontsize=6.5)
