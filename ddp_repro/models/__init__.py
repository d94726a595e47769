"""The models: timm backbones, neck, deformable attention, map decoder, and DDP itself."""

from ddp_repro.config import BEVConfig, ModelConfig
from ddp_repro.models.acceleration import accelerate
from ddp_repro.models.backbones import load_backbone_weights
from ddp_repro.models.bev.model import BEVDDP
from ddp_repro.models.ddp import DDP, Baseline, ImageModel, Trajectory
from ddp_repro.models.depth import DepthBaseline, DepthDDP
from ddp_repro.models.segmentation import SegmentationBaseline, SegmentationDDP

__all__ = ["DDP", "Baseline", "ImageModel", "Trajectory", "accelerate", "build_model", "load_backbone_weights"]

_MODELS: dict[tuple[str, bool], type[ImageModel]] = {
    ("segmentation", True): SegmentationDDP,
    ("segmentation", False): SegmentationBaseline,
    ("depth", True): DepthDDP,
    ("depth", False): DepthBaseline,
    ("bev", True): BEVDDP,
}


def build_model(config: ModelConfig | BEVConfig) -> DDP | Baseline:
    """The model that ``config`` describes, with initial weights (backbone: from scratch).

    Raises:
        ValueError: an impossible combination of settings (of a BEV model: its ConfigError).
    """
    return _MODELS[config.task, config.diffusion](config)
