"""The official labelled pictures of NYU-Depth V2, from a stand-in for the opened file."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_prep.nyu_mat import extract_pictures, write_pictures
from ddp_repro.data.io import DataError
from ddp_repro.data.spec import Sample

MAT = Path("nyu_depth_v2_labeled.mat")
SCENES = ("bathroom", "kitchen", "office")


def opened(scenes: tuple[str, ...] = SCENES) -> dict:
    """What h5py gives: reversed axes, and texts as references to columns of character codes."""
    rng = np.random.default_rng(0)
    count = len(scenes)
    references = np.array([[f"#{i}" for i in range(count)]], dtype=object)
    return {
        "images": np.repeat(rng.integers(1, 256, (count, 3, 20, 15), np.uint8), 32, axis=2).repeat(32, axis=3),
        "rawDepths": np.linspace(0, 9.9999, count * 640 * 480, dtype=np.float32).reshape(count, 640, 480),
        "sceneTypes": references,
        **{f"#{i}": np.array([[ord(c)] for c in scene], np.uint16) for i, scene in enumerate(scenes)},
    }


def samples(root: Path, *names: str) -> list[Sample]:
    return [
        Sample(f"{scene}/{number}", root / scene / f"rgb_{number}.jpg", root / scene / f"sync_depth_{number}.png")
        for scene, number in (name.split("/") for name in names)
    ]


def test_listed_pictures_are_written(tmp_path: Path):
    file = opened()
    write_pictures(file, MAT, samples(tmp_path, "bathroom/00000", "office/00002"))
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert names == {f"{s}/{n}" for s, i in (("bathroom", 0), ("office", 2))
                     for n in (f"rgb_{i:05d}.jpg", f"sync_depth_{i:05d}.png")}  # fmt: skip
    depth = cv2.imread(str(tmp_path / "office/sync_depth_00002.png"), cv2.IMREAD_UNCHANGED)
    assert depth.dtype == np.uint16 and np.array_equal(depth, (file["rawDepths"][2].T * 1000).astype(np.uint16))
    image = cv2.imread(str(tmp_path / "office/rgb_00002.jpg"))[..., ::-1]
    assert image.shape == (480, 640, 3) and image[:6].max() < 30 and image[475:].max() < 30 and image[:, :6].max() < 30
    inside = np.abs(image[16:464, 16:624].astype(int) - file["images"][2].T[16:464, 16:624])
    assert np.median(inside) < 12  # JPEG of noise


@pytest.mark.parametrize("key", ["images", "rawDepths", "sceneTypes"])
def test_missing_key_is_named(tmp_path: Path, key: str):
    file = opened()
    del file[key]
    with pytest.raises(DataError, match=rf"labeled\.mat: has no {key}; expected the official file with images, raw"):
        write_pictures(file, MAT, samples(tmp_path, "bathroom/00000"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images": np.zeros((3, 480, 640, 3), np.uint8)}, r"holds images \(3, 480, 640, 3\)"),
        ({"rawDepths": np.zeros((2, 640, 480), np.float32)}, r"rawDepths \(2, 640, 480\)"),
        ({"sceneTypes": np.array([["#0"]], object)}, r"sceneTypes \(1, 1\)"),
        ({"rawDepths": np.full((3, 640, 480), np.nan, np.float32)}, "depth of kitchen/00001 is not a number of 0 to"),
        ({"rawDepths": np.full((3, 640, 480), -1, np.float32)}, "depth of kitchen/00001 is not a number of 0 to"),
    ],
)
def test_wrong_layout_is_named(tmp_path: Path, changes: dict, said: str):
    with pytest.raises(DataError, match=rf"labeled\.mat: .*{said}"):
        write_pictures({**opened(), **changes}, MAT, samples(tmp_path, "kitchen/00001"))


@pytest.mark.parametrize(("name", "said"), [("office/00001", "is of a kitchen; expected"), ("office/00003", "index 3")])
def test_file_that_does_not_fit_the_list(tmp_path: Path, name: str, said: str):
    with pytest.raises(DataError, match=said):
        write_pictures(opened(), MAT, samples(tmp_path, name))


def test_without_h5py_it_is_said_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match=r"labeled\.mat: reading it needs the package h5py; install it"):
        extract_pictures(MAT, samples(tmp_path, "bathroom/00000"))


def test_file_that_is_no_hdf5(tmp_path: Path):
    pytest.importorskip("h5py")
    (tmp_path / "a.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(DataError, match=r"a\.mat: is not HDF5"):
        extract_pictures(tmp_path / "a.mat", samples(tmp_path, "bathroom/00000"))
