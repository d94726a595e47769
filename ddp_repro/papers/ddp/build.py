"""The models: timm backbones, neck, deformable attention, map decoder, and DDP itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ddp_repro.diffusion.trajectory import Trajectory
from ddp_repro.networks.acceleration import accelerate
from ddp_repro.networks.backbones import load_backbone_weights
from ddp_repro.papers.ddp.depth import DepthBaseline, DepthDDP
from ddp_repro.papers.ddp.model import DDP, Baseline, ImageModel
from ddp_repro.papers.ddp.segmentation import SegmentationBaseline, SegmentationDDP
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.kinds import ModelSettings

__all__ = ["DDP", "Baseline", "ImageModel", "Trajectory", "accelerate", "build_model", "load_backbone_weights"]

_MODELS: dict[tuple[str, bool], Callable[[Any], DDP | Baseline]] = {
    ("segmentation", True): SegmentationDDP,
    ("segmentation", False): SegmentationBaseline,
    ("depth", True): DepthDDP,
    ("depth", False): DepthBaseline,
}


def build_model(config: ModelSettings) -> Any:
    """Build the model that ``config`` describes, with initial weights (backbone: from scratch).

    Raises:
        ConfigError: an impossible combination of settings.
    """
    return config.build()


def image_model(config: ModelConfig) -> DDP | Baseline:
    """Build the model of one picture that ``config`` describes.

    Raises:
        ConfigError: how many classes there are is left to a data set.
    """
    if config.task == "segmentation" and config.num_classes is None:
        raise ConfigError("model.num_classes is none: how many there are is known with a data set alone; give a number")
    return _MODELS[config.task, config.diffusion](config)
