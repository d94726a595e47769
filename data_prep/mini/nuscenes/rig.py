"""The synthetic car: its cameras, its LiDAR and how it drives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.mini.nuscenes.town import Stretch

# Roughly those of nuScenes' cars: degrees to the left, place in the ego frame (metres), focal length in widths of the
# picture, and milliseconds by which the shutter opens before the LiDAR's time stamp.
_CAMERAS = {
    "CAM_FRONT": (0.0, (1.70, 0.02, 1.51), 0.79, 35),
    "CAM_FRONT_RIGHT": (-56.0, (1.55, -0.49, 1.50), 0.79, 28),
    "CAM_FRONT_LEFT": (55.0, (1.52, 0.49, 1.51), 0.79, 43),
    "CAM_BACK": (180.0, (0.03, 0.0, 1.58), 0.506, 10),
    "CAM_BACK_LEFT": (109.0, (1.04, 0.48, 1.59), 0.79, 1),
    "CAM_BACK_RIGHT": (-111.0, (1.01, -0.48, 1.56), 0.79, 20),
}
LIDAR = "LIDAR_TOP"


@dataclass(frozen=True)
class Sensor:
    """One sensor of one car.

    Attributes:
        to_ego: (4, 4).
        intrinsics: (3, 3); None for the LiDAR.
        delay: microseconds after the LiDAR's time stamp; negative for cameras.
    """

    channel: str
    to_ego: np.ndarray
    intrinsics: np.ndarray | None
    delay: int


def make_rig(rng: np.random.Generator, size: tuple[int, int]) -> list[Sensor]:
    """Return the sensors, mounted a little differently on every car; ``size`` is the pictures' (height, width)."""
    height, width = size
    sensors = [Sensor(LIDAR, _pose(_tilt(rng) @ _turn(-np.pi / 2), (0.94, 0.0, 1.84)), None, 0)]
    for channel, (left, place, focal, early) in _CAMERAS.items():
        level = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # x right, y down, z forward
        rotation = _tilt(rng) @ _turn(np.deg2rad(left) + rng.normal(0, 0.006)) @ level
        length = focal * width * rng.uniform(0.99, 1.01)
        center = width * rng.uniform(0.495, 0.52), height * rng.uniform(0.53, 0.56)
        intrinsics = np.array([[length, 0, center[0]], [0, length, center[1]], [0, 0, 1]])
        sensors.append(Sensor(channel, _pose(rotation, place), intrinsics, -1000 * early))
    return sensors


@dataclass(frozen=True)
class Drive:
    """Along a stretch of street at constant speed, swaying a little."""

    stretch: Stretch
    first: float  # metres from the stretch's start at time 0
    speed: float  # metres per second
    sway: float  # metres

    @classmethod
    def draw(cls, stretch: Stretch, seconds: float, rng: np.random.Generator) -> Drive:
        """Draw a drive of some seconds along a stretch of street."""
        speed = rng.uniform(5.0, 11.0)
        first = rng.uniform(-_BEFORE, max(stretch.length - speed * seconds, 0.0))
        return cls(stretch, first, speed, rng.uniform(0.05, 0.25))

    def ego(self, seconds: float) -> np.ndarray:
        """(4, 4), from the ego frame to the town's."""
        ahead = self.first + self.speed * seconds
        aside, slope = self.sway * np.sin(ahead / 12), self.sway / 12 * np.cos(ahead / 12)
        along = np.array([np.cos(self.stretch.yaw), np.sin(self.stretch.yaw)])
        place = self.stretch.start + ahead * along + aside * np.array([-along[1], along[0]])
        return _pose(_turn(self.stretch.yaw + np.arctan(slope)), (*place, 0.0))


_BEFORE = 10.0  # metres before a stretch, in its crossing, where a drive may begin


def _turn(angle: float) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])


def _tilt(rng: np.random.Generator) -> np.ndarray:
    """Return a small rotation about the ego's x and y."""
    roll, pitch = rng.normal(0, 0.008, 2)
    about_x = np.array([[1, 0, 0], [0, np.cos(roll), -np.sin(roll)], [0, np.sin(roll), np.cos(roll)]])
    about_y = np.array([[np.cos(pitch), 0, np.sin(pitch)], [0, 1, 0], [-np.sin(pitch), 0, np.cos(pitch)]])
    return about_x @ about_y


def _pose(rotation: np.ndarray, translation: tuple[float, ...]) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, translation
    return pose
