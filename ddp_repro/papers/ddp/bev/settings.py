"""Settings of BEV map segmentation (Section 4.3): cameras, or cameras and LiDAR, to a map of the ground around the car.

The defaults are the published camera-only configuration; :data:`NUSCENES_FUSION` is the one with LiDAR.  Ground maps
are indexed ``[x, y]`` in the LiDAR frame (x to the right, y forward), cell 0 at the lower bound.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal

from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.kinds import ModelSettings
from ddp_repro.tasks.bev.settings import MAP_CLASSES

CLASS_LIMIT = 12  # the label encoding has a code word per set of classes
FINEST_STRIDE = 8  # image pixels per pixel of the camera feature
GRID_STRIDE = 2  # lifted cells per cell of the feature map
VOXEL_STRIDE = 8  # voxels per cell of the feature map


@dataclass(frozen=True, kw_only=True)
class BEVConfig(ModelSettings):
    """DDP on a BEVFusion encoder."""

    kind: ClassVar[str] = "papers.ddp.bev"
    paper: ClassVar[str] = "ddp"
    builder: ClassVar[str] = "ddp_repro.papers.ddp.build:build_model"

    task: Literal["bev"] = "bev"
    sensors: Literal["camera", "fusion"] = "camera"  # fusion: cameras and LiDAR
    classes: tuple[str, ...] = MAP_CLASSES  # may overlap
    # camera encoder and lift-splat
    backbone: str = "swin_tiny_patch4_window7_224"  # a timm name with maps of strides 8, 16 and 32
    window_size: int | None = None  # Swin only; None keeps the timm model's own
    drop_path_rate: float = 0.3
    image_size: tuple[int, int] = (256, 704)  # (height, width)
    depth_range: tuple[float, float] = (1.0, 60.0)  # metres along the camera's axis, end excluded
    depth_step: float = 0.5
    view_channels: int = 80
    lift_range: float = 51.2  # metres; features cover [-lift_range, lift_range) in x and y
    lift_cell: float = 0.4
    lift_height: tuple[float, float] = (-10.0, 10.0)
    # LiDAR encoder; fusion only
    voxel_size: tuple[float, float, float] = (0.1, 0.1, 0.2)
    lidar_height: tuple[float, float] = (-5.0, 3.0)
    max_points: int = 10  # per voxel
    max_voxels: tuple[int, int] = (90_000, 120_000)  # in training, at test
    lidar_widths: tuple[int, int, int, int] = (16, 32, 64, 128)
    # BEV encoder
    bev_widths: tuple[int, ...] = (160, 320, 640)  # camera: stages of a ResNet; fusion: two blocks, (128, 256)
    norm_momentum: float = 0.01  # fusion only, of the LiDAR and BEV encoders' batch norm: 1 / iterations it remembers
    # map decoder
    map_range: float = 50.0  # metres; the predicted map covers [-map_range, map_range) in x and y
    map_cell: float = 0.5
    channels: int = 256  # D: width of the camera and BEV features, the noisy map and the decoder
    layers: int = 5
    heads: int = 8
    points: int = 4
    feedforward_channels: int = 1024
    time_conditioned: bool = True  # False: the released code, which loses the time on its way into the layers
    # diffusion
    scale: float = 0.01
    schedule: Literal["cosine", "linear"] = "cosine"
    sampler: Literal["ddim", "ddpm"] = "ddim"
    time_difference: int = 1
    noise_samples: int = 5  # start noises whose predictions are averaged; released: 5 camera, 4 fusion
    average_steps: bool = True  # mean probability over steps, as released

    def check(self) -> None:
        """Refuse impossible combinations (when a model is built: overrides come one at a time).

        Raises:
            ConfigError: says which field has to change.
        """
        widths = 3 if self.sensors == "camera" else 2
        if len(self.bev_widths) != widths:
            raise ConfigError(f"bev_widths of a {self.sensors} model takes {widths} values; got {self.bev_widths}")
        if not 1 <= len(self.classes) <= CLASS_LIMIT:
            raise ConfigError(f"classes takes 1 to {CLASS_LIMIT} names; got {len(self.classes)}")
        if self.noise_samples < 1:
            raise ConfigError(f"noise_samples must be at least 1; got {self.noise_samples}")
        if any(side % (4 * FINEST_STRIDE) for side in self.image_size):
            raise ConfigError(f"image_size must be multiples of {4 * FINEST_STRIDE}; got {self.image_size}")
        if self.lift_size % (4 * GRID_STRIDE):
            raise ConfigError(f"the {self.lift_size} lifted cells of a side must be a multiple of {4 * GRID_STRIDE}")
        if self.map_range > self.lift_range:
            raise ConfigError(f"map_range {self.map_range} exceeds lift_range {self.lift_range}")
        if self.sensors == "fusion" and self.voxel_shape[:2] != (VOXEL_STRIDE * self.grid_size,) * 2:
            raise ConfigError(
                f"{VOXEL_STRIDE} voxels must be as wide as {GRID_STRIDE} lifted cells "
                f"({GRID_STRIDE * self.lift_cell} m); got voxel_size {self.voxel_size}"
            )

    @property
    def diffusion(self) -> bool:
        """There is no BEV baseline without diffusion."""
        return True

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes)

    @property
    def feature_channels(self) -> int:
        """F, channels of the BEV feature that the noisy map is fused with."""
        return self.channels if self.sensors == "camera" else 2 * self.channels

    @property
    def lift_size(self) -> int:
        """Lifted cells per side."""
        return round(2 * self.lift_range / self.lift_cell)

    @property
    def grid_size(self) -> int:
        """Cells per side of the BEV feature and of the noisy map."""
        return self.lift_size // GRID_STRIDE

    @property
    def map_size(self) -> int:
        """Cells per side of the predicted map."""
        return round(2 * self.map_range / self.map_cell)

    @property
    def point_range(self) -> tuple[float, ...]:
        """LiDAR range (x, y, z low, x, y, z high) in metres."""
        return (-self.lift_range, -self.lift_range, self.lidar_height[0],
                self.lift_range, self.lift_range, self.lidar_height[1])  # fmt: skip

    @property
    def voxel_shape(self) -> tuple[int, int, int]:
        """Voxels along x, y and z."""
        low, high = self.point_range[:3], self.point_range[3:]
        x, y, z = (round((b - a) / size) for a, b, size in zip(low, high, self.voxel_size, strict=True))
        return x, y, z


NUSCENES_CAMERA = BEVConfig()
NUSCENES_FUSION = BEVConfig(sensors="fusion", bev_widths=(128, 256), noise_samples=4)


def paper_plain(config: BEVConfig) -> BEVConfig:
    """The sampling that the paper describes: one start noise, and the prediction of the last step."""
    return dataclasses.replace(config, noise_samples=1, average_steps=False)
