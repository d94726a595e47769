"""Prediction of folders through the command line: names, resuming, damaged pictures, the manifest."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from test_readme import save_untrained

from ddp_repro import cli
from ddp_repro.evaluation.folders.inputs import find_pictures
from ddp_repro.evaluation.folders.manifest import MANIFEST, Manifest
from ddp_repro.settings.overrides import override
from ddp_repro.workbook.catalogue import recipe


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with weights, and pictures of which two have one name and one is damaged."""
    monkeypatch.chdir(tmp_path)
    small = {"model.layers": 1, "data.image_scale": "64,32"}
    save_untrained(override(recipe("cityscapes_mini"), small), tmp_path / "w/w.safetensors")
    save_untrained(override(recipe("kitti_mini"), small), tmp_path / "w/depth.safetensors")
    rng = np.random.default_rng(0)
    for name in ("in/a.png", "in/sub/a.png", "in/sub/a.jpg", "in/sub/deep é/b.JPG"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (30, 44, 3), np.uint8)).save(path)
    (tmp_path / "in/broken.png").write_bytes((tmp_path / "in/a.png").read_bytes()[:300])
    (tmp_path / "in/notes.txt").write_text("no picture")
    return tmp_path


def predict(*words, weights="w/w.safetensors"):
    return cli.main(["predict", *words, "--checkpoint", weights, "--steps", "2"])


def entries(folder="predictions"):
    with open(f"{folder}/{MANIFEST}", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_a_folder_with_a_damaged_picture(place, capsys):
    assert predict("in") == 1
    captured = capsys.readouterr()
    assert "in/broken.png: cannot be decoded" in captured.err and "Traceback" not in captured.err
    assert "4 predicted; 1 FAILED; manifest: predictions/predictions.jsonl" in captured.out
    root = place / "predictions"
    maps = sorted(path.relative_to(root).as_posix() for path in root.rglob("*_labels.png"))
    assert maps == ["a_labels.png", "sub/a.png_labels.png", "sub/a_labels.png", "sub/deep é/b_labels.png"]
    done = {entry["file"]: entry for entry in entries()}
    assert list(done) == ["../in/a.png", "../in/sub/a.jpg", "../in/sub/a.png", "../in/sub/deep é/b.JPG"]
    entry = done["../in/sub/a.png"]
    assert (entry["width"], entry["height"], entry["depth"]) == (44, 30, None)
    labels = np.asarray(Image.open("predictions/sub/a.png_labels.png"))
    assert sum(entry["classes"].values()) == pytest.approx(1, abs=1e-4)
    assert max(entry["classes"].values()) == pytest.approx(np.bincount(labels.ravel()).max() / labels.size, abs=1e-6)
    uncertainty = np.asarray(Image.open("predictions/sub/a.png_uncertainty.png")) / 255
    assert entry["uncertainty"] == pytest.approx(uncertainty.mean(), abs=1 / 255)
    assert entry["model"]["recipe"] == "cityscapes_mini" and entry["model"]["steps"] == 2


def test_it_goes_on_where_it_stopped(place, capsys):
    (place / "in/broken.png").unlink()
    assert predict("in/sub") == 0
    first = entries()
    with open(f"predictions/{MANIFEST}", "ab") as file:
        file.write(b'{"file": "../in/a.png", "fi')  # what a kill leaves
    kept = os.stat("predictions/a_labels.png").st_mtime_ns
    capsys.readouterr()
    assert predict("in/**/*.[jp][pn]g", "in/sub/deep é/b.JPG") == 0
    assert "3 of 4 pictures done before with this model; 1 predicted" in capsys.readouterr().out
    assert entries()[:3] == first
    # the names a and a.png belong to in/sub/a.jpg and in/sub/a.png, which were predicted from the folder in/sub
    assert (entries()[3]["file"], entries()[3]["files"][0]) == ("../in/a.png", "in/a_labels.png")
    assert os.stat("predictions/a_labels.png").st_mtime_ns == kept
    Image.new("RGB", (20, 20)).save("in/a.png")  # a changed picture, and a removed map, are done again
    os.unlink("predictions/deep é/b_overlay.png")
    assert predict("in") == 0
    assert "2 of 4 pictures done before with this model; 2 predicted" in capsys.readouterr().out
    assert cli.main(["predict", "in", "--checkpoint", "w/w.safetensors", "--steps", "3"]) == 0
    assert "4 predicted" in capsys.readouterr().out  # other settings


def test_files_of_one_name_keep_apart(place):
    assert predict("in/a.png", "in/sub/a.png") == 0
    first, second = entries()
    assert not {*first["files"]} & {*second["files"]}
    assert predict("in/sub/a.jpg") == 0
    files = [file for entry in entries() for file in entry["files"]]
    assert len(files) == len({*files}) == 12
    assert all((place / "predictions" / file).is_file() for file in files)


def test_results_are_not_pictures(place):
    (place / "in/broken.png").unlink()
    assert predict("in", "--output", "in/maps") == 0
    assert len(find_pictures(["in"], place / "in/maps")) == 4
    assert predict("in", "--output", ".") == 0  # beside everything else
    assert {picture.path.name for picture in find_pictures(["in/sub"], place)} == {"a.png", "a.jpg", "b.JPG"}


def test_arrays_hold_what_the_pictures_show(place):
    assert predict("in/a.png", "--arrays") == 0
    labels = np.load("predictions/a_labels.npy")
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, np.asarray(Image.open("predictions/a_labels.png")))
    assert np.load("predictions/a_uncertainty.npy").dtype == np.float32
    assert predict("in/a.png", "--output", "d", "--arrays", weights="w/depth.safetensors") == 0
    depth, [entry] = np.load("d/a_depth.npy"), entries("d")
    assert depth.shape == (30, 44) and depth.dtype == np.float32
    assert entry["depth"]["median_m"] == pytest.approx(np.median(depth), abs=1e-4)
    assert entry["classes"] is None and entry["uncertainty_score"] == "view_spread"


def test_a_damaged_manifest_is_refused(place, capsys):
    (place / "predictions").mkdir()
    (place / "predictions" / MANIFEST).write_text('{"file": 1}\n')
    assert predict("in") == 2
    assert "predictions.jsonl: line 1 is not an entry" in capsys.readouterr().err


def test_the_manifest_drops_a_line_that_was_cut_off(tmp_path):
    (tmp_path / MANIFEST).write_bytes(b'{"file": "a')
    assert Manifest(tmp_path).entries == {}
    assert (tmp_path / MANIFEST).read_bytes() == b""


START = """
import sys
from ddp_repro import cli
assert cli.main(["predict", "in/a.png", "--checkpoint", "w/w.safetensors", "--steps", "1"]) == 0
heavy = ("torch._dynamo", "torch._inductor", "sympy", "torchvision.models.detection", "torchvision.datasets",
         "timm.models.beit", "pandas", "matplotlib", "scipy", "accelerate", "IPython", "papermill")
print([name for name in heavy if name in sys.modules])
import timm, torchvision  # whoever needs the rest still gets it
assert torchvision.models.resnet18 and torchvision.ops.nms and len(timm.list_models("resnet*")) > 50
"""


@pytest.mark.slow
def test_predict_starts_without_what_it_does_not_need(place):
    run = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"
