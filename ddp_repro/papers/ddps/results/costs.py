"""Parameters, multiply-accumulates and milliseconds of a DDPS model: the segmentor once, then the U-Net by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ddp_repro.costs.macs import Macs, count_macs
from ddp_repro.papers.ddps.model import DDPS
from ddp_repro.papers.ddps.settings import DDPSConfig
from ddp_repro.workbook.tables.counts import Count


@dataclass(frozen=True)
class Complexity:
    """What one image costs.

    Attributes:
        parameters: as the release counts, without the segmentor's classifier.
        segmentor: MACs up to its last feature, once per image.
        step: MACs of one call of the prior.
    """

    parameters: int
    segmentor: Macs
    step: Macs

    def macs(self, visited: int) -> int:
        """Return all MACs of one image with this many visited steps; guidance would double those of the prior."""
        return (self.segmentor + self.step * visited).total


@cache
def complexity(config: DDPSConfig, image_size: tuple[int, int]) -> Complexity:
    """Count a model at an image size (height, width), on the meta device: without weights or memory."""
    with torch.device("meta"):
        model = config.build().eval()
        features, segmentor = count_macs(model.encode_image, torch.empty(1, 3, *image_size))
        noisy = torch.zeros(1, *features.shape[-2:], dtype=torch.long)
        _, step = count_macs(model.prior, features, noisy, torch.zeros(1, dtype=torch.long))
    return Complexity(model.released_parameters(), segmentor, step)


def count_ours(config: DDPSConfig, image_size: tuple[int, int], steps: int) -> Count:
    """Count one of our models at (height, width), with the steps that n = ``steps`` visits."""
    counted = complexity(config, image_size)
    with torch.device("meta"):
        visited = len(config.build().steps_of(steps))
    return Count({"parameters": counted.parameters / 1e6, "flops": counted.macs(visited) / 1e9})


def candidates(model: DDPS, runs: list[list[int]]) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return what is timed, by name: the segmentor alone, and refined in runs of these steps; images to labels."""

    def segment(images: Tensor) -> Tensor:
        return labels_of(model.base_prediction(model.encode_image(images)), images)

    def refine(steps: list[int]) -> Callable[[Tensor], Tensor]:
        generator = torch.Generator().manual_seed(0)
        return lambda images: labels_of(model.sample(images, steps=steps, generator=generator), images)

    names = [f"{len(steps)} call{'s' if len(steps) > 1 else ''}" for steps in runs]
    return {"segmentor": segment} | dict(zip(names, map(refine, runs), strict=True))


def labels_of(scores: Tensor, images: Tensor) -> Tensor:
    """Return the classes (B, H, W) at the images' size of scores (B, K, h, w)."""
    return F.interpolate(scores, size=images.shape[-2:], mode="bilinear", align_corners=False).argmax(1)
