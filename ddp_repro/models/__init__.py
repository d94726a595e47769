"""The models: timm backbones, neck, deformable attention, map decoder, and DDP itself."""

from ddp_repro.models.backbones import load_backbone_weights
from ddp_repro.models.segmentation import DDP, Baseline, Trajectory, build_model

__all__ = ["DDP", "Baseline", "Trajectory", "build_model", "load_backbone_weights"]
