"""How well the depth's spread finds errors: against scipy, a plain loop and closed forms."""

import json

import numpy as np
import pytest
import torch
import torch.distributed as dist
from scipy.stats import spearmanr
from torch import multiprocessing

from ddp_repro.diffusion import image_generator
from ddp_repro.evaluation.processes import in_turn
from ddp_repro.evaluation.views import to_image_size
from ddp_repro.settings.errors import ConfigError
from ddp_repro.tasks.depth.protocols import PROTOCOLS
from ddp_repro.tasks.depth.uncertainty import (
    FRACTIONS,
    LEVEL,
    SPREADS,
    calibrate,
    evaluate_depth_uncertainty,
    rank_correlation,
    sparsification,
)
from ddp_repro.tasks.depth.uncertainty import _areas as areas
from tests.data.depth_files import write_depth
from tests.evaluation.conftest import tiny_dataset, tiny_model
from tests.evaluation.tiny_depth import SIZES, tiny_depth_dataset, tiny_depth_model, write_pictures

INDOOR = PROTOCOLS["indoor"]
RNG = np.random.default_rng(0)
ERROR = torch.tensor(RNG.gamma(1.0, 0.1, 777))
NOISY = ERROR + torch.tensor(RNG.normal(0, 0.1, 777))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("tiefe"))


@pytest.fixture(scope="module")
def found(root):
    return evaluate_depth_uncertainty(
        tiny_depth_model(), tiny_depth_dataset(root), INDOOR, noise_samples=3, limit=2, progress=False
    )


@pytest.mark.parametrize("decimals", [9, 1, 0], ids=["distinct", "ties", "many ties"])
def test_rank_correlation_is_spearmans(decimals):
    first, second = NOISY.numpy().round(decimals), ERROR.numpy().round(decimals)
    expected = spearmanr(first, second).statistic
    assert rank_correlation(torch.tensor(first), torch.tensor(second)) == pytest.approx(expected, abs=1e-9)


def test_a_constant_has_no_rank_correlation():
    assert rank_correlation(torch.zeros(777), ERROR) == 0.0


def test_sparsification_equals_a_plain_loop():
    order = np.argsort(NOISY.numpy())
    expected = [ERROR.numpy()[order[: round(777 * (1 - i / FRACTIONS))]].mean() for i in range(FRACTIONS)]
    np.testing.assert_allclose(sparsification(NOISY, ERROR), expected, rtol=1e-9)


def test_equally_uncertain_pixels_are_left_out_in_no_order():
    """A constant uncertainty keeps the mean error, in whatever order the pixels come."""
    for errors in (ERROR, ERROR.sort().values):
        np.testing.assert_allclose(sparsification(torch.ones(777), errors), ERROR.mean().repeat(FRACTIONS))


def test_few_pixels_always_leave_one():
    assert sparsification(torch.tensor([3.0, 1.0]), torch.tensor([3.0, 1.0]))[-1] == 1.0


def test_no_score_beats_the_oracle(found):
    oracle = np.array(found.sparsification["oracle"])
    for name in ("step_spread", "sample_spread"):
        assert (np.array(found.sparsification[name]) >= oracle - 1e-12).all()
        assert found.ause[name] > 0
    assert np.isclose(found.sparsification["step_spread"][0], oracle[0])
    assert (np.diff(oracle) <= 1e-12).all() and found.ause["random"] > 0


def test_perfect_uncertainty_has_no_area_and_a_constant_that_of_chance():
    scores = {"perfect": ERROR.sqrt(), "constant": torch.ones(777), "worst": -ERROR, "oracle": ERROR}
    (curves,) = [{name: sparsification(score, ERROR) for name, score in scores.items()}]
    found = {name: values[0] for name, values in areas([curves]).items()}
    assert found["perfect"] == 0
    assert found["constant"] == pytest.approx(found["random"])
    assert found["worst"] > found["random"] > 0


@torch.no_grad()
def test_equals_a_plain_loop(root, found):
    """Three noise samples of three steps; the depth judged is the first sample's."""
    model, dataset = tiny_depth_model().eval(), tiny_depth_dataset(root)
    correlations = []
    for index in range(2):
        item = dataset[index]
        size, valid = item["depth"].shape, item["depth"].numpy() > 0
        generators = [image_generator(seed, item["id"]) for seed in range(3)]
        runs = [model.sample(item["image"][None], 3, generator=g, return_trajectory=True) for g in generators]
        steps = torch.stack([*runs[0].decoded]).clamp(1e-3, 10)
        spreads = {
            "step_spread": steps.std(0, False),
            "sample_spread": torch.stack([r.output for r in runs]).std(0, False),
        }
        depth, *spreads = (
            to_image_size(each, size, size)[0, 0].numpy()[valid] for each in (runs[0].output, *spreads.values())
        )
        error = abs(depth - item["depth"].numpy()[valid]) / item["depth"].numpy()[valid]
        correlations.append([spearmanr(each, error).statistic for each in spreads])
    assert [*found.correlation.values()][:2] == pytest.approx(np.mean(correlations, axis=0), abs=1e-5)


def test_an_advantage_is_over_chance_and_has_an_interval_over_images(found):
    for name in SPREADS:
        interval = found.advantage[name]
        assert interval["estimate"] == pytest.approx(found.ause["random"] - found.ause[name])
        assert interval["low"] < interval["estimate"] < interval["high"]
        assert (interval["count"], interval["unit"]) == (2, "images")


def test_calibration_learns_what_a_spread_means_and_holds_on_other_images():
    """Errors are half normal, five times the spread wide: 68 % of them lie within 0.9945 of it."""
    rng = np.random.default_rng(1)
    spreads = [torch.tensor(rng.gamma(2.0, 0.1, 5000)) for _ in range(10)]
    errors = [5 * spread * torch.tensor(np.abs(rng.normal(size=5000))) for spread in spreads]
    found = calibrate(list(zip(spreads, errors, strict=True)))
    assert found["coverage"] == pytest.approx(LEVEL, abs=0.01)
    middle = slice(3, 17)
    np.testing.assert_allclose(np.divide(found["metres"], found["spread"])[middle], 5 * 0.9945, rtol=0.1)
    assert (np.diff(found["metres"]) >= 0).all()
    assert (found["learned_images"], found["tried_images"]) == (5, 5)


def test_a_spread_that_says_nothing_is_calibrated_to_one_number():
    rng = np.random.default_rng(1)
    pairs = [(torch.tensor(rng.random(2000)), torch.tensor(rng.random(2000))) for _ in range(4)]
    found = calibrate(pairs)
    assert found["coverage"] == pytest.approx(LEVEL, abs=0.03)
    assert max(found["metres"]) - min(found["metres"]) < 0.2


def test_one_image_cannot_be_calibrated(found):
    assert calibrate([(torch.ones(3), torch.ones(3))]) == calibrate([]) == {}
    assert found.calibration["score"] == "view_spread"


def test_result_is_json(found):
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (values["images"], values["steps"], values["noise_samples"]) == (2, 3, 3)
    assert values["fractions"][0] == 0 and len(values["fractions"]) == FRACTIONS


@pytest.mark.parametrize("changes", [{"steps": 1}, {"noise_samples": 1}])
def test_a_spread_needs_several_steps_and_samples(root, changes):
    with pytest.raises(ConfigError, match="2 or more steps and 2 or more noise samples"):
        evaluate_depth_uncertainty(tiny_depth_model(), tiny_depth_dataset(root), INDOOR, **changes)


def test_models_that_have_no_spread_are_refused(root, data_root):
    with pytest.raises(ConfigError, match="with diffusion"):
        evaluate_depth_uncertainty(tiny_depth_model(diffusion=False), tiny_depth_dataset(root), INDOOR)
    with pytest.raises(ConfigError, match="has label maps"):
        evaluate_depth_uncertainty(tiny_depth_model(), tiny_dataset(data_root), INDOOR)
    with pytest.raises(ConfigError, match="model.task is segmentation"):
        evaluate_depth_uncertainty(tiny_model(), tiny_depth_dataset(root), INDOOR)


def test_an_image_without_depth_that_counts_is_left_out(tmp_path):
    root = write_pictures(tmp_path)
    write_depth(root / "depth/val/bild ü0.png", np.full(SIZES[0], 20_000, np.uint16))
    found = evaluate_depth_uncertainty(tiny_depth_model(), tiny_depth_dataset(root), INDOOR, progress=False)
    assert "null" not in json.dumps(found.to_dict())  # nothing is undefined


def judge_in_process(rank, root, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    seen = []
    watched = tiny_depth_dataset(root)
    read = watched._read
    watched._read = lambda index: (seen.append(index), read(index))[1]
    found = evaluate_depth_uncertainty(tiny_depth_model(), watched, INDOOR, noise_samples=2, progress=False).to_dict()
    (folder / f"{rank}.json").write_text(json.dumps([sorted(set(seen)), found]))
    dist.destroy_process_group()


@pytest.mark.slow
def test_processes_share_the_images_and_agree_with_one(root, tmp_path):
    multiprocessing.spawn(judge_in_process, args=(root, tmp_path), nprocs=2)
    alone = evaluate_depth_uncertainty(
        tiny_depth_model(), tiny_depth_dataset(root), INDOOR, noise_samples=2, progress=False
    ).to_dict()
    for rank in range(2):
        seen, found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert seen == list(range(rank, alone["images"], 2))
        assert {**found, "seconds": 0} == {**json.loads(json.dumps(alone)), "seconds": 0}


def test_items_of_several_processes_come_in_order(monkeypatch):
    shares = [["a", "d", "g"], ["b", "e"], ["c", "f"]]
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 3)
    monkeypatch.setattr(dist, "all_gather_object", lambda filled, own: filled.__setitem__(slice(None), shares))
    assert in_turn(shares[0]) == list("abcdefg")
