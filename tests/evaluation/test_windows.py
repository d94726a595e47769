"""Prediction by windows: equal to the whole picture under one window, without seams under many, in bounded memory."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ddp_repro.evaluation.predict import predict
from ddp_repro.evaluation.windows import blending, check_window, spans
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.overrides import override
from ddp_repro.workbook.catalogue import recipe
from tests.evaluation.conftest import tiny_model
from tests.evaluation.tiny_depth import tiny_depth_model
from tests.test_cli import error_of
from tests.test_readme import save_untrained

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (150, 203, 3), dtype=np.uint8)


class Pixelwise(nn.Module):
    """A model that says of every four by four pixels what it says of them anywhere, with neither noise nor steps."""

    mean, std, has_noise, has_steps = (0.0,) * 3, (1.0,) * 3, False, False

    def __init__(self, task: str, channels: int) -> None:
        super().__init__()
        self.config = ModelConfig(task=task, num_classes=channels, diffusion=False)
        self.pool = nn.AvgPool2d(4, ceil_mode=True)
        self.weight = nn.Parameter(torch.randn(channels, 3, 1, 1, generator=torch.Generator().manual_seed(0)) / 100)

    def encode(self, batch):
        return self.pool(batch["image"])

    def sample(self, *, features):
        return nn.functional.conv2d(features, self.weight)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 96, 97, 200, 1000])
@pytest.mark.parametrize("window", [64, 128, 320])
def test_windows_cover_a_side_and_their_weights_sum_to_one(length, window):
    places = spans(length, window)
    assert places[0].start == 0 and places[-1].stop == length
    assert all(place.start % 32 == 0 and place.stop - place.start <= window for place in places)
    assert all(after.start < before.stop for before, after in itertools.pairwise(places))
    total = torch.zeros(length)
    for (start, stop), weight in zip(places, blending(places), strict=True):
        assert weight.min() > 0
        total[start:stop] += weight
    torch.testing.assert_close(total, torch.ones(length))


@pytest.mark.parametrize("steps", [1, 3])
def test_one_window_is_the_whole_picture(steps):
    for model in (tiny_model(), tiny_depth_model()):
        whole = predict(model, PICTURE, steps, noise_samples=2)
        covered = predict(model, PICTURE, steps, noise_samples=2, window=(160, 224))
        for kind in ("labels", "depth", "probabilities", "change_count", "step_spread", "sample_spread", "uncertainty"):
            values = getattr(covered, kind, None)
            if values is not None and getattr(covered, "uncertainty_score", "") == whole.uncertainty_score:
                np.testing.assert_array_equal(values, getattr(whole, kind))


@pytest.mark.parametrize("size", [(150, 203), (256, 64), (64, 256), (129, 321)])
@pytest.mark.parametrize("window", [(64, 64), (96, 128), (64, 512)])
def test_many_windows_of_a_model_without_context_are_the_whole_picture(size, window):
    """Also between bands of rows, where the interpolation needs its neighbours."""
    picture = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
    height, width = (side // 4 * 4 for side in size)  # otherwise the whole picture's map is stretched by a few pixels
    picture = picture[:height, :width]
    depth = Pixelwise("depth", 1)
    np.testing.assert_allclose(
        predict(depth, picture, window=window).depth, predict(depth, picture).depth, rtol=0, atol=1e-4
    )
    classes = Pixelwise("segmentation", 5)
    whole, windowed = predict(classes, picture), predict(classes, picture, window=window)
    assert (whole.labels == windowed.labels).mean() > 0.9999
    np.testing.assert_allclose(whole.uncertainty, windowed.uncertainty, rtol=0, atol=1e-5)
    assert windowed.probabilities is None and windowed.arrays["labels"].dtype == np.uint8


def test_a_constant_picture_has_no_steps_where_windows_meet():
    """What differs between windows is blended: no difference of neighbours is larger than inside a window."""
    model = tiny_depth_model()
    grey = np.full((256, 256, 3), 130, np.uint8)
    inside = predict(model, grey[:128, :128]).depth
    blended = predict(model, grey, window=(128, 128)).depth
    for axis in (0, 1):
        largest = np.abs(np.diff(inside, axis=axis)).max()
        assert np.abs(np.diff(blended, axis=axis)).max() < 1.05 * largest


def test_impossible_windows(capsys, tmp_path):
    with pytest.raises(ConfigError, match="window 100x64: sides are multiples of 32 pixels, at least 64"):
        predict(tiny_model(), PICTURE, window=(100, 64))
    with pytest.raises(ConfigError, match="windows of affine_depth do not fit together"):
        check_window((64, 64), task_named("affine_depth"))
    with pytest.raises(ConfigError, match="without a resolution"):
        predict(tiny_model(), PICTURE, window=(64, 64), image_scale=(64, 64))
    words = ("predict", "a.png", "--recipe", "ade20k_mini", "--checkpoint", "w", "--output", str(tmp_path))
    assert "without --resolution" in error_of(capsys, *words, "--window", "512x512", "--resolution", "900")
    assert "window 500x500: sides are" in error_of(capsys, *words, "--window", "500")
    assert "'big' is neither like 512" in error_of(capsys, *words, "--window", "big")


MEASURED = """
import sys
import torch
from ddp_repro import cli
from ddp_repro.costs.memory import peak_so_far
assert cli.main(sys.argv[1:]) == 0
print(peak_so_far(torch.device("cpu")))
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)  # two minutes on a core of its own
@pytest.mark.parametrize(("name", "kind"), [("ade20k_mini", "labels"), ("kitti_mini", "depth")])
def test_48_megapixels_stay_within_4_gb(name, kind, tmp_path):
    small = {"model.layers": 1, "model.channels": 16, "model.heads": 2, "model.feedforward_channels": 32}
    save_untrained(override(recipe(name), small), tmp_path / "w.safetensors")
    Image.fromarray(RNG.integers(0, 256, (60, 80, 3), np.uint8)).resize((8000, 6000)).save(tmp_path / "large.jpg")
    words = ["predict", "large.jpg", "--checkpoint", "w.safetensors", "--steps", "1", "--window", "512x512", "--arrays"]
    command = [sys.executable, "-c", MEASURED, *words]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert Image.open(next((tmp_path / "predictions").glob(f"large_{kind}.png"))).size == (8000, 6000)
    assert int(run.stdout.splitlines()[-1]) < 4e9
