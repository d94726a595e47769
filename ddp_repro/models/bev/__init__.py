"""BEV map segmentation: DDP on a BEVFusion encoder (cameras, or cameras and LiDAR), without compiled extensions."""

from ddp_repro.models.bev.config import MAP_CLASSES, NUSCENES_CAMERA, NUSCENES_FUSION, BEVConfig, paper_plain
from ddp_repro.models.bev.model import BEVDDP, BEVTrajectory

__all__ = [
    "BEVDDP",
    "MAP_CLASSES",
    "NUSCENES_CAMERA",
    "NUSCENES_FUSION",
    "BEVConfig",
    "BEVTrajectory",
    "build_bev",
    "paper_plain",
]


def build_bev(config: BEVConfig) -> BEVDDP:
    """The model that ``config`` describes, with initial weights (backbone: from scratch).

    Raises:
        ConfigError: settings that do not fit each other.
        ValueError: the backbone does not exist or has no maps of strides 4 to 32.
    """
    return BEVDDP(config)
