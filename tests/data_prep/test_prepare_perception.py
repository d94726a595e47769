"""Sets of depth and normals that GenPercept trains and is tested on: made-up files in the published formats."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from data.depth_files import build
from PIL import Image

from data_prep import hypersim, sintel_normals
from data_prep.__main__ import prepare
from data_prep.placed import SETS
from data_prep.verify import verify
from ddp_repro.data.io import DataError
from ddp_repro.settings.recipe import DataConfig
from ddp_repro.tasks.normals.task import TASK as NORMALS

SIZE = (24, 32)
RNG = np.random.default_rng(0)
METRES = RNG.uniform(1, 9, SIZE).astype(np.float32)


def picture(path: Path, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (*size, 3), np.uint8)).save(
        path, format="PNG" if path.suffix == ".png" else "JPEG"
    )


def stored(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint16)).save(path, format="PNG")


def prepared(name: str, tmp_path: Path) -> Path:
    prepare(name, tmp_path / "source", tmp_path / name)
    return tmp_path / name


def problems(name: str, root: Path) -> list[str]:
    """Return what verify finds, counts apart: the sets here have a picture or two."""
    report = verify(name, root)
    return [problem for split in report.splits for problem in split.problems] + report.problems


def test_scannet(tmp_path):
    source, frame = tmp_path / "source", "scene0406_02/{}/000300"
    picture(source / f"{frame.format('color')}.jpg")
    stored(source / f"{frame.format('depth')}.png", METRES * 1000)
    (source / "splits").mkdir()
    line = f"{frame.format('color')}.jpg {frame.format('depth')}.png\n"
    (source / "splits/scannet_val_sampled_list_800_1.txt").write_text(line)
    root = prepared("scannet", tmp_path)
    assert problems("scannet", root) == []
    dataset = build("scannet", root, "test")
    assert dataset.ids == ["scene0406_02/000300"] and np.allclose(dataset.load(0)[1], METRES, atol=1e-3)


def test_diode_counts_what_its_mask_says(tmp_path):
    folder = tmp_path / "source/val/outdoor/scene_00022/scan_00193"
    name = "00022_00193_outdoor_000_010"
    picture(folder / f"{name}.png")
    mask = (RNG.random(SIZE) < 0.5).astype(np.float32)
    np.save(folder / f"{name}_depth.npy", METRES[..., None])
    np.save(folder / f"{name}_depth_mask.npy", mask)
    root = prepared("diode", tmp_path)
    assert problems("diode", root) == []
    assert np.array_equal(build("diode", root, "val").load(0)[1], METRES * mask)
    np.save(root / folder.relative_to(tmp_path / "source") / f"{name}_depth_mask.npy", mask[1:])
    assert any("with a mask (23, 32)" in problem for problem in problems("diode", root))
    (folder / f"{name}_depth_mask.npy").unlink()
    with pytest.raises(DataError, match=r"has no truth; expected .*_depth_mask\.npy"):
        SETS["diode"].convert(tmp_path / "source", tmp_path / "again")


def test_eth3d_is_raw_floats_called_jpg(tmp_path):
    source = tmp_path / "source"
    picture(source / "rgb/office/images/dslr_images/DSC_0219.JPG")
    depth = source / "depth/office_dslr_depth/office/ground_truth_depth/dslr_images/DSC_0219.JPG"
    depth.parent.mkdir(parents=True)
    values = METRES.copy()
    values[:3] = np.inf
    depth.write_bytes(values.astype("<f4").tobytes())
    root = prepared("eth3d", tmp_path)
    assert problems("eth3d", root) == []
    read = build("eth3d", root, "training").load(0)[1]
    assert not read[:3].any() and np.array_equal(read[3:], METRES[3:])
    with pytest.raises(DataError, match="has no split 'test'; expected training"):
        build("eth3d", root, "test")
    (root / depth.relative_to(source)).write_bytes(b"12345")
    assert any("has 5 bytes; expected float32 for each of the 24 x 32 pixels" in p for p in problems("eth3d", root))


def test_vkitti_ends_at_80_metres_and_is_cropped_as_kitti(tmp_path):
    frames, size = tmp_path / "source/Scene01/15-deg-left/frames", (375, 1242)
    depth = RNG.integers(100, 8001, size)
    depth[:200, :600], depth[200:, :600] = 65535, 8001
    for camera in ("Camera_0", "Camera_1"):
        picture(frames / f"rgb/{camera}/rgb_00007.jpg", size)
        stored(frames / f"depth/{camera}/depth_00007.png", depth)
    root = prepared("vkitti", tmp_path)
    assert problems("vkitti", root) == []
    dataset = build("vkitti", root, "train")
    assert dataset.ids == [f"Scene01/15-deg-left/Camera_{n}/00007" for n in (0, 1)]
    read = dataset.load(0)[1]
    assert read.shape == (352, 1216) and read.max() <= 80
    assert not read[:, :587].any() and np.allclose(read[:, 587:] * 100, depth[23:, 600:1229])


def write_hypersim(source: Path, distance: np.ndarray) -> None:
    h5py = pytest.importorskip("h5py")
    columns = "scene_name,camera_name,frame_id,included_in_public_release,exclude_reason,split_partition_name"
    rows = ["ai_001_001,cam_00,0,True,,train", "ai_001_001,cam_00,1,False,bad,train", "ai_009_001,cam_01,3,True,,val"]
    images = source / "ai_001_001/images"
    picture(images / "scene_cam_00_final_preview/frame.0000.tonemap.jpg", distance.shape)
    geometry = images / "scene_cam_00_geometry_hdf5"
    geometry.mkdir(parents=True)
    with h5py.File(geometry / "frame.0000.depth_meters.hdf5", "w") as file:
        file["dataset"] = distance.astype(np.float16)
    (source / hypersim.LIST).write_text("\n".join([columns, *rows]) + "\n")


def test_hypersim_distance_becomes_depth(tmp_path, monkeypatch):
    monkeypatch.setattr(hypersim, "SIZE", (48, 64))
    focal = hypersim.FOCAL  # of 64 pixels, now
    across, down = np.meshgrid(np.arange(64) - 31.5, np.arange(48) - 23.5)
    wall = 4.0 * np.sqrt(across**2 + down**2 + focal**2) / focal  # a wall 4 m ahead, as distances
    assert np.allclose(hypersim.axial_depth(wall), 4.0)
    wall[0], wall[1], wall[2] = np.nan, 70.0, -1.0
    write_hypersim(tmp_path / "source", wall)
    root = prepared("hypersim", tmp_path)
    assert problems("hypersim", root) == [f"{root}/{split}: cannot be listed (No such file or directory); expected a "
                                          "folder of folders" for split in ("val", "test")]  # fmt: skip
    dataset = build("hypersim", root, "train")
    depth = dataset.load(0)[1]
    assert dataset.ids == ["ai_001_001/cam_00_0000"]
    assert not depth[:3].any() and np.allclose(depth[3:], 4.0, atol=4e-3)


def test_hypersim_at_its_real_size_sees_corners_nearer_than_their_distance():
    depth = hypersim.axial_depth(np.full((768, 1024), 10.0))
    assert depth.max() == pytest.approx(10, abs=1e-5)
    assert depth[0, 0] == pytest.approx(10 * 886.81 / np.sqrt(511.5**2 + 383.5**2 + 886.81**2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / hypersim.LIST).unlink(), "expected the published list of pictures"),
        (lambda root: (root / hypersim.LIST).write_text("a,b\n1,2\n"), "has no scene_name, camera_name"),
        (lambda root: (root / "ai_001_001").rename(root / "ai_777_001"), "holds none of the scenes"),
        (lambda root: next(root.rglob("*.hdf5")).write_bytes(b"x"), "expected HDF5 with `dataset`"),
        (lambda root: next(root.rglob("*.hdf5")).unlink(), "expected HDF5 with `dataset`"),
    ],
)
def test_other_files_than_hypersims_are_refused(change, message, tmp_path):
    write_hypersim(tmp_path / "source", np.full(hypersim.SIZE, 3.0))
    change(tmp_path / "source")
    with pytest.raises(DataError, match=message):
        prepare("hypersim", tmp_path / "source", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def write_sintel(source: Path, normals: np.ndarray) -> Path:
    os.environ["OPENCV_IO_ENABLE_OPENEXR"] = "1"
    picture(source / "alley_1/frame_0001_img.png")
    path = source / "alley_1/frame_0001_normal.exr"
    assert cv2.imwrite(str(path), np.ascontiguousarray(normals[..., ::-1]))
    np.save(source / "alley_1/frame_0001_intrins.npy", np.eye(3))
    return path


def test_sintel_normals_survive_their_new_format(tmp_path):
    normals = RNG.normal(size=(*SIZE, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    normals[0], normals[1] = 0, np.nan
    write_sintel(tmp_path / "source", normals)
    root = prepared("sintel_normals", tmp_path)
    assert problems("sintel_normals", root) == []
    data = DataConfig(dataset="sintel_normals", root=str(root))
    read = NORMALS.open(data, "test", train=False, mean=(0, 0, 0), std=(1, 1, 1), limit=None).load(0)[1]
    assert not read[:, :2].any()
    cosine = (read[:, 2:].transpose(1, 2, 0).astype(float) * normals[2:]).sum(2)
    assert np.degrees(np.arccos(cosine.clip(-1, 1))).max() < 0.03  # of which float32 has its share
    assert np.abs(read[:, 2:].transpose(1, 2, 0) - normals[2:]).max() < 3e-5


def test_sintel_without_normals_is_refused(tmp_path):
    path = write_sintel(tmp_path / "source", np.ones((*SIZE, 3), np.float32))
    path.write_bytes(b"no exr")
    with pytest.raises(DataError, match="expected (normals|three float32 channels) as OpenEXR"):
        sintel_normals.convert(tmp_path / "source", tmp_path / "one")
    path.unlink()
    with pytest.raises(DataError, match="no such file; expected normals as OpenEXR"):
        sintel_normals.convert(tmp_path / "source", tmp_path / "two")
    with pytest.raises(DataError, match="holds no SCENE/NAME_img.png"):
        sintel_normals.convert(tmp_path / "source/alley_1", tmp_path / "three")
