"""What more steps add is taken apart rightly, on models of which it is known where it comes from."""

import json

import pytest
import torch

from ddp_repro.evaluation.evaluate import evaluate_model
from ddp_repro.papers.ddp.diagnostics.gain import GAINS, PARTS, evaluate_gain
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import EvalConfig
from ddp_repro.tasks.depth.protocols import protocol_named
from tests.evaluation.conftest import tiny_model
from tests.evaluation.map_readers import blind, copying, copying_depth
from tests.evaluation.tiny_bev import TinyBEV, tiny_bev_model
from tests.evaluation.tiny_depth import tiny_depth_dataset, tiny_depth_model, write_pictures

pytestmark = pytest.mark.numerics


@pytest.fixture(scope="module")
def depth_dataset(tmp_path_factory):
    return tiny_depth_dataset(write_pictures(tmp_path_factory.mktemp("tiefe")))


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_steps_score_what_an_evaluation_scores(dataset, sampler):
    model = tiny_model(sampler=sampler)
    evaluation = evaluate_model(model, dataset, EvalConfig(steps=(1, 3), seeds=(0, 1)), progress=False)
    result = evaluate_gain(model, dataset, steps=(3, 1), progress=False)
    for steps in (1, 3):
        expected = [evaluation.tallies[steps, seed].miou for seed in (0, 1)]
        assert result.score("steps", steps) == pytest.approx(sum(expected) / 2, abs=0.01)


def test_averaging_scores_what_a_model_that_averages_scores(dataset):
    model = tiny_model(average_steps=True)
    evaluation = evaluate_model(model, dataset, EvalConfig(steps=(3,), seeds=(0,)), progress=False)
    result = evaluate_gain(model, dataset, steps=(1, 3), seeds=(0,), progress=False)
    assert result.score("average", 3) == pytest.approx(evaluation.tallies[3, 0].miou, abs=0.01)


def test_a_model_that_ignores_its_map_gains_by_the_time_alone(dataset):
    model = blind(tiny_model())
    times = []
    decode = model.denoise

    def other_at_other_times(fused, shape, t):
        times.append(float(t[0]))
        output = decode(fused, shape, t)
        return output if t[0] == 1 else output.roll(1, 1)

    model.denoise = other_at_other_times
    result = evaluate_gain(model, dataset, steps=(1, 3), progress=False)
    assert result.gain("map", 3).value == result.gain("map_noise", 3).value == 0
    assert result.gain("look", 3).value == result.gain("total", 3).value != 0
    assert {1.0} < set(times)


def test_what_a_map_holds_counts_as_the_maps(dataset):
    """The first step says the truth and the others copy their map, which is lost where the map is empty."""
    model = copying()
    copy, shape = model.denoise, (12, 16)
    labels = torch.from_numpy(dataset.load(0)[1])[None]
    truth = model.target_map({dataset.truth: labels}, shape).flatten(2).transpose(1, 2)  # (1, h·w, M)
    model.denoise = lambda fused, shape, t: copy(truth.expand(len(fused), -1, -1) if t[0] == 1 else fused, shape, t)
    result = evaluate_gain(model, dataset, steps=(1, 3), seeds=(0,), limit=1, progress=False)
    assert result.score("steps", 3) > 0.6
    assert result.gain("map", 3).value > 0.2
    assert result.gain("map_noise", 3).value > 0.2
    assert result.gain("look", 3).value < -0.2


def test_gains_add_up(dataset):
    result = evaluate_gain(tiny_model(), dataset, steps=(1, 2, 3), progress=False)
    for steps in (2, 3):
        for end in ("", "_noise"):
            parts = [result.gain(kind + end, steps).value for kind in ("look", "map")]
            assert sum(parts) == pytest.approx(result.gain("total", steps).value, abs=1e-12)


def test_depth_is_better_when_lower(depth_dataset):
    indoor = protocol_named("indoor")
    result = evaluate_gain(copying_depth(), depth_dataset, steps=(1, 2), protocol=indoor, progress=False)
    better = result.score("steps", 2) < result.score("zero", 2)
    assert (result.gain("map", 2).value > 0) == better
    assert json.loads(json.dumps(result.to_dict()))["measure"] == "rel"


def test_bev():
    model, dataset = tiny_bev_model("camera"), TinyBEV()
    result = evaluate_gain(model, dataset, steps=(1, 2), seeds=(0,), limit=2, progress=False)
    assert result.measure == "miou"
    assert set(result.to_dict()["rows"][1]["gains"]) == set(GAINS)


def test_json(dataset):
    rows = json.loads(json.dumps(evaluate_gain(tiny_model(), dataset, steps=(1, 2), progress=False).to_dict()))["rows"]
    assert [row["steps"] for row in rows] == [1, 2]
    assert list(rows[0]["scores"]) == list(PARTS)
    assert rows[0]["gains"] == {}
    assert {"low", "high", "estimate"} <= rows[1]["gains"]["map"].keys()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"steps": (2, 3)}, "1 among them"), ({"steps": (0, 1)}, "at least 1"), ({"steps": (1, 1)}, "steps"),
     ({"seeds": (1, 1)}, "seeds"), ({"limit": 0}, "limit")],
)  # fmt: skip
def test_wrong_settings(dataset, settings, message):
    with pytest.raises(ConfigError, match=message):
        evaluate_gain(tiny_model(), dataset, progress=False, **settings)


def test_a_model_without_diffusion(dataset):
    with pytest.raises(ConfigError, match="without diffusion"):
        evaluate_gain(tiny_model(diffusion=False), dataset, progress=False)


def test_depth_needs_a_protocol(depth_dataset):
    with pytest.raises(ConfigError, match="protocol"):
        evaluate_gain(tiny_depth_model(), depth_dataset, progress=False)


def test_weights_that_are_not_finite(dataset):
    model = tiny_model()
    with torch.no_grad():
        model.decoder.classifier.weight.fill_(torch.nan)
    with pytest.raises(RuntimeError, match="not finite"):
        evaluate_gain(model, dataset, progress=False)
