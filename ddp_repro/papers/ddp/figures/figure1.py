"""Figure 1: the forward and the reverse process, with the maps of a real model and picture."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from ddp_repro.data.transforms import resize_image, size_of
from ddp_repro.diffusion import corrupt, draw_noise, image_generator, time_pairs
from ddp_repro.evaluation.views import inference_mode, model_device
from ddp_repro.networks.shapes import shape_of, tokens_of
from ddp_repro.papers.ddp.model import DDP
from ddp_repro.papers.ddp.samples.segmentation import chosen_image, principal_colours
from ddp_repro.tasks.segmentation.dataset import SegmentationDataset
from ddp_repro.workbook.figures.panels import colours, enlarged, show
from ddp_repro.workbook.figures.style import BLUE, TEXT_WIDTH, VERMILION, Figure, paper_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ddp_repro.workbook.runs.records import Record

TIMES = (0.25, 0.5, 0.75, 1.0)  # of the forward process; its map at 0 is the true one
STEPS = 3  # the paper's number in most tables
GAP, HEADING = 0.1, 0.4  # inches between panels, and above each row for its words


@dataclass(frozen=True)
class _Processes:
    """Maps of both processes as colours (h, w, 3), and the labels that the steps predict (h, w)."""

    clean: np.ndarray
    forward: list[np.ndarray]
    reverse: list[np.ndarray]
    predictions: list[np.ndarray]


def figure_1(model: DDP, dataset: SegmentationDataset, record: Record, index: int | None = None) -> Figure:
    """Draw what training does to the true map and what sampling does to noise, of one image.

    Args:
        model: of label maps.
        dataset: the evaluation split that the record was scored on.
        record: whose weights the model has.
        index: of the image; None: the one with the most classes.

    Raises:
        ConfigError: the model is no diffusion model of label maps.
    """
    import matplotlib.pyplot as plt

    image, name, (picture, label) = chosen_image(model, dataset, record.run, index)
    seed = record.recipe["evaluation"]["seeds"][0]
    with inference_mode(model):
        shown = _run(model, image, torch.from_numpy(label.astype(np.int64)), seed, name)
    palette = np.asarray(dataset.palette, dtype=np.uint8)
    height, width = size_of(picture)
    with paper_style():
        columns = len(TIMES) + 2
        panel = (TEXT_WIDTH - (columns - 1) * GAP) / columns * height / width  # inches
        size = (TEXT_WIDTH, 3 * panel + 3 * HEADING)
        drawing, axes = plt.subplots(3, columns, figsize=size)
        drawing.subplots_adjust(
            0,
            0,
            1,
            1 - HEADING / size[1],
            wspace=GAP * columns / (TEXT_WIDTH - (columns - 1) * GAP),
            hspace=HEADING / panel,
        )
        _draw_given(axes[:, 0], resize_image(picture, (height, width)), label, palette)
        _draw_forward(axes[0, 1:], shown)
        _draw_reverse(axes[1, 1:], shown.reverse, model.config.time_difference)
        _draw_predictions(axes[2, 1:], [colours(p, palette) for p in shown.predictions], (height, width))
        plt.close(drawing)
    caption = (
        f"{record.run} ({record.preset}), image {name}. Above, training: the encoded true map gets noise, up "
        "to pure noise. Middle, sampling, from right to left: noise becomes the map that the next step starts from. "
        f"Below, what the decoder says at each of the {STEPS} steps. Maps as they enter the decoder, by the three "
        "directions in which the true map varies most, each with its own contrast; the code has scale "
        f"{model.config.scale:g}."
    )
    title = "Figure 1. The diffusion process of dense prediction"
    return Figure("ddp_figure1", title, caption, (record.run,), drawing)


def _run(model: DDP, image: Tensor, label: Tensor, seed: int, image_id: str) -> _Processes:
    device = model_device(model)
    features = model.encode_image(image[None].to(device))
    clean = model.target_map({"label": label[None].to(device)}, shape_of(features))
    noise = draw_noise(model.noise_shape(features), 1, image_generator(seed, image_id)).to(device)
    corrupted = [corrupt(clean, noise, torch.tensor([t], device=device), model.schedule) for t in TIMES]
    trajectory = model.sample(features=features, steps=STEPS, noise=noise, return_trajectory=True)
    reference = _as_entered(model, clean)
    maps = [_channels_last(noisy) for noisy in trajectory.maps]
    return _Processes(
        principal_colours(reference, reference),
        [principal_colours(reference, _as_entered(model, noisy)) for noisy in corrupted],
        [principal_colours(reference, noisy) for noisy in maps],
        [prediction[0].byte().cpu().numpy() for prediction in trajectory.predictions],
    )


def _as_entered(model: DDP, noisy_map: Tensor) -> Tensor:
    """Return a map (1, M, h, w) as the decoder sees it, (h, w, D)."""
    tokens = model.project_map(tokens_of(noisy_map))  # (1, h·w, D)
    return tokens[0].unflatten(0, shape_of(noisy_map)).float().cpu()


def _channels_last(noisy_map: Tensor) -> Tensor:
    return noisy_map[0].permute(1, 2, 0).float().cpu()


def _draw_given(axes: Sequence[Axes], picture: np.ndarray, label: np.ndarray, palette: np.ndarray) -> None:
    """Draw the first column: the true labels, and the image, which is read once."""
    show(axes[0], colours(label.astype(np.uint8), palette), "ground truth")
    show(axes[1], picture, "image")
    axes[2].axis("off")


def _draw_forward(axes: Sequence[Axes], shown: _Processes) -> None:
    for place, noisy, t in zip(axes, [shown.clean, *shown.forward], (0.0, *TIMES), strict=True):
        show(place, noisy, f"t = {t:g}")
    for left, right in itertools.pairwise(axes):
        _arrow(left, right, BLUE)
    _heading(axes[0], "training: the true map, encoded, gets noise (forward process) →", BLUE)


def _draw_reverse(axes: Sequence[Axes], maps: list[np.ndarray], time_difference: int) -> None:
    """From right to left: noise, then the map after each step."""
    levels = [1.0, *(following for _, following in time_pairs(STEPS, time_difference))]
    places = list(reversed(axes))
    for number, (place, noisy) in enumerate(zip(places, maps, strict=False)):
        words = "noise" if number == 0 else f"after step {number}"
        show(place, noisy, f"{words} (t = {levels[number]:.2g})")
    for right, left in itertools.pairwise(places[: len(maps)]):
        _arrow(right, left, VERMILION)
    for place in places[len(maps) :]:
        place.axis("off")
    _heading(
        axes[0],
        "← sampling: noise becomes a map, the prediction of each step with less noise (reverse process)",
        VERMILION,
    )


def _draw_predictions(axes: Sequence[Axes], predictions: list[np.ndarray], size: tuple[int, int]) -> None:
    """Below each map, what the decoder makes of it and the image."""
    places = list(reversed(axes))
    for number, (place, prediction) in enumerate(zip(places, predictions, strict=False), start=1):
        show(place, enlarged(prediction, size), f"step {number} predicts")
    for place in places[len(predictions) :]:
        place.axis("off")


def _heading(axes: Axes, words: str, colour: str) -> None:
    """Write what a row shows above the titles of its panels, from the left edge of ``axes``."""
    axes.annotate(
        words, (0, 1), xytext=(0, 15), xycoords="axes fraction", textcoords="offset points", color=colour, size=7.5
    )


def _arrow(start: Axes, end: Axes, colour: str) -> None:
    """Draw an arrow from the one panel's middle edge to the other's."""
    from matplotlib.patches import ConnectionPatch

    to_right = start.get_position().x0 < end.get_position().x0
    near, far = ((1.0, 0.5), (0.0, 0.5)) if to_right else ((0.0, 0.5), (1.0, 0.5))
    arrow = ConnectionPatch(
        near, far, "axes fraction", "axes fraction", axesA=start, axesB=end, arrowstyle="-|>", color=colour,
        linewidth=1.2, mutation_scale=7, zorder=5,
    )  # fmt: skip
    cast("Axes", end).figure.add_artist(arrow)
