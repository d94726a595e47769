"""`data folder --check` and `--convert`: every mistake of a user's own folder is said before training meets it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_prep.__main__ import main
from tests.data import depth_files
from tests.training.tiny import write_images

PALETTE = [[10, 20, 30], [200, 0, 0], [0, 0, 200]]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    root = write_images(tmp_path / "own", count=3)
    for kind in ("images", "masks"):
        (root / kind / "test").rename(root / kind / "val")
    return root


def checked(root: Path, capsys, *options: str, dataset: str = "folder") -> tuple[int, dict]:
    capsys.readouterr()
    code = main([dataset, str(root), "--check", "--json", *options])
    return code, json.loads(capsys.readouterr().out)


def problems(report: dict) -> list[str]:
    return report["problems"] + [line for split in report["splits"] for line in split["problems"]]


def test_what_is_in_a_good_folder(own, capsys):
    code, report = checked(own, capsys)
    assert code == 0 and report["ok"] and problems(report) == []
    train = report["splits"][0]
    assert (train["split"], train["images"], train["sizes"]) == ("train", 3, {"64x48": 3})
    assert set(train["labels"]["pixels"]) == {"ground", "red", "blue"} and train["labels"]["warnings"] == []
    assert main(["folder", str(own)]) == 0
    printed = capsys.readouterr().out
    assert "train: 3 images; sizes: 64x48 (3)" in printed and printed.endswith("ready for training\n")


def remove_mask(own: Path) -> None:
    (own / "masks/train/train1.png").unlink()


def label_of_no_class(own: Path) -> None:
    Image.new("L", (64, 48), 7).save(own / "masks/train/train1.png")


def other_size(own: Path) -> None:
    Image.new("L", (32, 48)).save(own / "masks/train/train1.png")


def cut_picture(own: Path) -> None:
    path = own / "images/train/train1.png"
    path.write_bytes(path.read_bytes()[:200])


def colored_mask(own: Path) -> None:
    Image.new("RGB", (64, 48)).save(own / "masks/train/train1.png")


def no_split(own: Path) -> None:
    (own / "images/val").rename(own / "images/validation")
    (own / "masks/val").rename(own / "masks/validation")


def no_classes(own: Path) -> None:
    (own / "classes.json").write_text("{")


def nothing_to_learn(own: Path) -> None:
    for path in (own / "masks/train").iterdir():
        Image.new("L", (64, 48), 255).save(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove_mask, "images/train/train1.png: has no pair; expected "),
        (label_of_no_class, "masks/train/train1.png: contains label ids 7; expected ids of 0..2, 255"),
        (other_size, "masks/train/train1.png: is 32 x 48, but its image"),
        (cut_picture, "images/train/train1.png: cannot be decoded"),
        (colored_mask, "masks/train/train1.png: has mode RGB, not label ids"),
        (no_split, "images/val: no such folder; the recipe folder reads it"),
        (no_classes, "classes.json: is not JSON"),
        (nothing_to_learn, "every pixel of train is ignored"),
    ],
)
def test_what_training_would_stumble_over(own, capsys, damage, message):
    damage(own)
    code, report = checked(own, capsys)
    assert code == 1 and not report["ok"]
    (problem,) = problems(report)
    assert message in problem
    assert main(["folder", str(own)]) == 1
    assert f"PROBLEM: {problem}" in capsys.readouterr().out


def test_what_is_only_suspicious(own, capsys):
    for path in (own / "masks/train").iterdir():
        Image.fromarray(np.where(np.eye(48, 64) > 0, 255, 0).astype(np.uint8)).save(path)
    Image.new("L", (64, 48)).save(own / "masks/train/nobody.png")
    code, report = checked(own, capsys)
    said = "; ".join(report["splits"][0]["warnings"])
    assert code == 0
    for words in ("nobody.png: has no image", "hold 0 and 255 only: 255 is ignored", "never occur in train: red, blue"):
        assert words in said


def test_no_folder_is_a_mistake(tmp_path, capsys):
    assert main(["folder", str(tmp_path / "nowhere"), "--check"]) == 2
    assert "nowhere: no such folder" in capsys.readouterr().err


def test_depth_of_ones_own(tmp_path, capsys):
    root = depth_files.write_depth_folder(depth_files.write_depth_folder(tmp_path, "train"), "val")
    code, report = checked(root, capsys, dataset="depth_folder")
    assert code == 0 and report["splits"][0]["labels"]["median"] > 0
    depth_files.write_depth(root / "depth/val/a.png", np.zeros((24, 32), np.uint16))
    depth_files.write_depth(root / "depth/train/a.png", np.zeros((24, 32), np.uint16))
    code, report = checked(root, capsys, dataset="depth_folder")
    assert code == 1 and "val/a.png: holds no measurement to evaluate against" in problems(report)[0]
    assert report["splits"][0]["warnings"] == ["1 of 3 depth maps of train hold no measurement"]


def color_masks(own: Path) -> dict[Path, np.ndarray]:
    """All masks in colours; returns their ids."""
    names = {"names": ["ground", "red", "blue"], "palette": PALETTE}
    (own / "classes.json").write_text(json.dumps(names))
    ids = {path: np.asarray(Image.open(path)) for path in own.glob("masks/*/*.png")}
    for path, labels in ids.items():
        Image.fromarray(np.array(PALETTE, np.uint8)[labels]).save(path)
    return ids


def test_masks_of_colours_become_masks_of_ids(own, capsys):
    ids = color_masks(own)
    assert main(["folder", str(own), "--check"]) == 1
    assert "--convert translates the 6 masks of colours" in capsys.readouterr().out
    code, report = checked(own, capsys, "--convert")
    assert code == 0 and report["splits"][0]["colored"] == []
    for path, labels in ids.items():
        assert np.array_equal(np.asarray(Image.open(path)), labels)
        assert Image.open(own / "masks_rgb" / path.relative_to(own / "masks")).mode == "RGB"
    assert checked(own, capsys, "--convert")[0] == 0  # nothing is left to do


def test_an_unknown_colour_changes_nothing(own, capsys):
    color_masks(own)
    path = own / "masks/val/test2.png"
    mask = np.array(Image.open(path))
    mask[0, :2] = 1, 2, 3
    Image.fromarray(mask).save(path)
    before = {path: path.read_bytes() for path in own.rglob("*.png")}
    assert main(["folder", str(own), "--convert"]) == 2
    assert "test2.png: has the colours [1, 2, 3], which no class has" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in own.rglob("*.png")}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"names": ["ground", "red", "blue"]}, 'has no "palette"'),
        ({"names": ["ground", "red", "blue"], "palette": [[0, 0, 0], [0, 0, 0], [1, 1, 1]]}, "holds a colour twice"),
    ],
)
def test_conversion_needs_a_palette(own, capsys, content, message):
    color_masks(own)
    (own / "classes.json").write_text(json.dumps(content))
    assert main(["folder", str(own), "--convert"]) == 2
    assert message in capsys.readouterr().err
