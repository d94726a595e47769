"""Converting and verifying the depth datasets."""

import hashlib
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data_prep import kitti, kitti_lidar, nyu, sevenscenes, splits, sunrgbd
from data_prep.__main__ import main, prepare
from data_prep.verify import verify
from ddp_repro.data.io import DataError

from ..data import depth_files

GT = "gt_depth/2011_09_26_drive_0002_sync/proj_depth/groundtruth/image_02/0000000069.png"


def names(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def publish(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Declare the lists in ``root/splits`` to be the published ones; returns that folder."""
    lists = {p.name: (p.read_text().count("\n"), normalised_digest(p)) for p in (root / "splits").iterdir()}
    monkeypatch.setattr(splits, "LISTS", lists)
    return root / "splits"


def normalised_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


@pytest.fixture
def made_kitti(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kitti, "COUNTS", {"train": 3, "test": 3})
    root = depth_files.write_kitti(depth_files.write_kitti(tmp_path / "made", "train"), "test")
    publish(root, monkeypatch)
    return root


def raw_kitti(root: Path) -> tuple[Path, Path]:
    """The same as it is downloaded: recordings by date, and depth maps sorted into train and val."""
    shutil.move(root / "input", root / "raw")
    for part, drive in (("train", "2011_09_26_drive_0002_sync"), ("val", "2011_09_26_drive_0009_sync")):
        (root / "annotated" / part).mkdir(parents=True)
        shutil.move(root / "gt_depth" / drive, root / "annotated" / part / drive)
    return root / "raw", root / "annotated"


def test_kitti_from_raw_recordings(made_kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    raw, annotated = raw_kitti(made_kitti)
    output = tmp_path / "aus gabe/kitti"
    options = ["--depth", str(annotated), "--splits", str(made_kitti / "splits"), "--output", str(output)]
    assert main(["kitti", "--source", str(raw), *options]) == 0
    assert "3 images (expected 3), 2 with ground truth" in capsys.readouterr().out
    assert len(names(output)) == 3 + 2 + 2 + 1 and GT in names(output)  # images, depth, lists, manifest
    dataset = depth_files.build("kitti", output, "test")
    assert dataset.unannotated == 1 and os.path.samefile(
        dataset.samples[0].image, raw / dataset.samples[0].image.relative_to(output / "input")
    )


def test_kitti_from_one_folder(made_kitti: Path, tmp_path: Path):
    prepare("kitti", made_kitti, tmp_path / "out", splits=made_kitti / "splits", depth=None)
    assert verify("kitti", tmp_path / "out").ok


def test_kitti_with_a_file_missing(made_kitti: Path, tmp_path: Path):
    (made_kitti / GT).unlink()
    with pytest.raises(DataError, match=r"0000000069\.png: no such file; expected 5 files, of which 1 are missing"):
        prepare("kitti", made_kitti, tmp_path / "out", splits=made_kitti / "splits")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_kitti_without_depth_or_recordings(made_kitti: Path, tmp_path: Path):
    shutil.rmtree(made_kitti / "gt_depth")
    with pytest.raises(DataError, match=r"holds no 2011_09_26_drive_0002_sync; expected KITTI's data_depth_annotated"):
        prepare("kitti", made_kitti, tmp_path / "out", splits=made_kitti / "splits")
    shutil.rmtree(made_kitti / "input")
    with pytest.raises(DataError, match=r"holds no 2011_09_26/.*; expected KITTI's raw recordings"):
        prepare("kitti", made_kitti, tmp_path / "out", splits=made_kitti / "splits")


@pytest.fixture
def made_nyu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(nyu, "COUNTS", {"train": 3, "test": 3})
    root = depth_files.write_nyu(depth_files.write_nyu(tmp_path / "made", "train"), "test")
    publish(root, monkeypatch)
    return root


@pytest.mark.parametrize("apart", [True, False])
def test_nyu(made_nyu: Path, tmp_path: Path, apart: bool):
    source, options = made_nyu, ["--splits", str(made_nyu / "splits"), "--output", str(tmp_path / "out")]
    if apart:  # as BTS has them
        source = Path(shutil.move(made_nyu / "train", tmp_path / "sync"))
        options += ["--test", str(shutil.move(made_nyu / "test", tmp_path / "official"))]
    assert main(["nyu", "--source", str(source), *options]) == 0
    assert depth_files.build("nyu", tmp_path / "out", "test").ids[0] == "kitchen_0028b/00045"


def test_nyu_test_pictures_that_are_not_there(made_nyu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = []
    monkeypatch.setattr(nyu, "extract_pictures", lambda mat, samples: found.append((mat, len(samples))))
    (tmp_path / "labeled.mat").write_bytes(b"")
    prepare("nyu", made_nyu, tmp_path / "out", splits=made_nyu / "splits", test=tmp_path / "labeled.mat")
    assert found == [(tmp_path / "labeled.mat", 3)]
    with pytest.raises(DataError, match="nowhere: no such file or folder; expected nyu_depth_v2_labeled"):
        prepare("nyu", made_nyu, tmp_path / "out2", splits=made_nyu / "splits", test=tmp_path / "nowhere")
    shutil.rmtree(made_nyu / "test")
    with pytest.raises(DataError, match=r"holds no kitchen_0028b/rgb_00045\.jpg; expected the test pictures"):
        prepare("nyu", made_nyu, tmp_path / "out2", splits=made_nyu / "splits")


@pytest.mark.parametrize("inner", ["", "SUNRGBD"])
def test_sunrgbd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: str):
    monkeypatch.setattr(sunrgbd, "COUNTS", {"test": 1})
    millimetres = np.full((8, 9), 2000, np.uint16)
    made = depth_files.write_sunrgbd(tmp_path / "made", millimetres)
    prepare("sunrgbd", made / inner, tmp_path / "out", splits=publish(made, monkeypatch))
    assert verify("sunrgbd", tmp_path / "out").ok
    assert (depth_files.build("sunrgbd", tmp_path / "out", "test").load(0)[1] == 2).all()


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two frames as the repository has them: 640 x 480, 65535 where nothing was measured."""
    frames = {"train": range(0, 1), "test": range(740, 741)}
    monkeypatch.setattr(sevenscenes, "FRAMES", frames)
    monkeypatch.setattr(sevenscenes, "COUNTS", dict.fromkeys(frames, 1))
    depth = np.arange(480 * 640, dtype=np.uint32).reshape(480, 640).astype(np.uint16) // 40 + 1000
    depth[:4] = 65535
    for number in (0, 740):
        name = tmp_path / "repo/data" / f"frame-{number:06d}"
        depth_files.write_pair(name.with_name(f"{name.name}.color.jpg"), None, (480, 640))
        depth_files.write_depth(name.with_name(f"{name.name}.depth.png"), depth)
    return tmp_path / "repo"


def test_sevenscenes(room: Path, tmp_path: Path):
    prepare("sevenscenes", room, tmp_path / "out")
    prepare("sevenscenes", tmp_path / "out", tmp_path / "again")
    assert names(tmp_path / "out") == names(tmp_path / "again") and verify("sevenscenes", tmp_path / "again").ok
    image, depth = depth_files.build("sevenscenes", tmp_path / "out", "test").load(0)
    assert image.shape == (240, 320, 3) and depth.shape == (240, 320) and not depth[:2].any() and depth[2:].all()
    stored = cv2.imread(str(room / "data/frame-000740.depth.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(np.rint(depth[2:] * 1000), stored[4::2, ::2])


def test_sevenscenes_of_another_size(room: Path, tmp_path: Path):
    Image.new("RGB", (320, 240)).save(room / "data/frame-000740.color.jpg")
    with pytest.raises(
        DataError, match=r"frame-000740: colour \(240, 320\), depth \(480, 640\); expected \(480, 640\)"
    ):
        prepare("sevenscenes", room, tmp_path / "out")


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two frames with a scan each: a wall 10 m ahead."""
    frames = {"train": range(0, 1), "val": range(54, 55)}
    monkeypatch.setattr(kitti_lidar, "FRAMES", frames)
    monkeypatch.setattr(kitti_lidar, "COUNTS", dict.fromkeys(frames, 1))
    root = tmp_path / "repo/images/KITTI/2011_09_26"
    (root / "velodyne_points/data").mkdir(parents=True)
    wall = np.array([(10, y, z, 0.5) for y in np.linspace(-5, 5, 50) for z in np.linspace(-1, 1, 9)], np.float32)
    for number in (0, 54):
        depth_files.write_pair(root / f"image_02/data/{number:010d}.png", None, (375, 1242))
        wall.tofile(root / f"velodyne_points/data/{number:010d}.bin")
    return tmp_path / "repo"


def test_kitti_lidar(drive: Path, tmp_path: Path):
    prepare("kitti_lidar", drive, tmp_path / "out")
    prepare("kitti_lidar", tmp_path / "out", tmp_path / "again")
    assert names(tmp_path / "out") == names(tmp_path / "again") and "calib.json" in names(tmp_path / "out")
    dataset = depth_files.build("kitti_lidar", tmp_path / "out", "val")
    image, depth = dataset.load(0)
    assert image.shape == (352, 1216, 3) and np.count_nonzero(depth) == 450
    assert np.abs(depth[depth > 0] - 9.73).max() < 0.1  # the camera is 0.27 m in front of the scanner


def test_kitti_lidar_takes_the_calibration_of_its_source(drive: Path, tmp_path: Path):
    (drive / "images/KITTI/2011_09_26/calib.json").write_text("{}")
    with pytest.raises(DataError, match=r"calib\.json: cannot be read .*expected JSON with P_rect_02"):
        prepare("kitti_lidar", drive, tmp_path / "out")


@pytest.mark.parametrize("dataset", ["kitti", "nyu", "sunrgbd", "sevenscenes", "kitti_lidar"])
def test_wrong_or_no_source(tmp_path: Path, dataset: str, monkeypatch: pytest.MonkeyPatch, capsys):
    for write in (depth_files.write_kitti, depth_files.write_nyu):
        write(write(tmp_path / "made", "train"), "test")
    depth_files.write_sunrgbd(tmp_path / "made", np.ones((4, 4), np.uint16))
    lists = publish(tmp_path / "made", monkeypatch)
    (tmp_path / "in").mkdir()
    options = ["--splits", str(lists)] if dataset in ("kitti", "nyu", "sunrgbd") else []
    assert main([dataset, "--source", str(tmp_path / "in"), "--output", str(tmp_path / "out"), *options]) == 2
    assert "in: holds no " in (said := capsys.readouterr().err) and "; expected " in said and "Traceback" not in said
    assert main([dataset, "--output", str(tmp_path / "out")]) == 2
    assert f"python -m data_prep {dataset} --source" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "made"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda root: (root / GT).unlink(), "0000000069.png: no such file"),
        (lambda root: depth_files.write_depth(root / GT, np.ones((24, 32), np.uint8)), "is a PNG of mode L"),
        (lambda root: depth_files.write_depth(root / GT, np.zeros((24, 32), np.uint16)), "holds no measurement"),
        (lambda root: depth_files.write_depth(root / GT, np.full((24, 31), 999, np.uint16)), "is 31 x 24, but its"),
        (lambda root: depth_files.write_depth(root / GT, np.full((24, 32), 2, np.uint16)), "median depth is 0.00781 m"),
        (lambda root: depth_files.write_list(root, "kitti_eigen_test.txt", ["a"]), "line 1: is 'a'"),
        (lambda root: shutil.rmtree(root / "splits"), "kitti_eigen_test.txt: cannot be read"),
    ],
)
def test_verify_finds_what_is_wrong(made_kitti: Path, damage, said: str, capsys: pytest.CaptureFixture):
    damage(made_kitti)
    report = verify("kitti", made_kitti)
    assert not report.ok and said in "\n".join(report.splits[1].problems)
    assert main(["kitti", "--output", str(made_kitti), "--verify"]) == 1
    assert said in capsys.readouterr().out


def test_verify_says_how_much_is_measured(made_kitti: Path):
    half = np.zeros((24, 32), np.uint16)
    half[:, :16] = 2560
    for path in (made_kitti / "gt_depth").rglob("*.png"):
        depth_files.write_depth(path, half)
    report = verify("kitti", made_kitti)
    assert [split.measured for split in report.splits] == [0.5, 0.5]
    assert not any(split.problems for split in report.splits)
    assert "3 images (expected 697), 2 with ground truth, 50.0% of their pixels measured" in str(report)


@pytest.mark.data
@pytest.mark.parametrize(("dataset", "folder"), [("sevenscenes", "sevenscenes"), ("kitti_lidar", "kitti_lidar_seq")])
def test_real_folders(data: Path, tmp_path: Path, dataset: str, folder: str):
    prepare(dataset, data / folder, tmp_path / "out")
    report = verify(dataset, tmp_path / "out")
    assert report.ok and all(split.found == split.expected for split in report.splits)
