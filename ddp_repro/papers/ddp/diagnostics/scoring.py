"""Read a test image, and score a decoder's output for it: what the diagnostics of a sampling run share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ddp_repro.data.transforms import size_of
from ddp_repro.diffusion import corrupt, draw_noise, image_generator, time_pairs
from ddp_repro.evaluation.map_use import MapMeasure
from ddp_repro.evaluation.views import View, best_class, model_device, to_image_size, view_image
from ddp_repro.networks.shapes import shape_of
from ddp_repro.papers.ddp.model import DDP
from ddp_repro.settings.errors import ConfigError
from ddp_repro.tasks.bev.evaluate import sensor_batch
from ddp_repro.tasks.bev.settings import PRESENT
from ddp_repro.tasks.depth.protocols import Protocol
from ddp_repro.tasks.segmentation.metrics import ClassCounts


@dataclass(frozen=True)
class EvaluationImage:
    """A test image: its name, what the encoder reads, and the truth (H, W) or (K, X, Y)."""

    id: str
    inputs: Any
    truth: Tensor


class PictureScorer:
    """Read and score one picture: classes, or metres."""

    def __init__(self, model: DDP, dataset: Any, protocol: Protocol | None) -> None:
        self.model, self.dataset, self.protocol = model, dataset, protocol
        self.device = model_device(model)
        self.measure: MapMeasure = "miou" if protocol is None else "rel"
        self.shape = (model.config.num_classes, 2) if protocol is None else ()  # of what an image's score is made of

    def load(self, index: int) -> EvaluationImage:
        """Read an image and its truth."""
        image = view_image(self.dataset, index, [View()])
        return EvaluationImage(image.id, image.views[0][None], image.truth)

    def truth(self, index: int) -> Tensor:
        """Read the truth alone."""
        return torch.from_numpy(self.dataset.load(index)[1])

    def encode(self, image: EvaluationImage) -> Tensor:
        """Return the image feature (1, D, h, w)."""
        return self.model.encode_image(image.inputs.to(self.device))

    def target(self, truth: Tensor, shape: tuple[int, int]) -> Tensor:
        """Return the encoded truth at the decoder's size, (1, M, h, w)."""
        return self.model.target_map({self.dataset.truth: truth[None].to(self.device)}, shape)

    def score(self, output: Tensor, image: EvaluationImage) -> Tensor:
        """Return intersection and union (K, 2), or REL (), of the network's output (C, h, w)."""
        input_size, size = shape_of(image.inputs), size_of(image.truth)
        if self.protocol is None:
            labels = best_class(output, input_size, size)[1]
            return ClassCounts(self.model.config.num_classes).count(labels.cpu(), image.truth)[:2].T
        valid = self.protocol.valid(image.truth)  # without one, the mean is NaN
        depth = to_image_size(output[None], input_size, size)[0, 0].cpu()[valid].double()
        truth = image.truth[valid].double()
        return ((depth.clamp(self.protocol.min_depth, self.protocol.max_depth) - truth).abs() / truth).mean()


class BEVScorer:
    """Read and score all sensors of a moment: the map around the car."""

    measure: MapMeasure = "miou"

    def __init__(self, model: DDP, dataset: Any) -> None:
        self.model, self.dataset, self.device = model, dataset, model_device(model)
        self.shape = (model.config.num_classes, 2)

    def load(self, index: int) -> EvaluationImage:
        """Read an image and its truth."""
        item = self.dataset[index]
        return EvaluationImage(item["id"], item, item["masks"])

    def truth(self, index: int) -> Tensor:
        """Read the truth alone."""
        return torch.from_numpy(self.dataset.masks(index))

    def encode(self, image: EvaluationImage) -> Tensor:
        """Return the image feature (1, D, h, w)."""
        return self.model.encode(sensor_batch([image.inputs], self.dataset, self.device))

    def target(self, truth: Tensor, shape: tuple[int, int]) -> Tensor:
        """Return the encoded truth at the decoder's size, (1, M, h, w)."""
        return self.model.target_map({"masks": truth[None].to(self.device)}, shape)

    def score(self, output: Tensor, image: EvaluationImage) -> Tensor:
        """Return intersection and union (K, 2) of probabilities (K, X, Y)."""
        predicted, truth = (output >= PRESENT).cpu().flatten(1), image.truth.bool().flatten(1)
        return _intersection_and_union((predicted & truth).sum(1), predicted.sum(1), truth.sum(1))


Scorer = PictureScorer | BEVScorer


def scorer_of(model: DDP, dataset: Any, protocol: Protocol | None) -> Scorer:
    """Return what reads and scores the images of a dataset.

    Raises:
        ConfigError: a protocol is missing for depth, or given for another task.
    """
    if (model.config.task == "depth") != (protocol is not None):
        raise ConfigError(f"a protocol is for depth, and needed there; the model's task is {model.config.task}")
    return BEVScorer(model, dataset) if dataset.truth == "masks" else PictureScorer(model, dataset, protocol)


def _intersection_and_union(hits: Tensor, predicted: Tensor, truth: Tensor) -> Tensor:
    return torch.stack([hits, predicted + truth - hits], -1)


def start_of(model: DDP, features: Tensor, image_id: str, seed: int) -> tuple[Tensor, torch.Generator, Tensor]:
    """Return the start noise of an image's run, the generator that goes on with it, and noise of another draw.

    Both are (1, M, h, w), on the features' device; the start noise is that of an evaluation.
    """
    generator = image_generator(seed, image_id)
    noise = draw_noise(model.noise_shape(features), 1, [generator])
    fresh = draw_noise(noise.shape[1:], 1, [image_generator(seed, f"{image_id}#fresh")])
    return noise.to(features.device), generator, fresh.to(features.device)


def noised(model: DDP, clean: Tensor, noise: Tensor, level: float) -> Tensor:
    """Return a clean map (B, M, h, w) with the noise of a level in [0, 1], as in training."""
    return corrupt(clean, noise, torch.full((len(clean),), level, device=clean.device), model.schedule)


def told_and_level(model: DDP, steps: int) -> list[tuple[float, float]]:
    """Return the time that each step tells the decoder, and the noise level of the map that it is given."""
    pairs = time_pairs(steps, model.config.time_difference)
    return list(zip([now for now, _ in pairs], [1.0, *(following for _, following in pairs[:-1])], strict=True))
