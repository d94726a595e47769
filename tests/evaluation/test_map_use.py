"""A model that ignores its map is found out, and so is one that reads it, whatever the task."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from ddp_repro.diffusion import image_generator
from ddp_repro.evaluation.evaluate import evaluate_model
from ddp_repro.papers.ddp.diagnostics.map_use import MAPS, evaluate_map_use, map_losses
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import EvalConfig
from ddp_repro.tasks.depth.protocols import protocol_named
from tests.data.depth_files import write_depth
from tests.evaluation.conftest import tiny_model
from tests.evaluation.map_readers import blind, copying, copying_depth
from tests.evaluation.tiny_bev import TinyBEV, tiny_bev_model
from tests.evaluation.tiny_depth import tiny_depth_dataset, tiny_depth_model, write_pictures

pytestmark = pytest.mark.numerics

INDOOR = protocol_named("indoor")


@pytest.fixture(scope="module")
def depth_dataset(tmp_path_factory):
    root = write_pictures(tmp_path_factory.mktemp("tiefe"))
    for index, path in enumerate(sorted((root / "depth" / "val").iterdir())):  # so that pictures differ in depth
        write_depth(path, np.array(Image.open(path)) // (1, 1, 2, 2)[index])
    return tiny_depth_dataset(root)


def batch_of(dataset, count=2):
    items = [dataset[index] for index in range(count)]
    return {name: torch.stack([item[name] for item in items]) for name in ("image", dataset.truth)}


# -- models that read their map and models that do not -----------------------------------------------------------------


def test_a_model_that_ignores_its_map_is_found_out(dataset):
    result = evaluate_map_use(blind(tiny_model()), dataset, seeds=(0, 1), progress=False)
    for step in range(3):
        assert len({result.score(kind, step) for kind in MAPS}) == 1
        interval = result.effect(step).interval()
        assert interval.low == interval.high == 0
    assert not result.uses_map(1e-6)


def test_a_model_that_copies_its_map_is_found_to_use_it(dataset):
    result = evaluate_map_use(copying(), dataset, progress=False)
    assert result.uses_map(0.1)
    assert result.score("true") > 0.6  # but for the borders, of which the decoder's map has a quarter of the pixels
    assert max(result.score(kind) for kind in ("other", "zero", "noise")) < 0.5
    assert not result.effect(0).interval().low > 0.1  # noise alone says nothing, even to this model


def test_a_model_that_is_only_disturbed_by_strange_maps_does_not_use_them(dataset):
    """Any map of code words will do, a zero map will not: no content is read."""
    model = copying()
    nearest = model.denoise

    def decode(fused, shape, t):
        right = nearest(fused, shape, t).zero_()
        right[:, 0] = torch.where(fused.abs().mean((1, 2)) > 0.1, 1.0, -1.0)[:, None, None]
        return right

    model.denoise = decode
    result = evaluate_map_use(model, dataset, progress=False)
    assert not result.uses_map(0.0)
    assert result.effect(against="zero").value != 0


def test_a_model_learns_to_use_its_map(dataset):
    """At scale 1 a few iterations on blank pictures suffice."""
    model = tiny_model(scale=1.0)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    batch = batch_of(dataset)
    batch["image"] = torch.zeros_like(batch["image"])
    before = map_losses(model, batch)["map_effect"]
    torch.manual_seed(0)
    for _ in range(60):
        optimizer.zero_grad()
        model.training_loss(batch)["loss"].backward()
        optimizer.step()
    assert map_losses(model, batch)["map_effect"] > before + 0.5
    result = evaluate_map_use(model, dataset, progress=False)
    assert result.uses_map(0.0)


@pytest.mark.parametrize(("model", "used"), [(lambda: blind(tiny_depth_model()), False), (copying_depth, True)])
def test_depth(depth_dataset, model, used):
    result = evaluate_map_use(model(), depth_dataset, protocol=INDOOR, progress=False)
    assert result.uses_map(0.001) == used
    assert (result.effect().value > 0) == used  # lower REL is better, so the sign is turned
    assert (result.score("true") < result.score("other")) == used


@pytest.mark.parametrize("sensors", ["camera", "fusion"])
def test_bev(sensors):
    model, dataset = tiny_bev_model(sensors), TinyBEV()
    result = evaluate_map_use(model, dataset, steps=2, progress=False)
    assert result.statistics.shape == (1, 2, 5, 3, 6, 2)
    assert len({result.score(kind) for kind in MAPS}) > 1
    assert not evaluate_map_use(blind(model), dataset, steps=2, progress=False).uses_map(1e-6)


# -- what is measured --------------------------------------------------------------------------------------------------


def test_the_own_prediction_is_that_of_the_evaluator(dataset):
    model = tiny_model()
    result = evaluate_map_use(model, dataset, steps=3, seeds=(0, 4), progress=False)
    plain = evaluate_model(model, dataset, EvalConfig(steps=(1, 3), seeds=(0, 4)), progress=False).tallies
    for step, steps in ((2, 3), (0, 1)):
        expected = np.mean([plain[steps, seed].miou for seed in (0, 4)])
        assert result.score("prediction", step) == pytest.approx(expected, abs=1e-12)


def test_own_depth_is_that_of_the_evaluator(depth_dataset):
    model = tiny_depth_model()
    result = evaluate_map_use(model, depth_dataset, steps=2, protocol=INDOOR, progress=False)
    settings = EvalConfig(steps=(2,), seeds=(0,), protocol="indoor")
    plain = evaluate_model(model, depth_dataset, settings, progress=False).tallies[2, 0]
    assert result.score("prediction") == pytest.approx(plain.value("rel"), rel=1e-9)


@pytest.mark.parametrize("difference", [0, 1])
def test_maps_against_their_definition(dataset, difference):
    """Step 2 of 3, image 1, one decoder pass per map, by hand."""
    model = tiny_model(time_difference=difference, average_steps=True).eval()
    told, level = {0: (2 / 3, 2 / 3), 1: (2 / 3, 1 / 3)}[difference]
    result = evaluate_map_use(model, dataset, progress=False)
    assert (result.times[1], result.levels[1]) == (pytest.approx(told), pytest.approx(level))
    item, other = dataset[1], dataset[4]
    with torch.no_grad():
        features = model.encode_image(item["image"][None])
        shape = features.shape[-2:]
        noise = torch.randn(model.map_channels, *shape, generator=image_generator(0, item["id"]))[None]
        alpha, sigma = model.schedule.alpha_sigma(torch.tensor(level))
        clean = {
            "true": model.target_map({"label": item["label"][None]}, shape),
            "other": model.target_map({"label": other["label"][None]}, shape),
            "zero": torch.zeros_like(noise),
        }
        for kind, value in clean.items():
            logits = model.decode(features, alpha * value + sigma * noise, told)
            logits = F.interpolate(logits, item["image"].shape[-2:], mode="bilinear")
            predicted = F.interpolate(logits, item["label"].shape, mode="bilinear")[0].argmax(0)
            valid = item["label"] != 255
            truth, predicted = item["label"][valid], predicted[valid]
            hits = [int(((predicted == k) & (truth == k)).sum()) for k in range(3)]
            found = result.statistics[0, 1, MAPS.index(kind), 1, :, 0]
            assert np.abs(found - hits).max() <= 2, kind  # pixels, by rounding


def test_an_image_is_scored_alike_among_few_and_many(dataset):
    few, many = (evaluate_map_use(tiny_model(), dataset, limit=n, progress=False) for n in (3, 5))
    kept = [MAPS.index(kind) for kind in MAPS if kind != "other"]  # which depends on what there is
    assert (few.statistics[:, :, kept] == many.statistics[:, :, kept, :3]).all()


def test_seeds_and_images_are_in_the_interval(dataset):
    two = evaluate_map_use(tiny_model(), dataset, seeds=(0, 1), limit=3, progress=False)
    assert two.effect().unit == "sampling seeds"
    one = evaluate_map_use(tiny_model(), dataset, seeds=(1,), limit=3, progress=False)
    assert (one.effect().unit, one.effect().count) == ("images", 3)
    assert (one.statistics[0] == two.statistics[1]).all()


def test_record(dataset, depth_dataset):
    found = evaluate_map_use(tiny_model(), dataset, limit=2, progress=False).to_dict()
    found = json.loads(json.dumps(found, allow_nan=False))
    assert set(found["steps"][1]["scores"]) == set(found["steps"][1]["per_image"]) == set(MAPS)
    assert found["effect"] == found["steps"][2]["effect"]
    assert [len(row["per_image"]["zero"]) for row in found["steps"]] == [2, 2, 2]
    assert [row["level"] for row in found["steps"]] == pytest.approx([1, 1 / 3, 0])
    depth = evaluate_map_use(tiny_depth_model(), depth_dataset, steps=2, protocol=INDOOR, progress=False)
    row = depth.to_dict()["steps"][1]
    assert np.mean(row["per_image"]["true"]) == pytest.approx(row["scores"]["true"])
    assert "per_image" not in depth.to_dict(per_image=False)["steps"][0]


# -- during training ---------------------------------------------------------------------------------------------------


def test_watching_a_batch(dataset):
    batch = batch_of(dataset)
    same = map_losses(blind(tiny_model()), batch)
    assert list(same) == ["map_true", "map_other", "map_zero", "map_noise", "map_effect"]
    assert same["map_effect"] == 0 and same["map_true"] == same["map_noise"]
    assert map_losses(copying(), batch)["map_effect"] > 0.1


def test_watching_depth_and_bev(depth_dataset):
    assert map_losses(copying_depth(), batch_of(depth_dataset))["map_effect"] > 0.01  # pictures that are much alike
    moments = TinyBEV.collate([TinyBEV()[index] for index in range(2)])
    assert map_losses(blind(tiny_bev_model("fusion")), moments)["map_effect"] == 0


def test_watching_changes_nothing(dataset):
    model = tiny_model().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    map_losses(model, batch_of(dataset))
    assert model.training and all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# -- refused -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 1}, "steps must be at least 2"), ({"limit": 1}, "at least 2 images"),
        ({"limit": 0}, "limit must be at least 1"), ({"seeds": ()}, "seeds must be one or more"),
        ({"protocol": INDOOR}, "a protocol is for depth"),
    ],
)  # fmt: skip
def test_impossible_requests(dataset, model, settings, message):
    with pytest.raises(ConfigError, match=message):
        evaluate_map_use(model, dataset, **settings)


def test_models_without_a_map_and_depth_without_a_protocol(dataset, depth_dataset, model):
    with pytest.raises(ConfigError, match="without diffusion has no map"):
        evaluate_map_use(tiny_model(diffusion=False), dataset)
    with pytest.raises(ConfigError, match="without diffusion has no map"):
        map_losses(tiny_model(diffusion=False), batch_of(dataset))
    with pytest.raises(ConfigError, match="a batch of at least 2"):
        map_losses(model, batch_of(dataset, 1))
    with pytest.raises(ConfigError, match="a protocol is for depth"):
        evaluate_map_use(tiny_depth_model(), depth_dataset)
    with pytest.raises(ConfigError, match="model.task is depth"):
        evaluate_map_use(tiny_depth_model(), dataset, protocol=INDOOR)


def test_weights_that_are_not_finite(dataset):
    model = tiny_model()
    with torch.no_grad():
        model.decoder.classifier.weight.fill_(float("nan"))
    with pytest.raises(RuntimeError, match="not finite for image"):
        evaluate_map_use(model, dataset, progress=False)
