"""What is measured of ``predict``: flicker on static pixels, and throughput, through the command line."""

import json
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ddp_repro import cli
from ddp_repro.evaluation.predict import PicturePredictor
from ddp_repro.settings.errors import ConfigError
from ddp_repro.workbook.prediction.flicker import measure_flicker, static_pixels
from tests.evaluation.conftest import tiny_model
from tests.evaluation.test_folders import place  # noqa: F401  (a fixture)
from tests.evaluation.tiny_depth import tiny_depth_model
from tests.test_cli import error_of
from tests.test_readme import README, ROOT

FRAME = np.random.default_rng(0).integers(0, 256, (30, 44, 3), np.uint8)


def test_static_pixels_keep_the_colour_of_their_neighbourhood():
    moved = FRAME.copy()
    moved[:, 20:] = 255 - moved[:, 20:]
    still = static_pixels(FRAME, moved)
    assert still[:, :17].all() and still[:, 24:].mean() < 0.1


def test_a_clip_that_stands_still_flickers_with_the_noise_alone():
    for model, unit in ((tiny_model(), "share of labels that change"), (tiny_depth_model(), "mean relative change")):
        found = measure_flicker(PicturePredictor(model, 2), [FRAME] * 3)
        assert (found.one_noise, found.pairs, found.static, found.unit) == (0, 2, 1, unit)
        assert found.noise_per_frame > 0


@dataclass(frozen=True)
class Brightness:
    """Stands for a predictor of depth: a frame's brightness, and a tenth more for each seed."""

    ratio_scale: bool
    seed: int = 0

    def predict(self, frames):
        depth = np.full(frames[0].shape[:2], frames[0].mean() * 1.1**self.seed, np.float32)
        return [SimpleNamespace(arrays={"depth": depth}, ratio_scale=self.ratio_scale)]


def test_depth_changes_by_a_share_of_what_it_was_and_other_values_by_their_difference():
    frames = [np.full((30, 44, 3), shade, np.uint8) for shade in (100, 101, 102)]
    found = measure_flicker(Brightness(ratio_scale=True), frames)
    assert (found.map, found.unit, found.static) == ("depth", "mean relative change", 1)
    assert found.one_noise == pytest.approx((1 / 100 + 1 / 101) / 2, rel=1e-5)
    assert found.noise_per_frame == pytest.approx((1.1 * 1.01 + 1.1 * 102 / 101) / 2 - 1, rel=1e-5)
    found = measure_flicker(Brightness(ratio_scale=False), frames)
    assert found.unit == "mean absolute change" and found.one_noise == pytest.approx(1, rel=1e-5)


def test_what_is_no_clip_is_refused():
    predictor = PicturePredictor(tiny_model(), 1)
    with pytest.raises(ConfigError, match="at least two frames"):
        measure_flicker(predictor, [FRAME])
    with pytest.raises(ConfigError, match="expected a clip of one size"):
        measure_flicker(predictor, [FRAME, FRAME[1:]])


def test_flicker_is_recorded(place, capsys):  # noqa: F811
    for index in range(3):
        Image.fromarray(FRAME).save(place / f"in/sub/deep é/{index}.png")
    (place / "in/sub/deep é/b.JPG").unlink()
    assert cli.main(["flicker", "in/sub/deep é", "--checkpoint", "w/w.safetensors", "--steps", "2", "--json"]) == 0
    record = json.loads((place / "results/predict/flicker/cityscapes_mini.json").read_text())
    printed = capsys.readouterr().out
    assert json.loads(printed[printed.index("{") :]) == record
    assert record["result"]["one_noise"] == 0 and record["result"]["pairs"] == 2 and record["steps"] == 2
    assert error_of(capsys, "flicker", "in/none", "--checkpoint", "w/w.safetensors").startswith("in/none: no such")


def test_printed_numbers_are_the_records():
    for recipe, text in (("camvid_map", "{0:.1f} % of the labels of static pixels with one noise and {1:.1f} %"),
                         ("camvid_small", "{0:.1f} % with either")):  # fmt: skip
        result = json.loads((ROOT / f"results/predict/flicker/{recipe}.json").read_text())["result"]
        shares = [100 * result[which] for which in ("one_noise", "noise_per_frame")]
        assert result["pairs"] == 51 and " ".join(text.format(*shares).split()) in " ".join(README.split())
        if "either" in text:
            assert round(shares[0], 1) == round(shares[1], 1)


def test_readmes_numbers_of_the_export_are_the_records():
    record = json.loads((ROOT / "results/export/camvid_map-360x480.json").read_text())
    for name, seconds in record["seconds"].items():
        cells = " | ".join(f"{value:.3f} s" for value in seconds.values())
        assert f"| {name} | {cells} | {100 * record['scores']['methods'][name]['miou']:.2f} |" in README
    assert record["code"]["dirty"] is False and record["load"] < 3  # on a machine that was ours


@pytest.mark.slow
def test_a_folder_is_faster_than_a_command_for_each_picture(place):  # noqa: F811
    (place / "in/broken.png").unlink()
    assert cli.main(["throughput", "in", "--checkpoint", "w/w.safetensors", "--steps", "1", "--rounds", "1"]) == 0
    result = json.loads((place / "results/predict/throughput/cityscapes_mini.json").read_text())["result"]
    assert result["pictures"] == 4 and result["seconds"]["command"] > 1.5 * result["seconds"]["folder"]
    assert all(seconds > 0 for seconds in result["cpu_seconds"].values())
