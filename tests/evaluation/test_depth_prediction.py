"""Depth of one's own pictures: the map, its uncertainty, and the files that hold them."""

import numpy as np
import pytest
import torch
from PIL import Image

from ddp_repro.data.io import read_depth
from ddp_repro.data.transforms import normalize
from ddp_repro.diffusion import image_generator
from ddp_repro.evaluation.predict import predict
from ddp_repro.evaluation.views import to_image_size
from ddp_repro.settings.errors import ConfigError
from ddp_repro.tasks.depth.pictures import save_depth
from ddp_repro.tasks.depth.predict import DepthPrediction
from tests.evaluation.tiny_depth import tiny_depth_model

pytestmark = pytest.mark.numerics

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (77, 101, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model():
    return tiny_depth_model()


@torch.no_grad()
def test_depth_is_the_models_at_the_pictures_size(model):
    found = predict(model, PICTURE, steps=2)
    pixels = torch.from_numpy(normalize(PICTURE, model.mean, model.std))[None]
    model.eval()
    run = model.sample(pixels, steps=2, generator=image_generator(0, "predict"), return_trajectory=True)
    np.testing.assert_allclose(found.depth, to_image_size(run.output, (77, 101), (77, 101))[0, 0], rtol=1e-5)
    spread = torch.stack([*run.decoded]).clamp(1e-3, 10).std(0, correction=0)
    np.testing.assert_allclose(found.step_spread, to_image_size(spread, (77, 101), (77, 101))[0, 0], atol=1e-5)
    assert found.uncertainty_score == "view_spread" and found.sample_spread is None
    assert found.depth.shape == found.uncertainty.shape == (77, 101)
    assert found.depth.dtype == found.uncertainty.dtype == np.float32
    assert 1e-3 <= found.depth.min() < found.depth.max() <= 10 and found.uncertainty.max() > 0


def test_noise_samples_are_averaged_and_their_spread_told(model):
    one, two = (predict(model, PICTURE, steps=2, seed=seed) for seed in (0, 1))
    both = predict(model, PICTURE, steps=2, noise_samples=2)
    np.testing.assert_allclose(both.depth, (one.depth + two.depth) / 2, rtol=1e-5)
    np.testing.assert_allclose(both.step_spread, (one.step_spread + two.step_spread) / 2, atol=1e-5)
    assert both.sample_spread.max() > 0 and not np.allclose(one.depth, two.depth)


def test_a_single_step_has_no_spread_unless_sampled_again(model):
    one = predict(model, PICTURE, steps=1)
    assert one.depth.shape == (77, 101)
    assert (one.step_spread, one.sample_spread) == (None, None)
    again = predict(model, PICTURE, steps=1, noise_samples=3)
    assert again.sample_spread is not None and again.step_spread is None


def test_the_baseline_is_uncertain_of_views_alone():
    found = predict(tiny_depth_model(diffusion=False), PICTURE, steps=3, noise_samples=4)
    assert found.depth.shape == (77, 101) and found.uncertainty_score == "view_spread"
    assert (found.step_spread, found.sample_spread) == (None, None)


def test_image_scale_bounds_what_the_network_sees(model):
    found = predict(model, PICTURE, image_scale=(48, 48))
    assert found.depth.shape == (77, 101)
    assert not np.allclose(found.depth, predict(model, PICTURE).depth)


def test_a_rotated_jpeg_is_turned_upright(model, tmp_path):
    path = tmp_path / "photo é.jpg"
    rotated = Image.fromarray(np.rot90(PICTURE).copy())
    exif = rotated.getexif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    rotated.save(path, exif=exif, quality=100, subsampling=0)
    with Image.open(path) as stored:
        assert stored.size == (77, 101)
    upright = np.rot90(np.asarray(Image.open(path)), -1)
    np.testing.assert_array_equal(predict(model, path).depth, predict(model, np.ascontiguousarray(upright)).depth)
    files = save_depth(predict(model, path), 10.0, tmp_path / "maps", path.stem)
    assert [Image.open(file).size for file in files] == [(101, 77)] * 3


@pytest.mark.parametrize("request_", [{"steps": 0}, {"noise_samples": 0}])
def test_impossible_requests(model, request_):
    with pytest.raises(ConfigError, match="must be at least 1"):
        predict(model, PICTURE, **request_)


# -- files -------------------------------------------------------------------------------------------------------------


def made(depth, uncertainty=None):
    score = None if uncertainty is None else "step_spread"
    return DepthPrediction(
        depth=np.asarray(depth, np.float32), uncertainty=uncertainty, uncertainty_score=score,
        step_spread=uncertainty, sample_spread=None,
    )  # fmt: skip


@pytest.mark.parametrize(("max_depth", "scale"), [(10.0, 1000), (65.0, 1000), (80.0, 256), (255.0, 256), (300.0, 218)])
def test_files_hold_metres_to_half_a_unit(tmp_path, max_depth, scale):
    depth = np.linspace(1e-3, max_depth, 35).reshape(5, 7).astype(np.float32)
    prediction = made(depth, depth / 3)
    paths = save_depth(prediction, max_depth, tmp_path / "new" / "maps", "photo é")
    names = [f"photo é_{kind}.png" for kind in ("depth", "depth_colour", "uncertainty")]
    assert paths == [tmp_path / "new" / "maps" / name for name in names]
    with Image.open(paths[0]) as stored:
        assert stored.text["depth_scale"] == str(scale)
        assert (stored.text["nearest_m"], stored.text["farthest_m"]) == ("0.001", f"{max_depth:.3f}")
        assert stored.mode.startswith("I;16") and stored.size == (7, 5)
    for path, metres in ((paths[0], depth), (paths[2], depth / 3)):
        np.testing.assert_allclose(read_depth(path) / scale, metres, atol=0.5 / scale + 1e-5)


def test_near_is_bright_in_the_preview(tmp_path):
    prediction = made([[1.0, 4.0, 9.0]])
    path = save_depth(prediction, 10.0, tmp_path, "a")[1]
    near, middle, far = np.asarray(Image.open(path).convert("L")).astype(int)[0]
    assert near > middle > far and Image.open(path).mode == "RGB"


def test_without_uncertainty_there_is_no_file_of_it(tmp_path):
    paths = save_depth(made(np.full((4, 4), 2.0)), 10.0, tmp_path, "a")  # one depth everywhere
    assert [path.name for path in paths] == ["a_depth.png", "a_depth_colour.png"]
    assert (read_depth(paths[0]) == 2000).all()
