"""The nuScenes dataset: items in which cameras, LiDAR and map agree, augmentation, and clear errors."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddp_repro.data.io import DataError
from ddp_repro.settings.errors import ConfigError
from ddp_repro.tasks.bev.dataset import NuScenesBEV, balanced_order
from ddp_repro.tasks.bev.nuscenes.geometry import pose_matrix, project_points
from ddp_repro.tasks.bev.nuscenes.points import load_points
from tests.data.nuscenes_files import copy_of, edit_json, open_tiny, tiny_nuscenes

ASPHALT, PAINT = (6, 12), (75, 120)  # intensities of the synthetic ground


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_nuscenes(tmp_path_factory)


@pytest.fixture(scope="module")
def dataset(mini: Path) -> NuScenesBEV:
    return open_tiny(mini)


def on_ground(points: np.ndarray, intensity: tuple[int, int]) -> np.ndarray:
    return points[(points[:, 2] < -1.4) & (points[:, 3] > intensity[0]) & (points[:, 3] < intensity[1])]


def drivable_share(item: dict) -> float:
    """Of the points on asphalt within the map, those whose cell the map calls drivable."""
    cells = np.floor((on_ground(item["points"].numpy(), ASPHALT)[:, :2] + 50) / 0.5).astype(int)
    cells = cells[((cells >= 0) & (cells < 200)).all(1)]
    assert len(cells) > 500
    return float(item["masks"][0].numpy()[cells[:, 0], cells[:, 1]].mean())


def paint_contrast(item: dict) -> float:
    """Brightness of the pictures where the LiDAR met paint, less that where it met asphalt."""
    undone = torch.linalg.inv(item["lidar_augmentation"].double()).numpy()
    points, brightness = item["points"].numpy(), {ASPHALT: [], PAINT: []}
    moved = points.copy()
    moved[:, :3] = points[:, :3] @ undone[:3, :3].T + undone[:3, 3]
    near = moved[np.hypot(moved[:, 0], moved[:, 1]) < 12]
    for camera in range(6):
        matrices = (item[name][camera].numpy() for name in ("camera_to_lidar", "intrinsics", "image_augmentation"))
        matrices = tuple(matrices)
        for kind, found in brightness.items():
            pixels, depth = project_points(on_ground(near, kind), *matrices)
            height, width = item["image"].shape[2:]
            inside = (depth > 1) & (pixels >= 0).all(1) & (pixels < [width, height]).all(1)
            columns, rows = pixels[inside].astype(int).T
            found += item["image"][camera].mean(0).numpy()[rows, columns].tolist()
    assert min(len(found) for found in brightness.values()) > 5
    return float(np.median(brightness[PAINT]) - np.median(brightness[ASPHALT]))


def test_item(dataset: NuScenesBEV) -> None:
    item = dataset[1]
    shapes = {name: tuple(value.shape) for name, value in item.items() if name not in ("points", "id")}
    assert shapes == {
        "image": (6, 3, 32, 64), "camera_to_lidar": (6, 4, 4), "intrinsics": (6, 3, 3),
        "image_augmentation": (6, 4, 4), "lidar_augmentation": (4, 4), "masks": (6, 200, 200),
    }  # fmt: skip
    assert item["masks"].dtype == torch.bool and {item["image"].dtype, item["points"].dtype} == {torch.float32}
    assert item["id"] == dataset.ids[1] and torch.equal(item["lidar_augmentation"], torch.eye(4))
    again = dataset[1]
    assert all(torch.equal(item[name], again[name]) for name in (*shapes, "points"))


def test_cameras_lidar_and_map_agree(dataset: NuScenesBEV) -> None:
    item = open_tiny(dataset.root, image_size=(64, 160), test_resize=1.0)[1]
    assert drivable_share(item) > 0.97
    assert paint_contrast(item) > 0.5


@pytest.mark.parametrize("seed", range(3))
def test_augmented_cameras_lidar_and_map_agree(mini: Path, seed: int) -> None:
    fixed = (1.0, 1.0)  # the map does not follow the scale
    dataset = open_tiny(mini, train=True, image_size=(64, 160), train_resize=(0.9, 1.1), lidar_scale=fixed)
    item = dataset.sample(1, np.random.default_rng(seed))
    assert not torch.equal(item["lidar_augmentation"], torch.eye(4))
    assert drivable_share(item) > 0.96
    assert paint_contrast(item) > 0.4


def test_randomness_is_the_generators(mini: Path) -> None:
    dataset = open_tiny(mini, train=True, sweeps=2)
    one, same, other = (dataset.sample(1, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert all(torch.equal(one[name], same[name]) for name in one if name != "id")
    assert all(not torch.equal(one[name], other[name]) for name in ("image", "image_augmentation", "masks"))
    with pytest.raises(TypeError, match="sampled with"):
        dataset[0]
    with pytest.raises(TypeError, match="indexed"):
        open_tiny(mini).sample(0, np.random.default_rng(0))


def test_sweeps(mini: Path) -> None:
    first, second = open_tiny(mini).records
    assert (len(first.sweeps), len(second.sweeps)) == (0, 4)
    nearest = open_tiny(mini, sweeps=2)[1]["points"]
    assert torch.allclose(nearest[:, 4].unique(), torch.tensor([0.0, 0.125, 0.25]))
    drawn = open_tiny(mini, sweeps=2, train=True)
    lags = {tuple(drawn.sample(1, np.random.default_rng(seed))["points"][:, 4].unique().tolist()) for seed in range(6)}
    assert len(lags) > 1 and all(len(found) == 3 for found in lags)
    # The first sample of a scene has its own cloud again in place of sweeps, without the points close to the LiDAR.
    alone, repeated = (open_tiny(mini, sweeps=count)[0]["points"] for count in (0, 3))
    assert len(alone) < len(repeated) <= 4 * len(alone) and not repeated[:, 4].any()


def test_sweeps_are_moved_into_the_key_frame(dataset: NuScenesBEV) -> None:
    """Walls stay where they are although the car has moved by metres."""
    record = dataset.records[1]
    points = load_points(dataset.root, record, record.sweeps)
    assert np.linalg.norm(record.sweeps[-1].to_lidar[:3, 3]) > 2
    walls = points[points[:, 2] > -1.0]
    key, last = (walls[walls[:, 4] == lag, :3] for lag in np.unique(walls[:, 4])[[0, -1]])
    distance = np.array([np.linalg.norm(key - point, axis=1).min() for point in last])
    assert np.median(distance) < 0.6  # beams are some decimetres apart


def test_camera_only_has_no_points(mini: Path) -> None:
    assert "points" not in open_tiny(mini, lidar=False)[0]
    assert "points" not in open_tiny(mini, lidar=False, train=True).sample(0, np.random.default_rng(0))


def test_batch(dataset: NuScenesBEV) -> None:
    batch = NuScenesBEV.collate([dataset[0], dataset[1]])
    assert batch["image"].shape == (2, 6, 3, 32, 64) and batch["id"] == dataset.ids
    assert [len(cloud) for cloud in batch["points"]] == [len(dataset[i]["points"]) for i in range(2)]


def test_map_of_another_size(mini: Path, dataset: NuScenesBEV) -> None:
    coarse = open_tiny(mini, map_cell=1.0).masks(0)
    assert coarse.shape == (6, 100, 100)
    fine = dataset.masks(0)[0].reshape(100, 2, 100, 2).mean((1, 3)) > 0.5
    assert (coarse[0] != fine).mean() < 0.04


def test_fingerprint(mini: Path, dataset: NuScenesBEV, tmp_path: Path) -> None:
    moved = copy_of(mini, tmp_path / "moved")
    assert open_tiny(moved).fingerprint() == dataset.fingerprint()
    path = moved / "maps/expansion/boston-seaport.json"
    edit_json(path, lambda content: content["node"][0].update(x=1.0))
    assert open_tiny(moved).fingerprint() != dataset.fingerprint()
    assert open_tiny(mini, "val").fingerprint() != dataset.fingerprint()


def test_class_balanced_order(dataset: NuScenesBEV) -> None:
    record = dataset.records[0]
    objects = [("car",)] * 90 + [("bus", "car")] * 10
    records = [dataclasses.replace(record, token=str(i), objects=names) for i, names in enumerate(objects)]
    order = balanced_order(records)
    buses = sum("bus" in records[i].objects for i in order)
    assert len(order) == 2 * 55 and 55 <= buses < 75
    with pytest.raises(DataError, match="no sample has an annotated object"):
        balanced_order([dataclasses.replace(record, objects=())])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sweeps": 11}, "sweeps must be at least 0 and at most 10; got 11"),
        ({"map_cell": 0.3}, "map_cell 0.3 must divide"),
        ({"test_resize": 0.0}, "test_resize must be greater than 0 .*; got 0.0"),
    ],
)
def test_impossible_settings(mini: Path, changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_tiny(mini, **changes)


def remove_index(root: Path) -> None:
    (root / "index/index.json").unlink()


def cut_index(root: Path) -> None:
    path = next((root / "index/train").iterdir())
    path.write_text(path.read_text()[:3000])


def repeat_token(root: Path) -> None:
    edit_json(next((root / "index/train").iterdir()), lambda c: c["samples"].append(c["samples"][0]))


def flatten_camera(root: Path) -> None:
    path = next((root / "index/train").iterdir())
    edit_json(path, lambda c: c["samples"][1]["views"][2].update(intrinsics=[[1, 0, 0], [2, 0, 0], [0, 0, 1]]))


def move_away(root: Path) -> None:
    path = next((root / "index/train").iterdir())
    edit_json(path, lambda c: [sample.update(location="atlantis") for sample in c["samples"]])


def remove_map(root: Path) -> None:
    (root / "maps/expansion/boston-seaport.json").unlink()


def age_map(root: Path) -> None:
    edit_json(root / "maps/expansion/boston-seaport.json", lambda content: content.update(version="1.2"))


def cut_map(root: Path) -> None:
    path = root / "maps/expansion/boston-seaport.json"
    path.write_bytes(path.read_bytes()[:10_000])


def drop_nodes(root: Path) -> None:
    edit_json(root / "maps/expansion/boston-seaport.json", lambda content: content["node"].pop())


@pytest.mark.parametrize(
    ("damage", "messages"),
    [
        (remove_index, ["index.json: no such file", "data_prep nuscenes"]),
        (cut_index, ["scene-0001.json: is not JSON"]),
        (repeat_token, ["scene-0001.json", "{token}", "listed twice"]),
        (flatten_camera, ["scene-0001.json: intrinsics of CAM_FRONT_LEFT", "{other}", "cannot be inverted"]),
        (move_away, ["unknown location 'atlantis'", "boston-seaport"]),
        (remove_map, ["boston-seaport.json: no such file", "map expansion pack v1.3"]),
        (age_map, ["boston-seaport.json: is map version 1.2"]),
        (cut_map, ["boston-seaport.json: cannot be read"]),
        (drop_nodes, ["boston-seaport.json: has a damaged record"]),
    ],
)
def test_datasets_that_cannot_be_opened(mini: Path, tmp_path: Path, damage, messages: list[str]) -> None:
    token, other = open_tiny(mini).ids
    root = copy_of(mini, tmp_path / "damaged")
    damage(root)
    with pytest.raises(DataError) as caught:
        open_tiny(root)
    assert all(message.format(token=token, other=other) in str(caught.value) for message in messages), caught.value


def test_wrong_version_or_split(mini: Path) -> None:
    with pytest.raises(DataError, match=r"of v1\.0-synthetic; expected v1\.0-trainval"):
        open_tiny(mini, version="v1.0-trainval")
    with pytest.raises(DataError, match="no split 'test'; expected one of train, val"):
        open_tiny(mini, "test")


def overwrite_cloud(change) -> object:
    def damage(path: Path) -> None:
        points = np.fromfile(path, np.float32).reshape(-1, 5)
        change(points).astype(np.float32).tofile(path)

    return damage


def shift(points: np.ndarray) -> np.ndarray:
    return points + 500


def spoil(points: np.ndarray) -> np.ndarray:
    points[3, 1] = np.nan
    return points


@pytest.mark.parametrize(
    ("part", "damage", "message"),
    [
        ("views", Path.unlink, "no such file"),
        ("views", lambda path: path.write_bytes(path.read_bytes()[:1500]), "cannot be"),
        ("views", lambda path: Image.new("RGB", (64, 64)).save(path), "is 64 x 64; expected 160 x 90"),
        ("sweeps", Path.unlink, "no such file"),
        ("sweeps", lambda path: path.write_bytes(path.read_bytes()[:1003]), "no whole number of points"),
        ("sweeps", overwrite_cloud(spoil), "1 of .* points are not finite"),
        ("lidar", lambda path: path.write_bytes(b""), "is empty"),
        ("lidar", overwrite_cloud(shift), "is on the map; expected points within"),
    ],
)
def test_broken_files(mini: Path, tmp_path: Path, part: str, damage, message: str) -> None:
    dataset = open_tiny(copy_of(mini, tmp_path / "damaged"), sweeps=9 if part == "sweeps" else 0)
    record = dataset.records[1]
    found = getattr(record, part)
    file = found if isinstance(found, str) else found[1].file
    damage(dataset.root / file)
    with pytest.raises(DataError, match=message) as caught:
        dataset[1]
    assert f"sample {record.token}" in str(caught.value) and file in str(caught.value)


@pytest.mark.parametrize(
    "rotation", [[0, 0, 0, 0], [1, 0, 0, float("nan")], [1, 0, 0]], ids=["zero", "not finite", "too short"]
)
def test_no_rotation(rotation: list[float]) -> None:
    with pytest.raises(ValueError, match="rotation"):
        pose_matrix(rotation, [0, 0, 0])


def test_points_are_not_cut_at_a_range_of_the_dataset(mini: Path, tmp_path: Path) -> None:
    """How far a model looks is its ``lift_range``: the published 51.2 m cut off what one of 80 m would see."""
    dataset = open_tiny(copy_of(mini, tmp_path / "far"), sweeps=0)
    file = dataset.root / dataset.records[0].lidar
    points = np.fromfile(file, "<f4").reshape(-1, 5)
    points[0, :3] = 70, -60, 0
    points.tofile(file)
    kept = dataset[0]["points"].numpy()
    assert len(kept) == len(points) and (np.abs(kept[:, :2]).max(1) > 51.2).any()
