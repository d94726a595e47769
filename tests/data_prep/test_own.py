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
        (colored_mask, "masks/train/train1.png: holds colours, not label ids, as do 1 masks"),
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


def files(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_masks_of_colours_become_masks_of_ids_in_a_new_folder(own, tmp_path, capsys):
    ids = color_masks(own)
    Image.fromarray(ids.pop(own / "masks/val/test2.png")).save(own / "masks/val/test2.png")  # ids already
    before, new = files(own), tmp_path / "new"
    code, report = checked(own, capsys)
    assert code == 1 and [len(split["colored"]) for split in report["splits"]] == [3, 2]
    assert report["splits"][0]["labels"]["pixels"]["red"] == sum((ids[p] == 1).sum() for p in ids if "train" in str(p))
    assert main(["folder", str(own), "--check"]) == 1
    assert "--convert NEW_FOLDER writes the 5 masks of colours as ids" in capsys.readouterr().out
    code, report = checked(own, capsys, "--convert", str(new))
    assert code == 0 and report["root"] == str(new) and report["splits"][0]["colored"] == []
    for path, labels in ids.items():
        assert np.array_equal(np.asarray(Image.open(new / path.relative_to(own))), labels)
    assert files(own) == before
    assert {path.relative_to(new) for path in files(new)} == {path.relative_to(own) for path in before}


def test_colours_of_no_class_are_named_counted_and_ignored(own, tmp_path, capsys):
    ids = color_masks(own)
    for name in ("test1", "test2"):
        mask = np.array(Image.open(own / f"masks/val/{name}.png"))
        mask[0, :3] = (1, 2, 3)
        mask[1, 0] = (9, 9, 9)
        Image.fromarray(mask).save(own / f"masks/val/{name}.png")
    _, report = checked(own, capsys)
    assert report["splits"][1]["strange"] == [[1, 2, 3, 6], [9, 9, 9, 2]]
    said = "[1, 2, 3] (6 pixels), [9, 9, 9] (2 pixels)"
    assert report["splits"][1]["warnings"] == [f"no class has these colours of val: {said}"]
    assert report["splits"][1]["labels"]["ignored"] == 0
    assert main(["folder", str(own), "--convert", str(tmp_path / "new")]) == 0
    printed = capsys.readouterr()
    assert (
        printed.err
        == f"6 masks of colours translated\nwarning: ignored from now on, for no class has these colours: {said}\n"
    )
    written = np.asarray(Image.open(tmp_path / "new/masks/val/test1.png"))
    expected = ids[own / "masks/val/test1.png"].copy()
    expected[0, :3] = expected[1, 0] = 255
    assert np.array_equal(written, expected)


def test_colours_without_a_palette_are_counted(own, capsys):
    color_masks(own)
    (own / "classes.json").write_text(json.dumps(["ground", "red", "blue"]))
    code, report = checked(own, capsys)
    assert code == 1 and {tuple(color[:3]) for color in report["splits"][0]["strange"]} == set(map(tuple, PALETTE))
    assert sum(color[3] for color in report["splits"][0]["strange"]) == 3 * 48 * 64


GOOD = {"names": ["ground", "red", "blue"], "palette": PALETTE}
TWICE = [[0, 0, 0], [0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize(
    ("content", "target", "message"),
    [
        ({"names": GOOD["names"]}, "new", 'has no "palette"'),
        (GOOD | {"palette": TWICE}, "new", "holds a colour twice"),
        (GOOD, "own/new", "expected a new folder beside it"),
        (GOOD, "taken", "exists already"),
    ],
)
def test_conversions_that_are_refused(own, tmp_path, capsys, content, target, message):
    color_masks(own)
    (own / "classes.json").write_text(json.dumps(content))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").touch()
    before = files(tmp_path)
    assert main(["folder", str(own), "--convert", str(tmp_path / target)]) == 2
    assert message in capsys.readouterr().err
    assert files(tmp_path) == before


def test_a_damaged_mask_leaves_no_new_folder(own, tmp_path, capsys):
    color_masks(own)
    path = own / "masks/val/test2.png"
    path.write_bytes(path.read_bytes()[:80])
    assert main(["folder", str(own), "--convert", str(tmp_path / "new")]) == 2
    assert "test2.png: cannot be decoded" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own"]


def test_there_is_nothing_to_convert(own, tmp_path, capsys):
    (own / "classes.json").write_text(json.dumps(GOOD))
    assert main(["folder", str(own), "--convert", str(tmp_path / "new")]) == 2
    assert "no mask holds colours" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        (1000, None),
        (100, "if these are streets, train with model.max_depth=80 evaluation.protocol=outdoor"),
        (10_000, "is the unit right?"),
    ],
)
def test_an_unusual_depth_is_said(tmp_path, capsys, scale, words):
    root = depth_files.write_depth_folder(depth_files.write_depth_folder(tmp_path, "train"), "val")
    for path in root.glob("depth/*/*.png"):
        stored = np.full((24, 32), 2500, np.uint16)
        stored[:6, :], stored[6, 0], stored[6, 1] = 0, 1800, 3600
        depth_files.write_depth(path, stored)
    (root / "depth.json").write_text(json.dumps({"depth_scale": scale}))
    code, report = checked(root, capsys, dataset="depth_folder")
    labels = report["splits"][0]["labels"]
    assert code == 0 and (labels["median"], labels["nearest"], labels["farthest"]) == (
        2500 / scale, 1800 / scale, 3600 / scale,
    )  # fmt: skip
    warnings = report["splits"][0]["warnings"]
    assert not warnings if words is None else warnings[0].endswith(words)
