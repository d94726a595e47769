"""The synthetic nuScenes, judged by nuscenes-devkit, and the index that data_prep makes of a copy of nuScenes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from nuscenes import NuScenes
from nuscenes.utils.data_classes import LidarPointCloud
from nuscenes.utils.splits import create_splits_scenes
from PIL import Image

from data_prep.__main__ import main
from data_prep.mini import write_mini
from data_prep.nuscenes import prepare
from data_prep.nuscenes.build import build_index
from data_prep.verify import verify
from ddp_repro.data.io import DataError
from ddp_repro.tasks.bev.nuscenes.geometry import project_points
from ddp_repro.tasks.bev.nuscenes.index import CAMERAS, read_split
from ddp_repro.tasks.bev.nuscenes.map import LOCATIONS
from ddp_repro.tasks.bev.nuscenes.points import load_points
from tests.data.nuscenes_files import VERSION, copy_of, edit_json, open_tiny, tiny_nuscenes


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_nuscenes(tmp_path_factory)


@pytest.fixture(scope="module")
def devkit(mini: Path) -> NuScenes:
    return NuScenes(VERSION, str(mini), verbose=False)


# -- the synthetic dataset -------------------------------------------------------------------------------------------


def test_the_devkit_loads_it(mini: Path, devkit: NuScenes) -> None:
    assert len(devkit.table_names) == 13 and all(getattr(devkit, name) for name in devkit.table_names)
    assert [scene["nbr_samples"] for scene in devkit.scene] == [1, 2]
    splits = create_splits_scenes()
    assert devkit.scene[0]["name"] in splits["val"] and devkit.scene[1]["name"] in splits["train"]
    for data in devkit.sample_data:
        path = Path(devkit.get_sample_data_path(data["token"]))
        assert path.is_file() and path.parent.name == data["channel"]
        if data["sensor_modality"] == "camera":
            assert Image.open(path).size == (data["width"], data["height"]) == (160, 90)
    assert {path.stem for path in (mini / "maps/expansion").iterdir()} == set(LOCATIONS)
    for record in devkit.map:
        assert 0.02 < record["mask"].mask().mean() / 255 < 0.9


def test_base_map_shows_the_roads_that_cars_drive_on(devkit: NuScenes) -> None:
    for scene in devkit.scene:
        log = devkit.get("log", scene["log_token"])
        mask = devkit.get("map", log["map_token"])["mask"]
        sample = devkit.get("sample", scene["first_sample_token"])
        pose = devkit.get("ego_pose", devkit.get("sample_data", sample["data"]["LIDAR_TOP"])["ego_pose_token"])
        assert mask.is_on_mask(*pose["translation"][:2])


def test_annotated_cars_are_where_sensors_see_them(mini: Path, devkit: NuScenes) -> None:
    """The devkit's box in a camera's frame and our projection of its centre agree, and the LiDAR hits its surface."""
    hit = 0
    for record in read_split(mini, "train").records:
        sample = devkit.get("sample", record.token)
        cloud = load_points(mini, record, [])
        _, boxes, _ = devkit.get_sample_data(sample["data"]["LIDAR_TOP"])
        inside_lidar = {box.token: box for box in boxes}
        for channel, view in zip(CAMERAS, record.views, strict=True):
            _, seen, intrinsics = devkit.get_sample_data(sample["data"][channel])
            assert np.allclose(intrinsics, view.intrinsics)
            for box in seen:
                center = inside_lidar[box.token].center[None]
                pixels, depth = project_points(center, view.camera_to_lidar, view.intrinsics)
                expected = intrinsics @ box.center
                np.testing.assert_allclose(pixels[0], expected[:2] / expected[2], atol=1e-6)
                np.testing.assert_allclose(depth[0], box.center[2], atol=1e-9)
        for box in boxes:
            annotation = devkit.get("sample_annotation", box.token)
            local = (cloud[:, :3] - box.center) @ box.orientation.rotation_matrix
            width, length, height = box.wlh
            found = (np.abs(local) < np.array([length, width, height]) / 2 + 0.05).all(1).sum()
            assert abs(found - annotation["num_lidar_pts"]) <= 2
            hit += found > 0
    assert hit > 0


def test_sweeps_equal_the_devkits(mini: Path, devkit: NuScenes) -> None:
    record = read_split(mini, "train").records[1]
    sample = devkit.get("sample", record.token)
    theirs, lags = LidarPointCloud.from_file_multisweep(devkit, sample, "LIDAR_TOP", "LIDAR_TOP", nsweeps=5)
    ours = load_points(mini, record, record.sweeps)
    close = (ours[:, 4] == 0) & (np.abs(ours[:, :2]) < 1).all(1)
    ours = ours[~close]  # the devkit takes them from the key frame, too
    np.testing.assert_allclose(ours[:, :4], theirs.points.T, atol=1e-4)
    np.testing.assert_allclose(ours[:, 4], lags[0], atol=1e-6)


def test_equal_arguments_give_equal_files(mini: Path, tmp_path: Path) -> None:
    write_mini("nuscenes", tmp_path / "again", train=2, val=1, size=(90, 160), seed=1)
    assert (tmp_path / "again/manifest.json").read_text() == (mini / "manifest.json").read_text()
    assert verify("nuscenes", mini).ok


def test_more_samples_than_streets(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected about 9"):
        write_mini("nuscenes", tmp_path / "large", train=2000, val=1, size=(32, 32))


# -- the index -------------------------------------------------------------------------------------------------------


def files_of(index: Path) -> dict[str, bytes]:
    return {str(path.relative_to(index)): path.read_bytes() for path in sorted(index.rglob("*.json"))}


def test_prepare_leaves_the_source_alone(mini: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    command = ["nuscenes", "--source", str(mini), "--output", str(tmp_path / "out"), "--version", VERSION]
    assert main(command) == 0
    assert "2 samples (expected 2), 0 left out" in capsys.readouterr().out
    assert files_of(tmp_path / "out/index") == files_of(mini / "index")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["counts"] == {"train": 2, "val": 1} and all(f.startswith("index/") for f in manifest["files"])
    one, two = (open_tiny(root)[1] for root in (mini, tmp_path / "out"))
    assert (one["image"] == two["image"]).all()
    assert main(["nuscenes", "--output", str(tmp_path / "out"), "--verify"]) == 0
    assert "2 samples (expected 2), problems: 0" in capsys.readouterr().out
    with pytest.raises(DataError, match="is the source itself"):
        prepare(mini, mini, VERSION)
    other = copy_of(mini, tmp_path / "other")
    with pytest.raises(DataError, match="is no link to"):
        prepare(other, tmp_path / "out", VERSION)
    assert main(["nuscenes"]) == 2 and "map expansion pack" in capsys.readouterr().err


def test_an_interrupted_run_goes_on(mini: Path, tmp_path: Path) -> None:
    build_index(mini, tmp_path, VERSION)
    complete = files_of(tmp_path / "index")
    kept, lost = tmp_path / "index/train/scene-0001.json", tmp_path / "index/val/scene-0003.json"
    lost.write_text(lost.read_text()[:100])
    (tmp_path / "index/index.json").unlink()
    before = kept.stat().st_mtime_ns
    build_index(mini, tmp_path, VERSION)
    assert files_of(tmp_path / "index") == complete and kept.stat().st_mtime_ns == before


def test_processes_make_no_difference(mini: Path, tmp_path: Path) -> None:
    build_index(mini, tmp_path, VERSION, jobs=2)
    assert files_of(tmp_path / "index") == files_of(mini / "index")


def tables(root: Path, name: str) -> Path:
    return root / VERSION / f"{name}.json"


def first_cloud(root: Path) -> Path:
    return root / read_split(root, "train").records[0].lidar


def cut_table(root: Path) -> None:
    path = tables(root, "ego_pose")
    path.write_text(path.read_text()[:-300])


def repeat_sample(root: Path) -> None:
    edit_json(tables(root, "sample"), lambda records: records.append(records[1]))


def repeat_pose(root: Path) -> None:
    edit_json(tables(root, "ego_pose"), lambda records: records.append(records[-1]))


def lose_pose(root: Path) -> None:
    edit_json(tables(root, "ego_pose"), lambda records: records.pop())


def flatten_camera(root: Path) -> None:
    edit_json(tables(root, "calibrated_sensor"), lambda r: r[-1].update(camera_intrinsic=[[1, 0, 0]] * 3))


def stretch_rotation(root: Path) -> None:
    edit_json(tables(root, "calibrated_sensor"), lambda r: r[-1].update(rotation=[2.0, 0, 0, 0]))


def escape(root: Path) -> None:
    edit_json(tables(root, "sample_data"), lambda r: [x.update(filename="../secret.jpg") for x in r[-1:]])


def lose_sweep(root: Path) -> None:
    (root / read_split(root, "train").records[1].sweeps[1].file).unlink()


def lose_picture(root: Path) -> None:
    (root / read_split(root, "train").records[1].views[5].file).unlink()


def empty_cloud(root: Path) -> None:
    first_cloud(root).write_bytes(b"")


def lose_map(root: Path) -> None:
    (root / "maps/expansion/boston-seaport.json").unlink()


def age_map(root: Path) -> None:
    edit_json(root / "maps/expansion/boston-seaport.json", lambda content: content.pop("version"))


def move_away(root: Path) -> None:
    edit_json(tables(root, "log"), lambda records: [record.update(location="atlantis") for record in records])


@pytest.mark.parametrize(
    ("damage", "messages"),
    [
        (cut_table, ["ego_pose.json: cannot be read"]),
        (repeat_sample, ["sample.json: token", "occurs more than once"]),
        (repeat_pose, ["ego_pose.json: token", "occurs more than once"]),
        (lose_pose, ["ego_pose.json: has no record", "which another table refers to"]),
        (flatten_camera, ["calibrated_sensor.json, token", "camera_intrinsic", "cannot be inverted"]),
        (stretch_rotation, ["calibrated_sensor.json, token", "has length 2"]),
        (escape, ["'../secret.jpg' lies outside of the dataset"]),
        (lose_sweep, ["sweeps/LIDAR_TOP", "no such file"]),
        (lose_picture, ["samples/CAM_BACK_RIGHT", "no such file"]),
        (empty_cloud, ["samples/LIDAR_TOP", "is empty"]),
        (lose_map, ["boston-seaport.json: no such file", "map expansion pack v1.3"]),
        (age_map, ["boston-seaport.json: is map version 1.0"]),
        (move_away, ["unknown location 'atlantis'"]),
    ],
)
def test_bad_copies(mini: Path, tmp_path: Path, damage, messages: list[str]) -> None:
    source = copy_of(mini, tmp_path / "source")
    damage(source)
    with pytest.raises(DataError) as caught:
        build_index(source, tmp_path / "out", VERSION)
    assert all(message in str(caught.value) for message in messages), caught.value
    if damage not in (cut_table, lose_map, age_map, move_away):
        assert any(sample["token"] in str(caught.value) for sample in json.loads(tables(source, "sample").read_text()))
    assert not (tmp_path / "out/index/index.json").exists()


def spoil_cloud(root: Path) -> None:
    path = first_cloud(root)
    points = np.fromfile(path, np.float32)
    points[7] = np.nan
    points.tofile(path)


def shift_cloud(root: Path) -> None:
    path = first_cloud(root)
    (np.fromfile(path, np.float32) + 1000).tofile(path)


def cut_picture(root: Path) -> None:
    path = root / read_split(root, "train").records[0].views[0].file
    path.write_bytes(path.read_bytes()[:-400])


@pytest.mark.parametrize(
    ("damage", "left", "message"),
    [
        (spoil_cloud, 0, "are not finite"),  # the cloud is a sweep of the next sample
        (shift_cloud, 1, "within the model's grid"),
        (cut_picture, 1, "cannot be decoded"),
        (lose_sweep, 1, "no such file"),
        (flatten_camera, 0, "cannot be inverted"),
    ],
)
def test_skip_broken(mini: Path, tmp_path: Path, capsys, damage, left: int, message: str) -> None:
    source, output = copy_of(mini, tmp_path / "source"), tmp_path / "out"
    damage(source)
    command = ["nuscenes", "--source", str(source), "--output", str(output), "--version", VERSION, "--skip-broken"]
    main(command)
    assert f"{left} samples" in capsys.readouterr().out
    index = read_split(output, "train")
    assert len(index.records) == left and len(index.skipped) == 2 - left
    assert all(token in why and message in why for token, why in index.skipped)
    assert message in str(verify("nuscenes", output))
    if left:
        dataset = open_tiny(output)
        assert dataset.skipped == index.skipped and dataset[0]["id"] == index.records[0].token
    else:
        with pytest.raises(DataError, match="has no samples; 2 were left out"):
            open_tiny(output)


def test_verify_names_what_is_wrong(mini: Path, tmp_path: Path) -> None:
    root = copy_of(mini, tmp_path / "copy")
    spoil_cloud(root)
    report = verify("nuscenes", root)
    token = read_split(root, "train").records[0].token
    assert not report.ok and token in str(report) and "are not finite" in str(report)
    lose_map(root)
    assert "map expansion pack v1.3" in str(verify("nuscenes", root))
    cut = root / "index/train/scene-0001.json"
    cut.write_text(cut.read_text()[:-50])
    assert "scene-0001.json: is not JSON" in str(verify("nuscenes", root))
    shutil.rmtree(root / "index")
    assert "index.json: no such file" in str(verify("nuscenes", root))


def test_official_counts() -> None:
    """What is missing of an official version is told, not passed over."""
    from data_prep.nuscenes import COUNTS
    from data_prep.nuscenes.build import pick_splits

    assert COUNTS["v1.0-trainval"] == {"train": 28130, "val": 6019}
    assert {split: len(names) for split, names in pick_splits("v1.0-trainval").items()} == {"train": 700, "val": 150}
    assert {split: len(names) for split, names in pick_splits("v1.0-mini").items()} == {"mini_train": 8, "mini_val": 2}
