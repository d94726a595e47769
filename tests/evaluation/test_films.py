"""Prediction of films: frames, order, resuming, damage, and the noise that all frames of a film share."""

import numpy as np
import pytest
from PIL import Image

from ddp_repro.data.io import DataError
from ddp_repro.evaluation.folders.films import Film, FrameReader
from ddp_repro.evaluation.folders.inputs import find_pictures
from ddp_repro.evaluation.folders.manifest import MANIFEST
from ddp_repro.evaluation.predict import predict
from tests.evaluation.conftest import tiny_model
from tests.evaluation.test_folders import entries, place  # noqa: F401  (a fixture)
from tests.evaluation.test_folders import predict as predict_files
from tests.film_files import write_film

COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30)]  # RGB, one frame each


@pytest.fixture
def film(tmp_path):
    return write_film(tmp_path / "drive ü.avi", [np.full((30, 44, 3), colour, np.uint8) for colour in COLOURS])


def test_frames_come_in_any_order(film):
    assert Film(film).count() == 4
    reader = FrameReader()
    for number in (0, 1, 3, 2, 0):
        pixels = reader.read(film, number)
        assert pixels.shape == (30, 44, 3) and pixels.dtype == np.uint8
        np.testing.assert_allclose(pixels.mean((0, 1)), COLOURS[number], atol=6)
    with pytest.raises(DataError, match="drive ü.avi: frame 4 cannot be decoded"):
        reader.read(film, 4)


def test_a_film_goes_on_where_it_stopped(place, capsys):  # noqa: F811
    write_film(place / "in/sub/a.avi", [np.full((30, 44, 3), colour, np.uint8) for colour in COLOURS])
    (place / "in/broken.png").unlink()
    assert predict_files("in/sub/a.avi", "--precision", "bf16") == 0
    first = entries()
    assert [(entry["file"], entry["frame"]) for entry in first] == [("../in/sub/a.avi", number) for number in range(4)]
    assert first[2]["files"][0] == "a/000002_labels.png"
    assert first[0]["model"]["precision"] == "bf16"
    assert Image.open("predictions/a/000003_labels.png").size == (44, 30)
    (place / "predictions/a/000001_overlay.png").unlink()
    with open(f"predictions/{MANIFEST}", "ab") as file:
        file.write(b'{"file": "../in/sub/a.avi", "fr')  # what a kill leaves
    capsys.readouterr()
    assert predict_files("in/sub/a.avi", "--precision", "bf16") == 0
    assert "3 of 4 pictures done before with this model; 1 predicted" in capsys.readouterr().out
    assert entries()[4]["frame"] == 1
    assert predict_files("in") == 0  # a folder with pictures and a film; other settings
    assert "8 predicted" in capsys.readouterr().out


def test_what_is_no_film_is_reported_and_the_others_are_done(place, film, capsys):  # noqa: F811
    (place / "no.mp4").write_bytes(b"no film at all")
    assert predict_files("no.mp4", str(film)) == 1
    captured = capsys.readouterr()
    assert "no.mp4, frame 0: cannot be opened; expected a complete video file" in captured.err
    assert "4 predicted; 1 FAILED" in captured.out and "Traceback" not in captured.err


def test_a_film_that_was_cut_off_is_not_taken_for_whole(tmp_path):
    rng = np.random.default_rng(0)
    whole = write_film(tmp_path / "a.avi", rng.integers(0, 256, (12, 30, 44, 3), np.uint8))
    assert Film(whole).count() == 12
    content = whole.read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
    pictures = find_pictures([str(tmp_path / "cut.avi")], tmp_path / "maps")
    assert 2 < len(pictures) < 12
    reader = FrameReader()
    for picture in pictures[:-1]:
        reader.read(picture.path, picture.frame)
    with pytest.raises(DataError, match="cannot be decoded"):
        reader.read(pictures[-1].path, pictures[-1].frame)


def test_fp16_needs_a_gpu(place, capsys):  # noqa: F811
    assert predict_files("in/a.png", "--device", "cpu", "--precision", "fp16") == 2
    assert "precision fp16 needs a GPU" in capsys.readouterr().err


def test_equal_frames_have_equal_maps():
    """The noise is the film's, not the frame's: what does not move keeps its label."""
    model = tiny_model()
    pixels = np.random.default_rng(0).integers(0, 256, (30, 44, 3), np.uint8)
    first, second, other = (predict(model, pixels.copy(), steps=2, seed=seed).labels for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
