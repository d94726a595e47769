"""The synthetic depth datasets: real layouts and encodings, read with PIL and numpy alone, then by our loaders."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_prep.mini import MINI_DATASETS, write_mini
from data_prep.verify import verify
from ddp_repro.data.io import DataError
from ddp_repro.settings.recipe import DataConfig
from ddp_repro.tasks.build import build_dataset
from tests.data_prep.test_mini import digests

SIZES = {"kitti": (48, 160), "nyu": (60, 80), "sunrgbd": (54, 70)}
LISTS = {
    "kitti": {"train": "kitti_eigen_train.txt", "test": "kitti_eigen_test.txt"},
    "nyu": {"train": "nyu_train.txt", "test": "nyu_test.txt"},
    "sunrgbd": {"test": "SUNRGBD_val_splits.txt"},
}
FOLDERS = {"kitti": ("input", "gt_depth"), "nyu": ("{split}", "{split}"), "sunrgbd": ("", "")}


def counts(dataset: str) -> dict[str, int]:
    return {"train": 0 if dataset == "sunrgbd" else 14, "val": 4}


@pytest.fixture(scope="module", params=["kitti", "nyu", "sunrgbd"])
def mini(request, tmp_path_factory) -> tuple[str, Path]:
    root = tmp_path_factory.mktemp("mini") / request.param
    write_mini(request.param, root, **counts(request.param), size=SIZES[request.param], seed=3)
    return request.param, root


def listed(dataset: str, root: Path, split: str) -> list[list[str]]:
    return [line.split() for line in (root / "splits" / LISTS[dataset][split]).read_text().splitlines()]


def pairs(dataset: str, root: Path, split: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures and stored depth of a split."""
    found = []
    for image, depth, *_ in listed(dataset, root, split):
        if depth != "None":
            paths = [
                root / folder.format(split=split) / name.lstrip("/")
                for folder, name in zip(FOLDERS[dataset], (image, depth), strict=True)
            ]
            picture, stored = Image.open(paths[0]), Image.open(paths[1])
            assert picture.mode == "RGB" and stored.mode == "I;16"
            found.append((np.asarray(picture), np.asarray(stored)))
    return found


def metres(dataset: str, stored: np.ndarray) -> np.ndarray:
    if dataset == "sunrgbd":
        stored = (stored >> 3) | (stored << 13)
    return stored / (256.0 if dataset == "kitti" else 1000.0)


def test_layout_and_encoding(mini):
    dataset, root = mini
    low, high = (1.0, 80.0) if dataset == "kitti" else (0.4, 10.0)
    for split in LISTS[dataset]:
        found = pairs(dataset, root, split)
        assert len(found) == (14 if split == "train" else 4)
        for picture, stored in found:
            assert stored.dtype == np.uint16 and picture.shape[:2] == stored.shape == SIZES[dataset]
            depth = metres(dataset, stored)
            assert low <= depth[stored > 0].min() and depth.max() <= high


def test_measured_share(mini):
    dataset, root = mini
    shares = {split: [np.mean(d > 0) for _, d in pairs(dataset, root, split)] for split in LISTS[dataset]}
    if dataset == "kitti":
        assert all(0.05 < share < 0.2 for split in shares for share in shares[split])
    elif dataset == "nyu":
        assert min(shares["test"]) > 0.95  # completed, as the labelled pictures are
        assert all(0.5 < share < 0.97 for share in shares["train"])
    else:
        assert all(0.5 < share < 0.97 for share in shares["test"])


def test_kitti_drives_focal_length_and_unannotated_lines(tmp_path: Path):
    write_mini("kitti", tmp_path / "mini", train=13, val=1, size=(32, 64))
    train, test = (listed("kitti", tmp_path / "mini", split) for split in ("train", "test"))
    image, depth, focal = train[12]
    assert image == "2011_09_26/2011_09_26_drive_9002_sync/image_02/data/0000000000.png"
    assert depth == "2011_09_26_drive_9002_sync/proj_depth/groundtruth/image_02/0000000000.png"
    assert float(focal) == pytest.approx(721.5377 * 64 / 1242, abs=1e-3)
    assert [line[1] == "None" for line in test] == [False, True, True]
    assert all((tmp_path / "mini" / "input" / line[0]).is_file() for line in test)
    assert len(list((tmp_path / "mini" / "gt_depth").rglob("*.png"))) == 14


def test_kitti_road_is_a_plane(tmp_path: Path):
    write_mini("kitti", tmp_path / "mini", train=8, val=1, size=(96, 320))
    expected = 721.5377 / 1242 * 320 * 1.65 / (np.arange(96) + 0.5 - 172.854 / 375 * 96)
    near = [depth[85:, 140:170] for _, depth in pairs("kitti", tmp_path / "mini", "train")]
    ground = np.concatenate([d[d > 0] for d in near])
    plane = np.concatenate([np.broadcast_to(expected[85:, None], d.shape)[d > 0] for d in near])
    assert np.mean(np.abs(ground / 256.0 - plane) < 1 / 256) > 0.6  # the rest are cars ahead


def test_sunrgbd_bits_are_rotated_and_its_camera_differs(tmp_path: Path):
    write_mini("sunrgbd", tmp_path / "sun", val=2, size=(54, 70))
    for _, stored in pairs("sunrgbd", tmp_path / "sun", "test"):
        low = stored[(stored > 0) & (metres("sunrgbd", stored) < 8.19)]
        assert (low % 8 == 0).all()  # as in the real files, / 8000 gives metres too
        assert np.allclose(low / 8000.0, metres("sunrgbd", low))


def test_our_loaders_read_it(mini):
    dataset, root = mini
    data = DataConfig(dataset=dataset, root=str(root), image_scale=None, crop_size=(32, 48))
    for split in LISTS[dataset]:
        train = split == "train"
        opened = build_dataset(data, split, train=train, mean=(0, 0, 0), std=(1, 1, 1))
        stored = pairs(dataset, root, split)
        assert len(opened) == len(stored)
        assert opened.unannotated == (2 if dataset == "kitti" and not train else 0)
        for i, (picture, depth) in enumerate(stored):
            loaded = opened.load(i)
            assert np.array_equal(loaded[0], picture) and np.allclose(loaded[1], metres(dataset, depth), rtol=1e-6)
        if train:
            assert opened.sample(0, np.random.default_rng(0))["image"].shape == (3, 32, 48)


def test_it_passes_verification(mini):
    report = verify(*mini)
    assert report.ok, str(report)


def test_equal_seeds_give_equal_files(tmp_path: Path):
    for dataset in LISTS:
        some = {"train": 1 if counts(dataset)["train"] else 0, "val": 1, "size": (32, 48)}
        for name, seed in (("one", 0), ("two", 0), ("other", 1)):
            write_mini(dataset, tmp_path / dataset / name, **some, seed=seed)
        one, two, other = (digests(tmp_path / dataset / name) for name in ("one", "two", "other"))
        assert one == two and one.keys() == other.keys()
        assert all(one[name] != other[name] for name in one if not name.startswith("splits"))


def test_sunrgbd_has_no_training_pictures(tmp_path: Path):
    with pytest.raises(DataError, match="mini sunrgbd: 3 training images; expected 0"):
        write_mini("sunrgbd", tmp_path / "mini", train=3)
    assert set(LISTS) < set(MINI_DATASETS)
