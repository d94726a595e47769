"""A synthetic dataset in nuScenes' own format: all tables, six cameras, LiDAR with sweeps, maps of all locations.

Cameras, LiDAR and map show the same towns, so that models can learn from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_prep.mini.layout import save
from data_prep.mini.nuscenes.map import write_expansion, write_mask
from data_prep.mini.nuscenes.rig import Drive, Sensor, make_rig
from data_prep.mini.nuscenes.town import Box, Stretch, Town, make_town
from data_prep.mini.nuscenes.view import Ground, Light, render, scan
from data_prep.nuscenes.build import build_index, pick_splits
from data_prep.nuscenes.tables import import_devkit
from ddp_repro.data.io import DataError
from ddp_repro.tasks.bev.nuscenes.map import LOCATIONS

VERSION = "v1.0-synthetic"
_SAMPLES = 3  # of a scene
_STEP = 500_000  # microseconds between samples
_SWEEPS = 3  # of the LiDAR between two samples
_ANNOTATED = 50.0  # metres around the car
_TABLES = (
    "category", "attribute", "visibility", "instance", "sensor", "calibrated_sensor", "ego_pose", "log", "scene",
    "sample", "sample_data", "sample_annotation", "map",
)  # fmt: skip


class Tables:
    """nuScenes' tables under construction; tokens follow from the seed and a record's name."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.records: dict[str, list[dict]] = {name: [] for name in _TABLES}

    def token(self, *name: object) -> str:
        """Return the token of a name, the same in every run from one seed."""
        return hashlib.md5(repr((self.seed, *name)).encode(), usedforsecurity=False).hexdigest()

    def add(self, table: str, *name: object, **fields: object) -> str:
        """Append a record and return its token."""
        token = self.token(table, *name)
        self.records[table].append({"token": token, **fields})
        return token

    def chain(self, table: str, first: int) -> None:
        """Link the records from number ``first`` on, one after the other."""
        records = self.records[table][first:]
        for number, record in enumerate(records):
            record["prev"] = records[number - 1]["token"] if number else ""
            record["next"] = records[number + 1]["token"] if number + 1 < len(records) else ""

    def write(self, folder: Path) -> None:
        """Write every table as ``<folder>/<table>.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, records in self.records.items():
            (folder / f"{name}.json").write_text(json.dumps(records, indent=0), encoding="utf-8")


def write_dataset(root: Path, counts: dict[str, int], size: tuple[int, int], seed: int) -> None:
    """Fill ``root`` with tables, maps, pictures, clouds and index; equal arguments give equal files.

    Args:
        counts: samples of "train" and "val".
        size: (height, width) of the pictures.

    Raises:
        DataError: more samples than there are streets, or nuscenes-devkit is not installed.
    """
    import_devkit()
    tables = Tables(seed)
    maps = {name: make_town(name, np.random.default_rng((seed, place))) for place, name in enumerate(LOCATIONS)}
    scenes = list(_scenes(counts, maps, seed))
    for location, town in maps.items():
        write_expansion(root / "maps" / "expansion" / f"{location}.json", town, tables.token)
        write_mask(root / _mask_name(tables, location), town)
    _add_constants(tables)
    for location in LOCATIONS:  # one after the other: a town's ground takes some memory
        ground = None
        for name, samples, stretch in tqdm(
            [s[1:] for s in scenes if s[0] == location], desc=location, delay=2, leave=False, disable=None
        ):
            ground = ground or Ground(maps[location], np.random.default_rng((seed, LOCATIONS.index(location), 1)))
            rng = np.random.default_rng((seed, int(name.removeprefix("scene-"))))
            _Scene(root, tables, maps[location], ground, name, size, rng).write(stretch, samples)
    for location in LOCATIONS:
        logs = [log["token"] for log in tables.records["log"] if log["location"] == location]
        file = _mask_name(tables, location)
        tables.add("map", location, category="semantic_prior", filename=file, log_tokens=logs)
    tables.write(root / VERSION)
    build_index(root, root, VERSION, progress=False)


def _scenes(counts: dict[str, int], maps: dict[str, Town], seed: int) -> Iterator[tuple[str, str, int, Stretch]]:
    """(location, name, samples, stretch) of every scene; no two drive along the same stretch."""
    names = pick_splits(VERSION)
    free = {}
    for place, location in enumerate(LOCATIONS):
        stretches = maps[location].stretches
        order = np.random.default_rng((seed, place, 2)).permutation(len(stretches))
        free[location] = [stretches[i] for i in order]
    # Validation takes its stretches first: they stay the same however many scenes there are for training.
    for split in ("val", "train"):
        for number in range(-(-counts[split] // _SAMPLES)):
            location = LOCATIONS[number % len(LOCATIONS)]
            if not free[location]:
                limit = _SAMPLES * sum(len(town.stretches) for town in maps.values())
                raise DataError(f"mini nuscenes: {counts} samples; expected about {limit} in all at most")
            samples = min(_SAMPLES, counts[split] - number * _SAMPLES)
            yield location, names[split][number], samples, free[location].pop()


def _mask_name(tables: Tables, location: str) -> str:
    return f"maps/{tables.token('mask', location)}.png"


def _add_constants(tables: Tables) -> None:
    tables.add("category", "car", name="vehicle.car", description="a parked car")
    tables.add("attribute", "parked", name="vehicle.parked", description="it does not move")
    levels = ("v0-40", "v40-60", "v60-80", "v80-100")
    for number, level in enumerate(levels, start=1):
        tables.records["visibility"].append({"token": str(number), "level": level, "description": ""})


class _Scene:
    """Writes one drive: its records go to the tables, its pictures and clouds to files."""

    def __init__(
        self, root: Path, tables: Tables, town: Town, ground: Ground, name: str, size: tuple[int, int],
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        self.root, self.tables, self.town, self.ground = root, tables, town, ground
        self.name, self.size, self.rng = name, size, rng
        self.rig, self.light = make_rig(rng, size), Light.draw(rng)
        self.number = int(name.removeprefix("scene-"))
        self.start = 1_600_000_000_000_000 + 100_000_000 * self.number  # microseconds
        self.logfile = f"n900-2020-09-13-{self.number:04d}"

    def write(self, stretch: Stretch, samples: int) -> None:
        add, token = self.tables.add, self.tables.token
        self.drive = Drive.draw(stretch, samples * _STEP / 1e6, self.rng)
        log = add("log", self.name, logfile=self.logfile, vehicle="n900", date_captured="2020-09-13",
                  location=self.town.name)  # fmt: skip
        names = [token("sample", self.name, i) for i in range(samples)]
        scene = add("scene", self.name, log_token=log, nbr_samples=samples, first_sample_token=names[0],
                    last_sample_token=names[-1], name=self.name, description="a synthetic drive")  # fmt: skip
        first = len(self.tables.records["sample"])
        for i in range(samples):
            add("sample", self.name, i, timestamp=self.start + i * _STEP, scene_token=scene)
        self.tables.chain("sample", first)
        for sensor in self.rig:
            self._write_sensor(sensor, names)

    def _write_sensor(self, sensor: Sensor, samples: list[str]) -> None:
        camera = sensor.intrinsics is not None
        modality = "camera" if camera else "lidar"
        known = {record["channel"]: record["token"] for record in self.tables.records["sensor"]}
        token = known.get(sensor.channel) or self.tables.add(
            "sensor", sensor.channel, channel=sensor.channel, modality=modality
        )
        mounted = self.tables.add(
            "calibrated_sensor", self.name, sensor.channel, sensor_token=token, **_pose_fields(sensor.to_ego),
            camera_intrinsic=[] if sensor.intrinsics is None else sensor.intrinsics.tolist(),
        )  # fmt: skip
        first = len(self.tables.records["sample_data"])
        per_sample = 1 if camera else 1 + _SWEEPS
        for number in range((len(samples) - 1) * per_sample + 1):
            key, time = number % per_sample == 0, number * _STEP // per_sample + sensor.delay
            sample = samples[-(-number // per_sample)]
            self._write_frame(sensor, mounted, sample, time, key)
        self.tables.chain("sample_data", first)

    def _write_frame(self, sensor: Sensor, mounted: str, sample: str, time: int, key: bool) -> None:
        """One picture or cloud; ``time`` in microseconds from the scene's start."""
        camera, stamp = sensor.intrinsics is not None, self.start + time
        ego = self.drive.ego(time / 1e6)
        suffix = "jpg" if camera else "pcd.bin"
        file = f"{'samples' if key else 'sweeps'}/{sensor.channel}/{self.logfile}__{sensor.channel}__{stamp}.{suffix}"
        pose = self.tables.add("ego_pose", self.name, sensor.channel, time, timestamp=stamp,
                               **_pose_fields(self.town.matrix() @ ego))  # fmt: skip
        self.tables.add(
            "sample_data", self.name, sensor.channel, time, sample_token=sample, ego_pose_token=pose,
            calibrated_sensor_token=mounted, timestamp=stamp, fileformat="jpg" if camera else "pcd", is_key_frame=key,
            height=self.size[0] if camera else 0, width=self.size[1] if camera else 0, filename=file,
        )  # fmt: skip
        view = ego @ sensor.to_ego
        if sensor.intrinsics is not None:
            picture = render(self.town, self.ground, self.light, view, sensor.intrinsics, self.size)
            save(self.root, file, picture)
            return
        cloud = scan(self.town, self.ground, view, self.rng)
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        cloud.tofile(path)
        if key:
            self._annotate(sample, view, cloud)

    def _annotate(self, sample: str, lidar: np.ndarray, cloud: np.ndarray) -> None:
        """Record the cars around a sample; ``lidar`` leads from its frame to the town's."""
        points = cloud[:, :3] @ lidar[:3, :3].T + lidar[:3, 3]
        for number, thing in enumerate(self.town.boxes):
            if thing.kind == "car" and np.hypot(*np.subtract(thing.center, lidar[:2, 3])) < _ANNOTATED:
                self._annotate_car(sample, number, thing, points)

    def _annotate_car(self, sample: str, number: int, thing: Box, points: np.ndarray) -> None:
        records, token = self.tables.records, self.tables.token
        instance = token("instance", self.name, number)
        earlier = [r for r in records["sample_annotation"] if r["instance_token"] == instance]
        annotation = token("sample_annotation", sample, number)
        if earlier:
            earlier[-1]["next"] = annotation
            known = next(r for r in records["instance"] if r["token"] == instance)
            known |= {"last_annotation_token": annotation, "nbr_annotations": len(earlier) + 1}
        else:
            self.tables.add("instance", self.name, number, category_token=records["category"][0]["token"],
                            nbr_annotations=1, first_annotation_token=annotation,
                            last_annotation_token=annotation)  # fmt: skip
        pose = self.town.matrix() @ _upright(thing)
        length, width, height = thing.size
        self.tables.add(
            "sample_annotation", sample, number, sample_token=sample, instance_token=instance, visibility_token="4",
            attribute_tokens=[records["attribute"][0]["token"]], size=[width, length, height], **_pose_fields(pose),
            prev=earlier[-1]["token"] if earlier else "", next="", num_lidar_pts=_count_inside(thing, points),
            num_radar_pts=0,
        )  # fmt: skip


def _count_inside(thing: Box, points: np.ndarray) -> int:
    local = (points - _upright(thing)[:3, 3]) @ _upright(thing)[:3, :3]
    return int((np.abs(local) < np.array(thing.size) / 2 + 0.05).all(1).sum())


def _upright(thing: Box) -> np.ndarray:
    """(4, 4), from the box's frame, whose origin is its middle, to the town's."""
    pose = np.eye(4)
    cosine, sine = np.cos(thing.yaw), np.sin(thing.yaw)
    pose[:2, :2] = [[cosine, -sine], [sine, cosine]]
    pose[:3, 3] = [*thing.center, thing.size[2] / 2]
    return pose


def _pose_fields(pose: np.ndarray) -> dict[str, list[float]]:
    """Return ``translation`` and ``rotation`` (w, x, y, z) of a record."""
    from pyquaternion import Quaternion

    rotation = Quaternion(matrix=pose[:3, :3], atol=1e-9).unit
    return {"translation": pose[:3, 3].tolist(), "rotation": rotation.elements.tolist()}
