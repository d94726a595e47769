from pathlib import Path

import numpy as np
import pytest

from ddp_repro.tasks.dichotomous.metrics import AUTHORS_THRESHOLD, METRICS, DichotomousErrors, correction_effort

pytest.importorskip("py_sod_metrics")
GOLDEN = Path(__file__).parents[2] / "golden" / "siblings" / "external_metrics.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    arrays = np.load(GOLDEN)
    return {name: arrays[name] for name in arrays.files if name.startswith(("hce_", "dis_"))}


def test_measures_are_the_reference_ones(golden: dict[str, np.ndarray]) -> None:
    tally = DichotomousErrors()
    tally.update(golden["hce_pred"], golden["hce_gt"])
    for metric, name in {"mae": "mae", "s": "S", "mean_e": "Emean", "max_f": "maxF", "weighted_f": "wF"}.items():
        assert tally.value(metric) == pytest.approx(float(golden[f"dis_{name}"]), abs=1e-9), metric
    assert tally.value("hce") == float(golden["hce_degraded_pysod"])


def test_thresholds_differ_on_grey_maps_alone(golden: dict[str, np.ndarray]) -> None:
    prediction, truth = golden["hce_pred"], golden["hce_gt"]
    assert (prediction == 128).any()
    assert correction_effort(prediction, truth, AUTHORS_THRESHOLD) != correction_effort(prediction, truth)
    binary = np.where(prediction > 200, 255, 0).astype(np.uint8)
    assert correction_effort(binary, truth, AUTHORS_THRESHOLD) == correction_effort(binary, truth)


def test_correction_effort_of_plain_cases(golden: dict[str, np.ndarray]) -> None:
    truth = golden["hce_gt"]
    assert correction_effort(truth, truth) == float(golden["hce_perfect_pysod"])
    assert correction_effort(np.zeros_like(truth), truth) == float(golden["hce_empty_pysod"])
    assert correction_effort(255 - truth, truth) == float(golden["hce_inverted_pysod"])


def test_set_measures_are_of_the_mean_curve(golden: dict[str, np.ndarray]) -> None:
    truth, prediction = golden["hce_gt"], golden["hce_pred"]
    tally, second = DichotomousErrors(effort=False), DichotomousErrors(effort=False)
    tally.update(prediction, truth, "a")
    second.update(255 - prediction, truth, "b")
    tally.merge(second)
    first, last = tally.images
    assert tally.value("max_f") == pytest.approx(((first.f_curve + last.f_curve) / 2).max())
    assert tally.value("max_f") < (first.f_curve.max() + last.f_curve.max()) / 2
    assert tally.value("mae") == pytest.approx((first.mae + last.mae) / 2)
    assert [image.name for image in tally.images] == ["a", "b"] and set(tally.to_dict()) == set(METRICS) - {"hce"}


def test_normalisation_is_an_option(golden: dict[str, np.ndarray]) -> None:
    faint = golden["hce_pred"] // 2
    scores = []
    for normalise in (True, False):
        tally = DichotomousErrors(normalise, effort=False)
        tally.update(faint, golden["hce_gt"])
        scores.append(tally.value("mae"))
    expected = np.abs(faint / 255 - (golden["hce_gt"] > 128)).mean()
    assert scores[1] == pytest.approx(expected) and scores[0] < scores[1]


def test_bad_maps_are_refused(golden: dict[str, np.ndarray]) -> None:
    truth = golden["hce_gt"]
    with pytest.raises(ValueError, match="uint8"):
        DichotomousErrors().update(truth / 255, truth)
    with pytest.raises(ValueError, match="twice"):
        DichotomousErrors().update(truth[1:], truth)
    with pytest.raises(ValueError, match="no image"):
        DichotomousErrors().to_dict()
    with pytest.raises(ValueError, match="merge"):
        DichotomousErrors().merge(DichotomousErrors(effort=False))
