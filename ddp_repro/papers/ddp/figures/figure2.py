"""Figure 2: the framework, with the tensors, parameters, products and times of a real model on a real picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ddp_repro.costs.macs import count_parameters
from ddp_repro.costs.timing import measure_speed
from ddp_repro.data.transforms import resize_image
from ddp_repro.diffusion import image_generator
from ddp_repro.evaluation.views import inference_mode, model_device
from ddp_repro.networks.shapes import shape_of
from ddp_repro.papers.ddp.costs.complexity import complexity
from ddp_repro.papers.ddp.model import DDP
from ddp_repro.papers.ddp.samples.segmentation import chosen_image, principal_colours
from ddp_repro.tasks.segmentation.dataset import SegmentationDataset
from ddp_repro.workbook.figures.panels import colours, show
from ddp_repro.workbook.figures.style import BLUE, GREY, ORANGE, TEXT_WIDTH, VERMILION, Figure, paper_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ddp_repro.workbook.runs.records import Record

ENCODER, DECODER = ("backbone", "neck"), ("fusion", "time_embedding", "decoder")
STEPS = 3
REPETITIONS = 5
HEIGHT = 2.75  # inches


@dataclass(frozen=True)
class _Part:
    """A box of the drawing.

    Attributes:
        shape: of what comes out of it, (C, h, w).
        macs: of a call.
        milliseconds: of a call, the median of :data:`REPETITIONS`.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int
    macs: int
    milliseconds: float

    @property
    def words(self) -> str:
        """What stands in the box."""
        parameters = f"{self.parameters / 1e6:.3g} M parameters"
        return f"{self.name}\n{parameters}\n{self.macs / 1e9:.3g} GMAC, {self.milliseconds:.3g} ms"


@dataclass(frozen=True)
class _Measured:
    """What one image's way through the network shows.

    Attributes:
        map_shape: of the noisy map, (M, h, w); noise: of the first one, in colours; labels: the last prediction.
        conditions: of the times.
    """

    encoder: _Part
    decoder: _Part
    map_shape: tuple[int, int, int]
    noise: np.ndarray
    labels: np.ndarray
    conditions: str


def figure_2(model: DDP, dataset: SegmentationDataset, record: Record, index: int | None = None) -> Figure:
    """Draw encoder, fusion and map decoder with what flows between them, measured while one image passes.

    Args:
        model: of label maps.
        dataset: the evaluation split that the record was scored on.
        record: whose weights the model has.
        index: of the image; None: the one with the most classes.

    Raises:
        ConfigError: the model is no diffusion model of label maps.
    """
    import matplotlib.pyplot as plt

    image, name, (picture, _) = chosen_image(model, dataset, record.run, index)
    with inference_mode(model):
        measured = _pass(model, image, record.recipe["evaluation"]["seeds"][0], name)
    encoder, decoder = measured.encoder, measured.decoder
    size, palette = shape_of(image), np.asarray(dataset.palette, dtype=np.uint8)
    with paper_style():
        drawing = plt.figure(figsize=(TEXT_WIDTH, HEIGHT))
        canvas = drawing.add_axes((0, 0, 1, 1))
        canvas.set(xlim=(0, 1), ylim=(0, 1))
        canvas.axis("off")
        _draw_network(canvas, encoder, decoder, size)
        aspect = size[0] / size[1]
        _picture(canvas, (0.01, 0.60), aspect, resize_image(picture, size), f"image\n{_shape((3, *size))}")
        _picture(canvas, (0.01, 0.08), aspect, measured.noise, f"map, at t = 1 noise\n{_shape(measured.map_shape)}")
        labels = colours(measured.labels, palette)
        _picture(canvas, (0.84, 0.38), aspect, labels, f"prediction\n{_shape(decoder.shape)}")
        plt.close(drawing)
    caption = (
        f"{record.run} ({record.preset}), image {name}. The encoder runs once, the map decoder once a step; with "
        f"{STEPS} steps an image takes {encoder.milliseconds + STEPS * decoder.milliseconds:.3g} ms. Multiply-"
        "accumulates are counted as published, times are medians on this machine "
        f"({measured.conditions})."
    )
    return Figure("ddp_figure2", "Figure 2. The framework", caption, (record.run,), drawing)


def _pass(model: DDP, image: Tensor, seed: int, image_id: str) -> _Measured:
    """Return encoder and decoder as measured, and what went in and came out."""
    device, size = model_device(model), shape_of(image)
    counted, features = complexity(model.config, size), model.encode_image(image[None].to(device))
    trajectory = model.sample(
        features=features, steps=STEPS, generator=image_generator(seed, image_id), return_trajectory=True
    )
    map_shape = model.noise_shape(features)
    calls = {
        "encoder": lambda images: model.encode_image(images),
        "step": lambda _: model.decode(features, torch.zeros(1, *map_shape, device=device), 1.0),
    }
    speeds = measure_speed(calls, size, device=device, repetitions=REPETITIONS, progress=False)
    encoding, decoding = (1000 / speed.images_per_second for speed in speeds)
    first, last = (trajectory.maps[step][0].permute(1, 2, 0).float().cpu() for step in (0, -1))
    logits = tuple(trajectory.decoded.shape[2:])
    encoder = _Part("encoder", tuple(features.shape[1:]), _parameters(model, ENCODER), counted.encoder.total, encoding)
    decoder = _Part("map decoder", logits, _parameters(model, DECODER), counted.step.total, decoding)
    labels = trajectory.predictions[-1, 0].to(torch.uint8).cpu().numpy()
    return _Measured(encoder, decoder, map_shape, principal_colours(last, first), labels, speeds[0].conditions)


def _parameters(model: DDP, names: Sequence[str]) -> int:
    return sum(count_parameters(part) for name, part in model.named_children() if name in names)


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _draw_network(canvas: Axes, encoder: _Part, decoder: _Part, size: tuple[int, int]) -> None:
    """Boxes and arrows: image → encoder → feature ⊕ map → decoder → prediction → map of the next step."""
    _box(canvas, (0.20, 0.62, 0.17, 0.26), encoder.words, BLUE)
    _box(canvas, (0.475, 0.40, 0.05, 0.20), "+", GREY)
    _box(canvas, (0.60, 0.37, 0.17, 0.26), decoder.words, ORANGE)
    _arrow(canvas, (0.165, 0.75), (0.20, 0.75))
    _arrow(canvas, (0.37, 0.75), (0.50, 0.60), f"feature\n{_shape(encoder.shape)}", (0.455, 0.80))
    _arrow(canvas, (0.165, 0.23), (0.50, 0.40), "fused by a\nlinear layer", (0.40, 0.42))
    _arrow(canvas, (0.525, 0.50), (0.60, 0.50))
    _arrow(canvas, (0.77, 0.50), (0.84, 0.50))
    _arrow(canvas, (0.845, 0.44), (0.51, 0.40), "encoded, with the noise of the next t: the next map",
           (0.64, 0.20), colour=VERMILION, bend=-0.45)  # fmt: skip
    canvas.text(0.685, 0.70, "time t", ha="center", size=7)
    _arrow(canvas, (0.685, 0.69), (0.685, 0.63))


def _box(canvas: Axes, place: tuple[float, float, float, float], words: str, colour: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    left, bottom, width, height = place
    box = FancyBboxPatch(
        (left, bottom), width, height, boxstyle="round,pad=0,rounding_size=0.015", facecolor=colour + "22",
        edgecolor=colour, linewidth=1.0, mutation_aspect=TEXT_WIDTH / HEIGHT,
    )  # fmt: skip
    canvas.add_patch(box)
    canvas.text(left + width / 2, bottom + height / 2, words, ha="center", va="center", size=7.5, linespacing=1.4)


def _arrow(
    canvas: Axes, start: tuple[float, float], end: tuple[float, float], words: str = "",
    place: tuple[float, float] = (0, 0), colour: str = "#333333", bend: float = 0.0,
) -> None:  # fmt: skip
    canvas.annotate(
        "", end, start,
        arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.1, "connectionstyle": f"arc3,rad={bend}",
                    "shrinkA": 0, "shrinkB": 0},
    )  # fmt: skip
    if words:
        canvas.text(*place, words, ha="center", va="center", size=7, color=colour, linespacing=1.3)


def _picture(canvas: Axes, place: tuple[float, float], aspect: float, pixels: np.ndarray, words: str) -> None:
    """Draw a picture at its lower left corner, 0.155 of the drawing wide, with words below."""
    width = 0.155
    axes = canvas.inset_axes((*place, width, width * aspect * TEXT_WIDTH / HEIGHT))
    show(axes, pixels, words, below=True, aspect="auto")
