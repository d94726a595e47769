"""Uncertainty of BEV maps: scores by hand, error detection against sklearn, sharing among processes, bad input."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from ddp_repro.diffusion import image_generator
from ddp_repro.settings.errors import ConfigError
from ddp_repro.tasks.bev.uncertainty import SCORES, evaluate_bev_uncertainty, uncertainty_scores
from tests.evaluation.conftest import tiny_model
from tests.evaluation.tiny_bev import TinyBEV, tiny_bev_model

pytestmark = pytest.mark.numerics


@pytest.fixture(scope="module")
def model():
    return tiny_bev_model("camera")


@pytest.fixture(scope="module")
def result(model):
    return evaluate_bev_uncertainty(model, TinyBEV(), steps=3, noise_samples=4, seed=5, progress=False)


def by_hand(model, dataset):
    """Every cell's scores, whether it is wrong, and the confidence of the average, by the definitions."""
    rows = {name: [] for name in (*SCORES, "wrong", "confidence", "right")}
    for index in range(len(dataset)):
        batch, generator = dataset.collate([dataset[index]]), image_generator(5, dataset.ids[index])
        run = model.sample(batch, steps=3, noise_samples=4, generator=[generator], return_trajectory=True)
        steps, truth = run.decoded.sigmoid()[:, :, 0].double().numpy(), batch["masks"][0].numpy()
        mean, noises, present = steps.mean((0, 1)), steps.mean(0), steps >= 0.5
        rows["change_count"].append((present[1:] ^ present[:-1]).mean((0, 1)))
        rows["entropy"].append(-(mean * np.log2(mean) + (1 - mean) * np.log2(1 - mean)))
        rows["spread"].append(2 * steps.reshape(12, *mean.shape).std(0))
        rows["sample_variance"].append(2 * noises.var(0))
        votes = (noises >= 0.5).sum(0)
        rows["disagreement"].append(np.minimum(votes, 4 - votes) / 4)
        rows["wrong"].append((run.output[0].numpy() >= 0.5) != truth)
        rows["confidence"].append(np.maximum(mean, 1 - mean))
        rows["right"].append((mean >= 0.5) == truth)
    return {name: np.stack(values).reshape(len(dataset), -1) for name, values in rows.items()}


def test_agrees_with_sklearn_on_flattened_arrays(model, result):
    rows = by_hand(model, TinyBEV())
    wrong = rows["wrong"].ravel()
    assert result.error_rate == pytest.approx(wrong.mean()) and 0 < wrong.mean() < 1
    for name, found in result.scores().items():
        assert found.auroc == pytest.approx(roc_auc_score(wrong, rows[name].ravel()), abs=2e-3)
        assert found.aupr == pytest.approx(average_precision_score(wrong, rows[name].ravel()), abs=2e-3)
        second = roc_auc_score(rows["wrong"][1], rows[name][1])
        assert result.per_image[name]["auroc"][1] == pytest.approx(second, abs=2e-3)
    confidence, right = rows["confidence"].ravel(), rows["right"].ravel()
    bins = np.clip(np.ceil(confidence * 15) - 1, 0, 14)
    gaps = [(bins == b).mean() * abs((right - confidence)[bins == b].mean()) for b in np.unique(bins)]
    assert result.calibration["step_average"].ece() == pytest.approx(sum(gaps), abs=1e-4)


def test_record_is_that_of_segmentation(result):
    record = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert (record["images"], record["steps"], record["noise_samples"], record["seed"]) == (3, 3, 4, 5)
    assert tuple(record["scores"]) == SCORES
    assert record["scores"]["entropy"]["risk_coverage"]["risk"][-1] == pytest.approx(record["error_rate"])


def test_processes_share_the_samples(model, result, monkeypatch):
    halves = []
    monkeypatch.setattr("ddp_repro.evaluation.uncertainty.tally.sum_over_processes", lambda counts, device: counts)
    for rank in range(2):
        monkeypatch.setattr("ddp_repro.tasks.bev.uncertainty.rank_and_world", lambda rank=rank: (rank, 2))
        halves.append(evaluate_bev_uncertainty(model, TinyBEV(), steps=3, noise_samples=4, seed=5, progress=False))
    for name in SCORES:
        counts = [each.errors[name].counts for each in (*halves, result)]
        assert torch.equal(counts[0] + counts[1], counts[2])


def test_one_step_from_one_noise_leaves_the_entropy_alone(model):
    found = evaluate_bev_uncertainty(model, TinyBEV(), steps=1, noise_samples=1, limit=1, progress=False)
    assert found.images == 1
    for name in ("change_count", "spread", "sample_variance", "disagreement"):
        assert found.scores()[name].auroc == 0.5 and math.isnan(found.scores()[name].correlation)
    assert found.scores()["entropy"].auroc != 0.5


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 10**6))
def test_scores_are_in_their_interval_and_order_does_not_matter(steps, noises, seed):
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.rand(steps, noises, 2, 3, 3, generator=generator).round(decimals=1)  # 0 and 1 among them
    scores = uncertainty_scores(probabilities)
    assert tuple(scores) == SCORES
    assert all(score.shape == (2, 3, 3) and ((score >= 0) & (score <= 1)).all() for score in scores.values())
    turned = uncertainty_scores(1 - probabilities)  # absent is as good as present, but for ties at a half
    for name in ("entropy", "spread", "sample_variance"):
        torch.testing.assert_close(turned[name], scores[name], atol=1e-5, rtol=0)
    shuffled = uncertainty_scores(probabilities[:, torch.randperm(noises, generator=generator)])
    for name in SCORES:
        torch.testing.assert_close(shuffled[name], scores[name], atol=1e-5, rtol=0)


def test_extremes():
    halves = torch.tensor([0.0, 1.0])[:, None, None, None, None]  # sure of the opposite at the second step
    scores = uncertainty_scores(halves)
    assert {name: float(score) for name, score in scores.items()} == {
        "change_count": 1.0, "entropy": 1.0, "spread": 1.0, "sample_variance": 0.0, "disagreement": 0.0,
    }  # fmt: skip


def test_impossible_requests(model):
    with pytest.raises(ConfigError, match="noise_samples must be at least 1"):
        evaluate_bev_uncertainty(model, TinyBEV(), noise_samples=0)
    with pytest.raises(ConfigError, match=r"bev|nuscenes|task|dataset"):
        evaluate_bev_uncertainty(tiny_model(), TinyBEV())


def test_output_that_is_not_finite_names_its_sample(monkeypatch):
    broken = tiny_bev_model("camera")
    with torch.no_grad():
        broken.decoder.classifier.bias.fill_(math.nan)
    with pytest.raises(RuntimeError, match="not finite for sample token 0"):
        evaluate_bev_uncertainty(broken, TinyBEV(), steps=1, noise_samples=1, progress=False)
