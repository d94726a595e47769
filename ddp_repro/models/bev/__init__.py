"""BEV map segmentation: DDP on a BEVFusion encoder (cameras, or cameras and LiDAR), without compiled extensions."""

from ddp_repro.bev_config import MAP_CLASSES, NUSCENES_CAMERA, NUSCENES_FUSION, BEVConfig, paper_plain
from ddp_repro.models.bev.model import BEVDDP, BEVTrajectory

__all__ = [
    "BEVDDP",
    "MAP_CLASSES",
    "NUSCENES_CAMERA",
    "NUSCENES_FUSION",
    "BEVConfig",
    "BEVTrajectory",
    "paper_plain",
]
