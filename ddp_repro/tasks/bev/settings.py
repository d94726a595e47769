"""Settings of BEV samples: where they come from and how they are shaped.

Ground maps are indexed ``[x, y]`` in the LiDAR frame (x to the right, y forward), cell 0 at the lower bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.kinds import DataSettings

# "divider" joins road and lane dividers.
MAP_CLASSES = ("drivable_area", "ped_crossing", "walkway", "stop_line", "carpark_area", "divider")
MAX_SWEEPS = 10  # earlier clouds recorded for a sample; the released training draws 9 of them
TEST_RESIZE = 0.48
TRAIN_RESIZE = (0.38, 0.55)
LIDAR_TURN = 45.0  # degrees
LIDAR_SCALE = (0.9, 1.1)


@dataclass(frozen=True, kw_only=True)
class BEVDataConfig(DataSettings):
    """Where the samples of BEV segmentation come from and how they are shaped. The defaults are the published ones."""

    kind: ClassVar[str] = "tasks.bev"

    dataset: Literal["nuscenes"] = "nuscenes"
    root: str = "data/nuscenes"  # what data_prep wrote
    version: str = "v1.0-trainval"  # of the tables: the index must be of the same
    train_split: str = "train"
    eval_split: str = "val"
    lidar: bool = True  # False: a camera-only model, which has no use for points
    sweeps: int = 9  # earlier clouds added to the key frame's
    image_size: tuple[int, int] = (256, 704)  # (height, width)
    test_resize: float = TEST_RESIZE  # factor from the camera's pixels
    train_resize: tuple[float, float] = TRAIN_RESIZE
    lidar_turn: float = LIDAR_TURN  # degrees, at most, that training turns the ground either way
    lidar_scale: tuple[float, float] = LIDAR_SCALE  # that training scales it by; as released, the masks are not
    map_range: float = 50.0  # metres; masks cover [-map_range, map_range) in x and y
    map_cell: float = 0.5
    class_balanced: bool = False  # training samples drawn so that object classes are equally frequent (CBGS)

    def check(self) -> None:
        """Refuse impossible settings.

        Raises:
            ConfigError: says which field has to change.
        """
        if not 0 <= self.sweeps <= MAX_SWEEPS:
            raise ConfigError(f"sweeps must be 0 to {MAX_SWEEPS}; got {self.sweeps}")
        if min(self.image_size) < 1 or self.test_resize <= 0 or not 0 < self.train_resize[0] <= self.train_resize[1]:
            sizes = f"image_size {self.image_size}, test_resize {self.test_resize}, train_resize {self.train_resize}"
            raise ConfigError(f"{sizes}: expected sizes and factors above 0, the smaller factor first")
        if self.lidar_turn < 0 or not 0 < self.lidar_scale[0] <= self.lidar_scale[1]:
            found = f"lidar_turn {self.lidar_turn}, lidar_scale {self.lidar_scale}"
            raise ConfigError(f"{found}: expected at least 0 degrees, and factors above 0, the smaller first")
        if self.map_cell <= 0 or abs(2 * self.map_range / self.map_cell - self.map_size) > 1e-6 or self.map_size < 1:
            raise ConfigError(f"map_cell {self.map_cell} must divide the map's {2 * self.map_range} m")

    @property
    def map_size(self) -> int:
        """Cells per side of the masks."""
        return round(2 * self.map_range / self.map_cell)
