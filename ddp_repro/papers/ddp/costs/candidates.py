"""DDP as a candidate for the timing of Table 5e."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch

from ddp_repro.costs.timing import Segmenter, labels_of
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.model import DDP
from ddp_repro.papers.ddp.settings import ModelConfig


def ddp_candidates(config: ModelConfig, steps: Sequence[int], device: torch.device | str) -> dict[str, Segmenter]:
    """DDP with initial weights at each number of steps: image to labels at the image's size."""
    model = cast(DDP, build_model(config).to(device).eval())

    def segmenter(count: int) -> Segmenter:
        return lambda images: labels_of(model.sample(images, count), images)

    return {f"DDP, {count} step{'s' if count > 1 else ''}": segmenter(count) for count in steps}
