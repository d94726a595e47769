"""BEV map segmentation: DDP on a BEVFusion encoder (cameras, or cameras and LiDAR), without compiled extensions."""
