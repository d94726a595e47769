"""Settings of BEV map segmentation (Section 4.3): cameras, or cameras and LiDAR, to a map of the ground around the car.

The defaults are the published camera-only configuration; :data:`NUSCENES_FUSION` is the one with LiDAR.  Ground maps
are indexed ``[x, y]`` in the LiDAR frame (x to the right, y forward), cell 0 at the lower bound.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from ddp_repro.papers.ddp.settings import SMALL_SCALE, smallest_backbone
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.kinds import ModelSettings
from ddp_repro.settings.setting import setting
from ddp_repro.tasks.bev.settings import MAP_CLASSES, MAX_CELLS, check_map

CLASS_LIMIT = 12  # the label encoding has a code word per set of classes
FINEST_STRIDE = 8  # image pixels per pixel of the camera feature
GRID_STRIDE = 2  # lifted cells per cell of the feature map
VOXEL_STRIDE = 8  # voxels per cell of the feature map


@dataclass(frozen=True, kw_only=True)
class BEVConfig(ModelSettings):
    """DDP on a BEVFusion encoder."""

    kind: ClassVar[str] = "papers.ddp.bev"
    paper: ClassVar[str] = "ddp"
    builder: ClassVar[str] = "ddp_repro.papers.ddp.bev.model:BEVDDP"

    task: Literal["bev"] = setting("bev", decides="weights")
    # fusion: cameras and LiDAR
    sensors: Literal["camera", "fusion"] = setting("camera", decides="weights")
    classes: tuple[str, ...] = setting(MAP_CLASSES, decides="weights", distinct=True)  # may overlap
    # camera encoder and lift-splat; the backbone is a timm name with maps of strides 8, 16 and 32
    backbone: str = setting("swin_tiny_patch4_window7_224", decides="weights")
    # Swin only; None keeps the timm model's own
    window_size: int | None = setting(None, decides="weights", at_least=2, at_most=64, loose=True)
    drop_path_rate: float = setting(0.3, decides="weights", at_least=0, below=1, loose=True)
    image_size: tuple[int, int] = setting(  # (height, width)
        (256, 704), decides="weights", at_least=4 * FINEST_STRIDE, at_most=8192, multiple_of=4 * FINEST_STRIDE
    )
    # metres along the camera's axis, end excluded
    depth_range: tuple[float, float] = setting((1.0, 60.0), decides="weights", above=0, at_most=1e4, order="<")
    depth_step: float = setting(0.5, decides="weights", above=0, at_most=1e4)
    view_channels: int = setting(80, decides="weights", at_least=1, at_most=4096)
    # metres; features cover [-lift_range, lift_range) in x and y
    lift_range: float = setting(51.2, decides="weights", above=0, at_most=1e4)
    lift_cell: float = setting(0.4, decides="weights", above=0, at_most=1e4)
    lift_height: tuple[float, float] = setting((-10.0, 10.0), decides="weights", at_least=-1e4, at_most=1e4, order="<")
    # LiDAR encoder; fusion only
    voxel_size: tuple[float, float, float] = setting((0.1, 0.1, 0.2), decides="weights", above=0, at_most=1e4)
    lidar_height: tuple[float, float] = setting((-5.0, 3.0), decides="weights", at_least=-1e4, at_most=1e4, order="<")
    max_points: int = setting(10, decides="weights", at_least=1, at_most=10_000)  # per voxel
    # in training, at test
    max_voxels: tuple[int, int] = setting(
        (90_000, 120_000), decides="weights", at_least=1, at_most=100_000_000, loose=True
    )
    lidar_widths: tuple[int, int, int, int] = setting((16, 32, 64, 128), decides="weights", at_least=1, at_most=4096)
    # BEV encoder; camera: stages of a ResNet; fusion: two blocks, (128, 256)
    bev_widths: tuple[int, ...] = setting((160, 320, 640), decides="weights", at_least=1, at_most=4096)
    # fusion only, of the LiDAR and BEV encoders' batch norm: 1 / iterations it remembers
    norm_momentum: float = setting(0.01, decides="weights", above=0, at_most=1, loose=True)
    # map decoder
    # metres; the predicted map covers [-map_range, map_range) in x and y
    map_range: float = setting(50.0, decides="weights", above=0, at_most=1e4)
    map_cell: float = setting(0.5, decides="weights", above=0, at_most=1e4)
    # D: width of the camera and BEV features, the noisy map and the decoder
    channels: int = setting(256, decides="weights", at_least=4, at_most=8192, multiple_of=4)
    layers: int = setting(5, decides="weights", at_least=1, at_most=256)
    heads: int = setting(8, decides="weights", at_least=1, at_most=1024)
    points: int = setting(4, decides="weights", at_least=1, at_most=64)
    feedforward_channels: int = setting(1024, decides="weights", at_least=1, at_most=65_536)
    # False: the released code, which loses the time on its way into the layers
    time_conditioned: bool = setting(True, decides="weights")
    # diffusion
    scale: float = setting(0.01, decides="weights", above=0, at_most=1e3)
    schedule: Literal["cosine", "linear"] = setting("cosine", decides="weights")
    sampler: Literal["ddim", "ddpm"] = setting("ddim", decides="scores")
    time_difference: int = setting(1, decides="scores", at_least=0, at_most=1000)
    # start noises whose predictions are averaged; released: 5 camera, 4 fusion
    noise_samples: int = setting(5, decides="scores", at_least=1, at_most=1000)
    average_steps: bool = setting(True, decides="scores")  # mean probability over steps, as released

    def small(self) -> BEVConfig:
        """Return a narrow, shallow model of a few metres around the car."""
        reach = 2 * GRID_STRIDE * GRID_STRIDE * 4 / 2 * self.lift_cell
        return dataclasses.replace(
            self, backbone=smallest_backbone(self.backbone), image_size=(32, 64), lift_range=reach,
            map_range=int(0.95 * reach / self.map_cell) * self.map_cell,
            depth_range=(self.depth_range[0], self.depth_range[0] + 24 * self.depth_step), view_channels=8,
            channels=32, layers=1, heads=math.gcd(self.heads, 32), feedforward_channels=32,
            noise_samples=min(self.noise_samples, 2), bev_widths=(8,) * len(self.bev_widths), lidar_widths=(4, 4, 4, 4),
            scale=SMALL_SCALE,
        )  # fmt: skip

    def check(self) -> None:
        """Refuse impossible combinations.

        Raises:
            ConfigError: says which field has to change.
        """
        widths = 3 if self.sensors == "camera" else 2
        if len(self.bev_widths) != widths:
            raise ConfigError(f"bev_widths of a {self.sensors} model takes {widths} values; got {self.bev_widths}")
        if len(self.classes) > CLASS_LIMIT:
            raise ConfigError(f"classes takes 1 to {CLASS_LIMIT} names; got {len(self.classes)}")
        if self.channels % self.heads:
            raise ConfigError(f"channels ({self.channels}) must be a multiple of heads ({self.heads})")
        if self.depth_step > (reach := self.depth_range[1] - self.depth_range[0]) or reach / self.depth_step > 1024:
            raise ConfigError(f"depth_step {self.depth_step} must cut depth_range {self.depth_range} into 1 to 1024")
        if not 0 < self.lift_size <= MAX_CELLS or self.lift_size % (4 * GRID_STRIDE):
            raise ConfigError(
                f"the {self.lift_size} lifted cells of a side must be a multiple of {4 * GRID_STRIDE}, at most "
                f"{MAX_CELLS}: change lift_range or lift_cell"
            )
        if self.map_range > self.lift_range:
            raise ConfigError(f"map_range {self.map_range} exceeds lift_range {self.lift_range}")
        check_map(self.map_range, self.map_cell)
        if self.sensors == "fusion" and self.voxel_shape[:2] != (VOXEL_STRIDE * self.grid_size,) * 2:
            raise ConfigError(
                f"{VOXEL_STRIDE} voxels must be as wide as {GRID_STRIDE} lifted cells "
                f"({GRID_STRIDE * self.lift_cell} m); got voxel_size {self.voxel_size}"
            )
        if self.sensors == "fusion" and self.voxel_shape[2] > MAX_CELLS:
            raise ConfigError(f"voxel_size {self.voxel_size} gives {self.voxel_shape[2]} layers; at most {MAX_CELLS}")

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
    """Return settings that sample as the paper says: one start noise, and the prediction of the last step."""
    return dataclasses.replace(config, noise_samples=1, average_steps=False)
