"""BEV map segmentation: DDP on a BEVFusion encoder (cameras, or cameras and LiDAR), without compiled extensions."""

from ddp_repro.papers.ddp.bev.model import BEVDDP, BEVTrajectory
from ddp_repro.papers.ddp.bev.settings import MAP_CLASSES, NUSCENES_CAMERA, NUSCENES_FUSION, BEVConfig, paper_plain

__all__ = [
    "BEVDDP",
    "MAP_CLASSES",
    "NUSCENES_CAMERA",
    "NUSCENES_FUSION",
    "BEVConfig",
    "BEVTrajectory",
    "paper_plain",
]
