import numpy as np
import pytest
import torch
from PIL import Image

from ddp_repro.data.io import DataError
from ddp_repro.data.transforms import normalize
from ddp_repro.diffusion import image_generator
from ddp_repro.diffusion.uncertainty import change_count, predictive_entropy
from ddp_repro.evaluation.predict import predict
from ddp_repro.evaluation.views import to_image_size
from ddp_repro.settings.errors import ConfigError
from tests.evaluation.conftest import tiny_model

pytestmark = pytest.mark.numerics

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (38, 51, 3), dtype=np.uint8)


@torch.no_grad()
def test_labels_are_the_models_at_the_pictures_size(model):
    found = predict(model, PICTURE, steps=2)
    pixels = torch.from_numpy(normalize(PICTURE, model.mean, model.std))[None]
    model.eval()
    run = model.sample(pixels, steps=2, generator=image_generator(0, "predict"), return_trajectory=True)
    expected = to_image_size(run.output, (38, 51), (38, 51)).argmax(1)[0]
    np.testing.assert_array_equal(found.labels, expected)
    assert found.uncertainty.shape == found.change_count.shape == (38, 51)
    assert found.uncertainty.min() >= 0 and found.uncertainty.max() <= 1
    entropy = predictive_entropy(run.probabilities.mean(0)[None])  # of the averaged prediction, as in print
    np.testing.assert_allclose(found.uncertainty, to_image_size(entropy[None], (38, 51), (38, 51))[0, 0], atol=1e-5)
    changes = change_count(run.predictions)
    np.testing.assert_allclose(found.change_count, to_image_size(changes[None], (38, 51), (38, 51))[0, 0], atol=1e-5)
    np.testing.assert_allclose(found.probabilities, run.probabilities.mean(0)[0], atol=1e-6)


def test_image_scale_bounds_what_the_network_sees(model):
    found = predict(model, PICTURE, image_scale=(32, 32))
    assert found.labels.shape == (38, 51) and found.probabilities.shape == (3, 6, 8)


def test_a_seed_repeats_and_noise_samples_average(model):
    one, same, other = (predict(model, PICTURE, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.probabilities, same.probabilities)
    assert not np.array_equal(one.probabilities, other.probabilities)
    both = predict(model, PICTURE, noise_samples=2)
    np.testing.assert_allclose(both.probabilities, (one.probabilities + other.probabilities) / 2, atol=1e-6)
    np.testing.assert_allclose(both.change_count, (one.change_count + other.change_count) / 2, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"diffusion": False}])
def test_no_changes_where_there_are_no_steps_to_compare(settings):
    found = predict(tiny_model(**settings), PICTURE, steps=1)
    assert found.uncertainty_score == "entropy" and found.uncertainty.max() > 0
    assert found.change_count is None and set(found.arrays) == {"labels", "uncertainty"}


def test_every_kind_of_picture(model, tmp_path):
    """A path, a picture and an array of the same pixels give the same map; orientation and alpha are undone."""
    reference = predict(model, PICTURE).labels
    path = tmp_path / "bild ü.png"
    Image.fromarray(PICTURE).save(path)
    alpha = np.dstack([PICTURE, RNG.integers(0, 256, PICTURE.shape[:2], dtype=np.uint8)])
    rotated = Image.fromarray(np.rot90(PICTURE).copy())
    rotated.getexif()[0x0112] = 6  # turn by 90 degrees clockwise to view
    for image in (path, str(path), Image.fromarray(PICTURE), alpha, Image.fromarray(alpha), rotated):
        np.testing.assert_array_equal(predict(model, image).labels, reference)
    grey = PICTURE[:, :, 0]
    expected = predict(model, np.dstack([grey] * 3)).labels
    for image in (grey, grey[:, :, None], Image.fromarray(grey), Image.fromarray(grey).convert("P")):
        np.testing.assert_array_equal(predict(model, image).labels, expected)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (PICTURE.astype(np.float32), ValueError, "uint8 array; got float32"),
        (PICTURE[None], ValueError, r"got \(1, 38, 51, 3\)"),
        (PICTURE[:0], ValueError, "got"),
        (None, ValueError, "got NoneType"),
        (Image.new("F", (8, 8)), ValueError, "mode F"),
        ("no/such.png", DataError, "no such file"),
    ],
)
def test_other_images_are_refused(model, image, error, message):
    with pytest.raises(error, match=message):
        predict(model, image)


def test_impossible_requests(model):
    with pytest.raises(ConfigError, match="steps must be at least 1"):
        predict(model, PICTURE, steps=0)


def test_stages_are_told_as_they_pass(model):
    stages = []
    expected = predict(model, PICTURE, steps=3)
    told = predict(model, PICTURE, steps=3, on_stage=stages.append)
    assert [stage.name for stage in stages] == ["encoder", "step 1", "step 2", "step 3"]
    assert all(stage.seconds > 0 for stage in stages) and stages[0].prediction is None
    for result in (told, stages[-1].prediction):
        np.testing.assert_array_equal(result.labels, expected.labels)
        np.testing.assert_array_equal(result.uncertainty, expected.uncertainty)
    run = model.sample(
        torch.from_numpy(normalize(PICTURE, model.mean, model.std))[None], steps=3,
        generator=image_generator(0, "predict"), return_trajectory=True,
    )  # fmt: skip
    first = to_image_size(run.decoded[0], (38, 51), (38, 51)).argmax(1)[0]
    np.testing.assert_array_equal(stages[1].prediction.labels, first)
    assert not np.array_equal(first, expected.labels)


def test_stages_are_those_of_the_first_noise_sample(model):
    stages = []
    predict(model, PICTURE, steps=2, noise_samples=3, on_stage=stages.append)
    assert [stage.name for stage in stages] == ["encoder", "step 1", "step 2"]


def test_a_baseline_has_one_step():
    stages, baseline = [], tiny_model(diffusion=False)
    told = predict(baseline, PICTURE, steps=3, on_stage=stages.append)
    assert [stage.name for stage in stages] == ["encoder", "step 1"]
    np.testing.assert_array_equal(told.labels, stages[1].prediction.labels)
