"""Verdicts on made-up measurements whose truth is known, and on measurements that allow none."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from ddp_repro import workbook
from ddp_repro.evaluation.resampling import MeanIoU, MeanScores, hierarchical_bootstrap, image_bootstrap
from ddp_repro.evaluation.statistics import (
    Estimate,
    StatisticsError,
    decide,
    decide_table,
    decision_p,
    holm,
    least,
    paired_difference,
)

PAGE = Path(workbook.__file__).parent / "explain_statistics.md"
MINIMUM = 0.3
CLAIMS, PAIRS = 12, 8


def estimate(value, error=0.1, freedom=7, count=8):
    return Estimate(value=value, error=error, freedom=freedom, count=count, unit="trainings", method="made up")


# -- simulations -------------------------------------------------------------------------------------------------------


def simulated_tables(truths, tables, seed=0, *, corrected=True):
    """Verdicts (tables, claims) on paired trainings whose true differences are ``truths`` (standard deviation 1)."""
    rng = np.random.default_rng(seed)
    outcomes = []
    for _ in range(tables):
        common = rng.normal(size=(PAIRS, 1))  # what a training seed does to both arms
        first, second = (common + rng.normal(size=(PAIRS, CLAIMS)) / math.sqrt(2) for _ in range(2))
        arms = zip((first + truths).T, second.T, strict=True)
        estimates = {str(n): paired_difference(*pair) for n, pair in enumerate(arms)}
        decisions = decide_table(estimates, MINIMUM)
        outcomes.append([(d.corrected if corrected else d.raw).outcome for d in decisions.values()])
    return np.array(outcomes)


def test_wrong_support_stays_within_five_percent_of_tables():
    nothing = np.zeros(CLAIMS)
    wrong = (simulated_tables(nothing, 400) == "supported").any(1).mean()
    assert wrong <= 0.05
    uncorrected = (simulated_tables(nothing, 400, corrected=False) == "supported").any(1).mean()
    assert uncorrected > 0.15  # so many claims need the correction


def test_wrong_verdicts_of_every_kind_stay_within_five_percent_of_tables():
    truths = np.array([0.0, -0.001, MINIMUM, MINIMUM + 0.001, -3, 3, 0, 0, 0, 3, 3, MINIMUM])
    outcomes = simulated_tables(truths, 400, seed=1)
    wrong = ((outcomes == "supported") & (truths <= 0)) | ((outcomes == "not supported") & (truths >= MINIMUM))
    wrong |= (outcomes == "equal") & (np.abs(truths) > MINIMUM)
    assert wrong.any(1).mean() <= 0.05
    assert (outcomes[:, truths == 3] == "supported").mean() > 0.95  # and real effects are seen
    assert (outcomes[:, truths == -3] == "not supported").mean() > 0.95


@pytest.mark.slow
def test_wrong_support_over_many_tables():
    mixed = np.concatenate([np.zeros(CLAIMS // 2), np.full(CLAIMS - CLAIMS // 2, 3.0)])
    for truths in (np.zeros(CLAIMS), mixed):
        outcomes = simulated_tables(truths, 4000, seed=2)
        assert (outcomes[:, truths == 0] == "supported").any(1).mean() <= 0.05


def covered(interval, truth):
    return interval.low <= truth <= interval.high


def coverage_of_pairs(trials, rng):
    differences = 0.7 + rng.normal(size=(trials, PAIRS))
    return np.mean([covered(paired_difference(row, np.zeros(PAIRS)).interval(), 0.7) for row in differences])


def coverage_of_units_and_images(trials, rng, units=8, images=40, unit_spread=1.0, image_spread=4.0):
    hits = []
    for trial in range(trials):
        noise = rng.normal(size=(units, images)) + unit_spread * rng.normal(size=(units, 1))
        first = MeanScores(0.7 + noise + image_spread * rng.normal(size=(1, images)))
        found = hierarchical_bootstrap(first, MeanScores(np.zeros((units, images))), draws=300, seed=trial)
        hits.append(covered(found.interval(), 0.7))
    return np.mean(hits)


RATES = np.array([[0.5, 0.4, 0.3], [0.45, 0.45, 0.2]])  # IoU of the classes, of two arms


def made_up_iou(rng, images):
    """Counts of two arms whose mIoU differs by the mean difference of ``RATES``: 1/30; images vary in difficulty."""
    union = rng.integers(50, 150, (images, 3)).astype(float)
    difficulty = rng.uniform(-0.1, 0.1, (images, 1))
    return [MeanIoU(union * (rates + difficulty + rng.uniform(-0.09, 0.09, (images, 3))), union) for rates in RATES]


def coverage_of_miou(trials, rng):
    hits = [
        covered(image_bootstrap(*made_up_iou(rng, 60), draws=300, seed=trial).interval(), 0.1 / 3)
        for trial in range(trials)
    ]
    return np.mean(hits)


COVERAGES = [coverage_of_pairs, coverage_of_units_and_images, coverage_of_miou]


@pytest.mark.parametrize("coverage", COVERAGES)
def test_intervals_hold_the_truth_as_often_as_they_say(coverage):
    assert 0.93 <= coverage(600, np.random.default_rng(3)) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("coverage", COVERAGES)
def test_coverage_over_many_trials(coverage):
    assert 0.935 <= coverage(5000, np.random.default_rng(4)) <= 0.965


@pytest.mark.slow
def test_coverage_with_few_sampling_seeds_and_with_spread_in_one_place_alone():
    rng = np.random.default_rng(5)
    for setting in ({"units": 3, "unit_spread": 0.05}, {"image_spread": 0.5}, {"units": 5, "image_spread": 0.2}):
        assert 0.93 <= coverage_of_units_and_images(3000, rng, **setting) <= 0.97, setting


# -- estimates ---------------------------------------------------------------------------------------------------------


def test_pairs_give_the_paired_t_test():
    first, second = [40.1, 41.0, 39.7, 42.0], [39.5, 40.9, 39.9, 40.2]
    expected = stats.ttest_rel(first, second)
    low, high = expected.confidence_interval(0.9)
    found = paired_difference(first, second)
    interval = found.interval(0.9)
    assert (interval.low, interval.high) == (pytest.approx(low), pytest.approx(high))
    assert found.p_value() == pytest.approx(expected.pvalue)
    assert (interval.count, interval.unit) == (4, "trainings")


def test_pairing_takes_out_what_both_arms_share():
    shared = np.random.default_rng(0).normal(0, 10, 8)
    found = paired_difference(shared + [1.0, 1.1] * 4, shared)
    assert found.interval().low > 0.9


def test_an_interval_excludes_a_value_exactly_where_the_p_value_is_small():
    found = estimate(0.4)
    for level in (0.9, 0.95, 0.99):
        assert found.p_value(found.interval(level).low) == pytest.approx(1 - level)


def test_bootstrap_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(1).normal(2, 3, 80)
    found = image_bootstrap(MeanScores(values), MeanScores(values - 0.5 * values), draws=20_000)
    assert found.value == pytest.approx((0.5 * values).mean())
    assert found.error == pytest.approx(stats.sem(0.5 * values), rel=0.02)
    assert found.unit == "images"


def test_miou_is_that_of_summed_pixels():
    intersection, union = [[1, 0], [0, 8]], [[10, 0], [0, 10]]
    scores = MeanIoU(intersection, union)
    assert scores.resampled(np.ones((1, 2)))[0, 0] == pytest.approx((0.1 + 0.8) / 2)
    assert scores.resampled(np.array([[2.0, 0.0]]))[0, 0] == pytest.approx(
        0.1
    )  # a class that does not occur is left out


def test_images_count_in_the_hierarchical_bootstrap():
    """Three sampling seeds that agree do not make a difference over four images certain."""
    images = np.array([0.0, 4.0, -3.0, 3.0])
    first = MeanScores(np.stack([images + offset for offset in (0, 1e-4, -1e-4)]))
    second = MeanScores(np.zeros((3, 4)))
    found = hierarchical_bootstrap(first, second, "sampling seeds")
    assert found.interval().low < 0 < found.interval().high
    assert found.freedom == pytest.approx(3, rel=0.01)  # of the images, not of the seeds
    assert decide(found, 0.1).needed is None  # no number of seeds makes up for images
    assert "more sampling seeds would not decide it" in decide(found, 0.1).describe()


def test_bootstraps_are_repeatable():
    arms = made_up_iou(np.random.default_rng(0), 10)
    assert image_bootstrap(*arms, seed=1) == image_bootstrap(*arms, seed=1) != image_bootstrap(*arms, seed=2)


def test_scaling():
    found = estimate(0.4).scaled(-100)
    assert (found.value, found.error, found.p_value()) == (-40, 10, estimate(0.4).p_value())


# -- verdicts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "error", "outcome"),
    [
        (1.0, 0.1, "supported"), (0.32, 0.1, "supported"), (0.05, 0.005, "equal"), (0.05, 0.05, "equal"),
        (-0.05, 0.05, "equal"), (-0.5, 0.1, "not supported"), (-0.3, 0.1, "not supported"),
        (0.2, 0.1, "undecided"), (1.0, 0.6, "undecided"), (-1.0, 0.6, "undecided"),
    ],
)  # fmt: skip
def test_the_four_verdicts(value, error, outcome):
    verdict = decide(estimate(value, error), MINIMUM)
    assert verdict.outcome == outcome
    words = {"equal": "equal within ±0.3"}.get(outcome, outcome)
    assert verdict.describe().startswith(words)


@pytest.mark.parametrize("value", [-0.1, 0.1, 0.2, 0.4])
def test_the_number_of_trainings_that_would_decide(value):
    verdict = decide(estimate(value, error=0.2, freedom=7, count=8), MINIMUM)
    assert verdict.outcome == "undecided"
    assert f"about {verdict.needed} trainings" in verdict.describe()

    def with_trainings(count):
        return decide(estimate(value, 0.2 * math.sqrt(8 / count), count - 1, count), MINIMUM).outcome

    assert with_trainings(verdict.needed) != "undecided"
    assert with_trainings(verdict.needed - 1) == "undecided"


def test_a_claim_is_decided_where_its_p_value_says_so():
    for value in (-0.4, -0.1, 0.0, 0.15, 0.3, 0.6):
        found = estimate(value)
        p = decision_p(found, MINIMUM)
        for level, decided in ((1 - p * 1.001, True), (1 - p * 0.999, False)):
            assert (decide(found, MINIMUM, level).outcome != "undecided") == decided


def test_the_least_of_several_differences_holds_against_every_rival():
    parts = [estimate(value, error) for value, error in ((0.9, 0.1), (0.5, 0.1), (0.6, 0.3))]
    found = least(parts)
    assert found.value == 0.5
    together = [part.interval(1 - 0.05 / 3) for part in parts]
    assert found.interval().low == together[2].low  # the rival that is known least
    assert found.interval().high == together[1].high
    for rival in parts:
        assert found.interval().low <= rival.interval().low
    assert least(parts[:1]) is parts[0]
    with pytest.raises(StatisticsError, match="needs one unit"):
        least([])
    with pytest.raises(StatisticsError, match="cannot be scaled"):
        found.scaled(-1)


@pytest.mark.parametrize("values", [(0.9, 0.5, 0.6), (0.2, -0.1, 0.5), (-0.5, -0.6, 0.3), (0.1, 0.05, 0.2)])
def test_the_least_is_decided_where_its_p_value_says_so(values):
    found = least([estimate(value, error) for value, error in zip(values, (0.1, 0.15, 0.2), strict=True)])
    p = decision_p(found, MINIMUM)
    assert 0 < p < 1
    for level, decided in ((1 - p * 1.001, True), (1 - p * 0.999, False)):
        assert (decide(found, MINIMUM, max(level, 0.001)).outcome != "undecided") == decided
    needed = decide(found, MINIMUM, 0.999999).needed
    assert decide(found.expected(needed), MINIMUM, 0.999999).outcome != "undecided"


def coverage_of_the_least(trials, rng, rivals=3):
    """How often the interval holds the true least, with rivals that are equally good: the luckiest one changes."""
    hits = []
    for _ in range(trials):
        ours = rng.normal(size=PAIRS)
        parts = [paired_difference(ours, rng.normal(size=PAIRS) - 0.7) for _ in range(rivals)]
        hits.append(covered(least(parts).interval(), 0.7))
    return np.mean(hits)


def test_the_interval_of_the_least_holds_the_truth():
    assert coverage_of_the_least(1000, np.random.default_rng(6)) >= 0.94  # Bonferroni: never below the level


def test_the_page_that_explains_says_what_is_done():
    page = PAGE.read_text(encoding="utf-8").replace("−", "-")
    examples = re.findall(r"^\| (-?[\d.]+) to (-?[\d.]+):.*\*\*(.+?)\*\*", page, re.MULTILINE)
    assert len(examples) == 4
    for low, high, words in examples:
        low, high = float(low), float(high)
        found = estimate((low + high) / 2, (high - low) / 2 / stats.t.ppf(0.975, 7))
        assert decide(found, 0.3).describe().startswith(words)
    assert f"({stats.t.ppf(0.975, 7):.2f} for 8 pairs, {stats.t.ppf(0.975, 1):.1f} for 2)" in page


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_table_is_judged_together():
    """p = 0.02 and 0.04 hold against 0.05 / 2 and 0.05; with a third claim 0.02 does not against 0.05 / 3."""
    clear, close = (estimate(MINIMUM - stats.t.isf(p / 2, 7), error=1.0) for p in (0.02, 0.04))
    pair = decide_table({"close": close, "clear": clear}, MINIMUM)
    assert [d.corrected.outcome for d in pair.values()] == ["not supported"] * 2
    assert list(pair) == ["close", "clear"]
    three = decide_table({"close": close, "clear": clear, "third": estimate(0.15)}, MINIMUM)
    assert {d.corrected.outcome for d in three.values()} == {"undecided"}
    assert three["clear"].raw.outcome == "not supported"
    assert three["clear"].p_raw == pytest.approx(0.02)
    assert three["clear"].p_corrected == pytest.approx(0.06)
    assert three["close"].corrected.needed > 8
    assert three["clear"].corrected.interval.low < three["clear"].raw.interval.low


def test_a_minimum_of_its_own_for_each_claim():
    table = decide_table({"a": estimate(0.0), "b": estimate(0.0)}, {"a": 10.0, "b": 0.1})
    assert [d.raw.outcome for d in table.values()] == ["equal", "undecided"]


# -- what allows no verdict --------------------------------------------------------------------------------------------


def test_one_training_decides_nothing():
    found = paired_difference([90.0], [10.0])
    verdict = decide(found, MINIMUM)
    assert (verdict.outcome, verdict.needed) == ("undecided", None)
    assert verdict.describe() == "undecided: at least 2 trainings are needed"
    assert json.loads(json.dumps(verdict.interval.to_dict(), allow_nan=False))["low"] is None
    assert found.p_value() == 1.0


def test_one_image_and_one_training_of_many_images_decide_nothing():
    one = image_bootstrap(MeanScores([3.0]), MeanScores([1.0]))
    assert decide(one, MINIMUM).describe() == "undecided: at least 2 images are needed"
    single = hierarchical_bootstrap(MeanScores(np.full(20, 3.0)), MeanScores(np.zeros(20)))
    assert decide(single, MINIMUM).describe() == "undecided: at least 2 trainings are needed"


def test_no_spread():
    assert decide(paired_difference([2.0, 3.0], [1.0, 2.0]), MINIMUM).outcome == "supported"
    same = paired_difference([2.0, 3.0], [2.0, 3.0])
    assert (decide(same, MINIMUM).outcome, same.p_value()) == ("equal", 1.0)
    flat = MeanScores(np.ones((3, 5)))
    assert hierarchical_bootstrap(flat, MeanScores(np.zeros((3, 5)))).interval().low == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired_difference([1.0, math.nan], [1.0, 2.0]), "scores of trainings hold 1 undefined"),
        (lambda: paired_difference([1.0, 2.0], [1.0]), "2 and 1 trainings; pairs need"),
        (lambda: paired_difference([], []), "some values"),
        (lambda: MeanScores([1.0, math.inf]), "per-image scores hold 1 undefined"),
        (lambda: MeanIoU([[2.0]], [[1.0]]), "greater than its union"),
        (lambda: MeanIoU([[1.0]], [[1.0, 2.0]]), "intersections are"),
        (lambda: MeanIoU([[math.nan]], [[1.0]]), "intersections hold 1 undefined"),
        (lambda: image_bootstrap(MeanIoU([[0.0]], [[0.0]]), MeanIoU([[0.0]], [[0.0]])), "no labelled pixel"),
        (lambda: image_bootstrap(MeanScores([1.0, 2.0]), MeanScores([1.0])), "2 and 1 images"),
        (lambda: image_bootstrap(MeanScores(np.ones((2, 3))), MeanScores(np.ones((2, 3)))), "2 repetitions"),
        (lambda: image_bootstrap(MeanScores([1.0]), MeanScores([1.0]), draws=1), "at least 2 draws"),
        (lambda: decide(estimate(1.0), 0.0), "smallest effect that matters"),
        (lambda: decide(estimate(1.0), math.nan), "smallest effect that matters"),
        (lambda: decide(estimate(1.0), 0.1, level=95), "level must be between 0 and 1"),
        (lambda: holm([0.1, math.nan]), r"p-values must be in \[0, 1\]"),
    ],
)
def test_numbers_without_a_meaning_are_refused_by_name(call, message):
    with pytest.raises(StatisticsError, match=message):
        call()
