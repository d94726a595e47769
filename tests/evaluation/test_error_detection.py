"""The mergeable measures against scikit-learn and sorted arrays."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from ddp_repro.evaluation.uncertainty.calibration import CalibrationHistogram
from ddp_repro.evaluation.uncertainty.error_detection import ErrorHistogram

levels = [0.0, 2.0**-30, 2.0**-11, 0.125, 0.25, 0.5, 0.75, 1.0]  # far enough apart to have bins of their own
pixels = st.lists(st.tuples(st.sampled_from(levels), st.booleans()), min_size=2, max_size=60)


def histogram(score, wrong):
    return ErrorHistogram().update(torch.as_tensor(score), torch.as_tensor(wrong))


def sorted_aurc(score, wrong, repeats=4000):
    """By definition, with ties in random order."""
    rng, areas = np.random.default_rng(0), []
    for _ in range(repeats):
        order = np.lexsort((rng.random(len(score)), score))
        areas.append((wrong[order].cumsum() / np.arange(1, len(score) + 1)).mean())
    return np.mean(areas)


@settings(max_examples=80, deadline=None)
@given(pixels)
def test_ranking_measures_equal_sklearn_with_ties(pairs):
    score, wrong = (np.array(values) for values in zip(*pairs, strict=True))
    found = histogram(score, wrong).scores()
    if 0 < wrong.sum() < len(wrong):
        assert found.auroc == pytest.approx(roc_auc_score(wrong, score), abs=1e-12)
        if len(set(score)) > 1:
            assert found.correlation == pytest.approx(np.corrcoef(score, wrong)[0, 1], abs=1e-3)
    else:
        assert math.isnan(found.auroc) and math.isnan(found.correlation)
    if wrong.any():
        assert found.aupr == pytest.approx(average_precision_score(wrong, score), abs=1e-12)
    else:
        assert math.isnan(found.aupr) and math.isnan(found.ause) and found.aurc == 0


def test_any_score_equals_sklearn_closely():
    rng = np.random.default_rng(1)
    wrong = rng.random(20000) < 0.2
    for score in (
        rng.beta(1 + wrong, 3),
        np.exp(-rng.exponential(8, 20000) * (2 - wrong)),
        rng.random((100, 200)).ravel(),
    ):
        score = score.astype(np.float32)
        found = histogram(score, wrong).scores()
        assert found.auroc == pytest.approx(roc_auc_score(wrong, score), abs=1e-4)
        assert found.aupr == pytest.approx(average_precision_score(wrong, score), abs=1e-3)
        assert found.correlation == pytest.approx(np.corrcoef(score, wrong)[0, 1], abs=1e-3)
        assert found.aurc == pytest.approx(sorted_aurc(score, wrong, repeats=1), abs=1e-4)


def test_risk_coverage_and_sparsification_by_definition():
    score = np.array([0.1, 0.1, 0.1, 0.3, 0.5, 0.5, 0.9, 0.9])
    wrong = np.array([0, 1, 0, 0, 1, 0, 1, 1]).astype(bool)
    both = histogram(score, wrong)
    found = both.scores()
    assert found.aurc == pytest.approx(sorted_aurc(score, wrong), abs=2e-3)
    oracle = sorted_aurc(wrong.astype(float), wrong, 1)
    assert found.ause == pytest.approx((found.aurc - oracle) / 0.5, abs=1e-9)
    coverage, risk = both.risk_coverage(points=8)
    assert coverage == pytest.approx(np.arange(1, 9) / 8)
    assert risk == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1 / 4, 1.5 / 5, 2 / 6, 3 / 7, 4 / 8])
    assert np.mean(risk) == pytest.approx(found.aurc)


def test_perfect_and_useless_scores():
    wrong = np.arange(100) < 30
    perfect = histogram(wrong.astype(float), wrong).scores()
    assert perfect.auroc == perfect.aupr == 1 and perfect.ause == pytest.approx(0, abs=1e-12)
    useless = histogram(np.zeros(100), wrong).scores()
    assert useless.auroc == 0.5 and useless.aupr == pytest.approx(0.3) and useless.aurc == pytest.approx(0.3)
    assert math.isnan(useless.correlation)
    assert all(math.isnan(value) for value in ErrorHistogram().scores()) and ErrorHistogram().risk_coverage() == (
        [],
        [],
    )


def test_merge_is_exact():
    torch.manual_seed(0)
    score, wrong = torch.rand(1000), torch.rand(1000) < 0.3
    parts = histogram(score[:400], wrong[:400]).merge(histogram(score[400:], wrong[400:]))
    assert torch.equal(parts.counts, histogram(score, wrong).counts)
    assert parts.pixels == 1000 and parts.error_rate == pytest.approx(wrong.float().mean().item())
    halves = (
        CalibrationHistogram().update(score[:7], wrong[:7]).merge(CalibrationHistogram().update(score[7:], wrong[7:]))
    )
    assert torch.equal(halves.counts, CalibrationHistogram().update(score, wrong).counts)


@pytest.mark.parametrize("value", [1.1, -0.1, math.nan])
def test_scores_outside_the_unit_interval(value):
    with pytest.raises(ValueError, match="must be in"):
        histogram([0.2, value], [True, False])


def test_calibration_error_by_definition():
    rng = np.random.default_rng(0)
    confidence, right = rng.random(500), rng.random(500) < 0.6
    confidence[:2] = 0.0, 1.0
    found = CalibrationHistogram().update(torch.from_numpy(confidence), torch.from_numpy(right))
    edges, expected = np.linspace(0, 1, 16), 0.0
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high) | (confidence == 0) & (low == 0)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert found.ece() == pytest.approx(expected, abs=1e-6)
    assert found.to_dict()["ece"] == found.ece() and sum(found.to_dict()["pixels"]) == 500
    assert math.isnan(CalibrationHistogram().ece()) and CalibrationHistogram().to_dict()["accuracy"] == [None] * 15
