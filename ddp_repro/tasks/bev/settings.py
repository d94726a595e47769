"""Settings of BEV samples: where they come from and how they are shaped.

Ground maps are indexed ``[x, y]`` in the LiDAR frame (x to the right, y forward), cell 0 at the lower bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.kinds import DataSettings
from ddp_repro.settings.setting import setting

# "divider" joins road and lane dividers.
MAP_CLASSES = ("drivable_area", "ped_crossing", "walkway", "stop_line", "carpark_area", "divider")
MAX_CELLS = 4096  # per side of any grid, and of voxels times the stride
MAX_SWEEPS = 10  # earlier clouds recorded for a sample; the released training draws 9 of them
TEST_RESIZE = 0.48
TRAIN_RESIZE = (0.38, 0.55)
LIDAR_TURN = 45.0  # degrees
LIDAR_SCALE = (0.9, 1.1)
PRESENT = 0.5  # probability from which a class counts as predicted, where no threshold is chosen


def check_map(reach: float, cell: float) -> None:
    """Refuse a map that its cells do not divide.

    Raises:
        ConfigError: says so.
    """
    cells = 2 * reach / cell
    if not 1 <= cells <= MAX_CELLS or abs(cells - round(cells)) > 1e-6:
        raise ConfigError(
            f"map_cell {cell} must divide the map's {2 * reach} m (map_range) into 1 to {MAX_CELLS} cells"
        )


@dataclass(frozen=True, kw_only=True)
class BEVDataConfig(DataSettings):
    """Where the samples of BEV segmentation come from and how they are shaped. The defaults are the published ones."""

    kind: ClassVar[str] = "tasks.bev"

    dataset: Literal["nuscenes"] = setting("nuscenes", decides="weights")
    root: str = setting("data/nuscenes", decides="nothing")  # what data_prep wrote
    version: str = setting("v1.0-trainval", decides="weights")  # of the tables: the index must be of the same
    train_split: str = setting("train", decides="weights")
    eval_split: str = setting("val", decides="scores")
    lidar: bool = setting(True, decides="weights")  # False: a camera-only model, which has no use for points
    # earlier clouds added to the key frame's
    sweeps: int = setting(9, decides="weights", at_least=0, at_most=MAX_SWEEPS)
    image_size: tuple[int, int] = setting((256, 704), decides="weights", at_least=1, at_most=8192)  # (height, width)
    test_resize: float = setting(TEST_RESIZE, decides="scores", above=0, at_most=16)  # factor from the camera's pixels
    train_resize: tuple[float, float] = setting(TRAIN_RESIZE, decides="weights", above=0, at_most=16, order="<=")
    # degrees, at most, that training turns the ground either way
    lidar_turn: float = setting(LIDAR_TURN, decides="weights", at_least=0, at_most=180)
    # that training scales the ground by; as released, the masks are not
    lidar_scale: tuple[float, float] = setting(LIDAR_SCALE, decides="weights", above=0, at_most=16, order="<=")
    # metres; masks cover [-map_range, map_range) in x and y
    map_range: float = setting(50.0, decides="weights", above=0, at_most=1e4)
    map_cell: float = setting(0.5, decides="weights", above=0, at_most=1e4)
    # training samples drawn so that object classes are equally frequent (CBGS)
    class_balanced: bool = setting(False, decides="weights")

    def check(self) -> None:
        """Refuse a map that its cells do not divide.

        Raises:
            ConfigError: says which field has to change.
        """
        check_map(self.map_range, self.map_cell)

    @property
    def map_size(self) -> int:
        """Cells per side of the masks."""
        return round(2 * self.map_range / self.map_cell)
