"""The synthetic datasets in their real layouts."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from data_prep.__main__ import main
from data_prep.mini import write_mini
from data_prep.verify import verify
from ddp_repro.data.io import DataError, read_label
from ddp_repro.settings.recipe import DataConfig
from ddp_repro.tasks.build import build_dataset

SPLITS = {"ade20k": ("training", "validation"), "cityscapes": ("train", "val")}


def digests(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def build(dataset: str, root: Path, split: str, train: bool = False):
    data = DataConfig(dataset=dataset, root=str(root), image_scale=(96, 64), crop_size=(48, 48))
    return build_dataset(data, split, train=train, mean=(0, 0, 0), std=(1, 1, 1))


@pytest.fixture(scope="module", params=["ade20k", "cityscapes"])
def mini(request, tmp_path_factory) -> tuple[str, Path]:
    root = tmp_path_factory.mktemp("mini") / request.param
    write_mini(request.param, root, train=24, val=4, size=(64, 96), seed=3)
    return request.param, root


def test_real_loaders_read_it(mini):
    dataset, root = mini
    train, val = (build(dataset, root, split, train=i == 0) for i, split in enumerate(SPLITS[dataset]))
    assert len(train) == 24 and len(val) == 4
    assert train.sample(0, np.random.default_rng(0))["image"].shape == (3, 48, 48)
    assert val[0]["image"].shape == (3, 64, 96) and val[0]["label"].shape == (64, 96)
    assert verify(dataset, root).ok


def test_classes_present(mini):
    dataset, root = mini
    train = build(dataset, root, SPLITS[dataset][0])
    found = set()
    for i in range(len(train)):
        found |= {train.class_names[c] for c in np.unique(train.load(i)[1]) if c != 255}
    common = {"road", "sidewalk", "building", "sky", "car", "person", "pole"}
    own = {"tree", "signboard"} if dataset == "ade20k" else {"vegetation", "traffic sign", "terrain"}
    assert common | own <= found and len(found) >= 11


def test_label_ids_are_the_real_ones(mini):
    dataset, root = mini
    samples = build(dataset, root, SPLITS[dataset][0]).samples
    ids = np.unique(np.concatenate([read_label(sample.label).ravel() for sample in samples]))
    if dataset == "ade20k":
        assert {1 + i for i in (1, 2, 6, 11)} <= set(ids.tolist()) and ids.max() <= 150  # building, sky, road, sidewalk
    else:
        assert {1, 7, 8, 11, 23, 26} <= set(ids.tolist()) and ids.max() <= 33


def test_equal_seeds_give_equal_files(tmp_path: Path):
    for dataset in SPLITS:
        for name, seed in (("one", 0), ("two", 0), ("other", 1)):
            write_mini(dataset, tmp_path / dataset / name, train=2, val=1, size=(48, 64), seed=seed)
        one, two, other = (digests(tmp_path / dataset / name) for name in ("one", "two", "other"))
        assert one == two and one.keys() == other.keys() and one != other


def test_datasets_and_splits_show_different_scenes(tmp_path: Path):
    pictures = set()
    for dataset, splits in SPLITS.items():
        write_mini(dataset, tmp_path / dataset, train=2, val=2, size=(48, 64))
        for split in splits:
            pictures |= {build(dataset, tmp_path / dataset, split).load(i)[1].tobytes() for i in range(2)}
    assert len(pictures) == 8


def test_finished_work_is_left_alone(tmp_path: Path):
    write_mini("ade20k", tmp_path / "mini", train=1, val=1, size=(48, 64))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "mini").rglob("*")}
    write_mini("ade20k", tmp_path / "mini", train=1, val=1, size=(48, 64))
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "mini").rglob("*")}


def test_other_content_is_not_overwritten(tmp_path: Path):
    write_mini("ade20k", tmp_path / "mini", train=1, val=1, size=(48, 64))
    before = digests(tmp_path / "mini")
    for changes in ({"seed": 1}, {"train": 2}):
        with pytest.raises(DataError, match="mini: exists already"):
            write_mini("ade20k", tmp_path / "mini", **{"train": 1, "val": 1, "size": (48, 64), **changes})
    with pytest.raises(DataError, match="exists already"):
        write_mini("cityscapes", tmp_path / "mini", train=1, val=1, size=(48, 64))
    assert digests(tmp_path / "mini") == before


def test_two_processes_may_write_the_same_at_once(tmp_path: Path):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(3) as pool:
        tasks = [pool.submit(write_mini, "ade20k", tmp_path / "mini", train=2, val=1, size=(48, 64)) for _ in range(3)]
    assert [task.result() for task in tasks] == [None] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["mini"] and verify("ade20k", tmp_path / "mini").ok


def test_interrupted_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import data_prep.mini

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(data_prep.mini, "write_manifest", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_mini("ade20k", tmp_path / "mini", train=1, val=1, size=(48, 64))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [{"dataset": "camvid"}, {"train": 0}, {"size": (8, 8)}, {"seed": -1}, {"val": -3}]
)
def test_arguments_that_make_no_sense(tmp_path: Path, arguments: dict):
    with pytest.raises(DataError, match="mini|synthetic"):
        write_mini(**{"dataset": "ade20k", "root": tmp_path / "mini", **arguments})
    assert list(tmp_path.iterdir()) == []


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture):
    root = tmp_path / "mini data"
    arguments = ["--train", "2", "--val", "1", "--size", "48", "64"]
    assert main(["mini", "--dataset", "cityscapes", "--output", str(root), *arguments]) == 0
    assert main(["cityscapes", "--output", str(root), "--verify"]) == 0
    assert "2 images (expected 2)" in capsys.readouterr().out
