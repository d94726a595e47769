"""Depth measures against a plain loop, closed forms and mmsegmentation's; protocols against index arithmetic."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddp_repro.tasks.depth.metrics import METRICS, DepthErrors, depth_errors
from ddp_repro.tasks.depth.protocols import PROTOCOLS

ALL = PROTOCOLS["outdoor"]


def maps(seed: int = 0, size: tuple[int, int] = (352, 1216)) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(2, 90, size) * (rng.random(size) < 0.3)
    prediction = np.clip(truth * rng.normal(1.05, 0.2, size) + rng.uniform(0, 1, size), 0.5, 120)
    return torch.tensor(prediction, dtype=torch.float32), torch.tensor(truth, dtype=torch.float32)


def plain_loop(prediction: list[float], truth: list[float]) -> dict[str, float]:
    n, out = len(truth), dict.fromkeys(METRICS, 0.0)
    g = [math.log(d) - math.log(t) for d, t in zip(prediction, truth, strict=True)]
    for d, t, e in zip(prediction, truth, g, strict=True):
        out["rel"] += abs(d - t) / t / n
        out["sq_rel"] += (d - t) ** 2 / t / n
        out["rmse"] += (d - t) ** 2 / n
        out["rmse_log"] += e**2 / n
        out["log10"] += abs(math.log10(d) - math.log10(t)) / n
        for k in (1, 2, 3):
            out[f"delta{k}"] += (max(d / t, t / d) < 1.25**k) / n
    mean = sum(g) / n
    out["silog"] = 100 * math.sqrt(sum((e - mean) ** 2 for e in g) / n)
    return out | {"rmse": math.sqrt(out["rmse"]), "rmse_log": math.sqrt(out["rmse_log"])}


def test_measures_equal_a_plain_loop():
    prediction, truth = maps(size=(20, 30))
    valid = truth > 0
    measured = dict(zip(METRICS, depth_errors(prediction[valid], truth[valid]).tolist(), strict=True))
    assert measured == pytest.approx(plain_loop(prediction[valid].tolist(), truth[valid].tolist()), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "crop", "size"), [("nyu", "nyu_crop", (480, 640)), ("indoor", None, (60, 80)), ("outdoor", None, (60, 80))]
)
def test_measures_equal_mmsegmentations(name, crop, size):
    metrics = pytest.importorskip("mmseg.evaluation.metrics.depth_metric")
    protocol = PROTOCOLS[name]
    judge = metrics.DepthMetric(min_depth_eval=protocol.min_depth, max_depth_eval=protocol.max_depth, crop_type=crop)
    ours = DepthErrors(protocol)
    for seed in range(3):
        prediction, truth = maps(seed, size)
        prediction = prediction.clamp(max=protocol.max_depth)
        judge.process({}, [{"pred_depth_map": {"data": prediction}, "gt_depth_map": {"data": truth}}])
        ours.update(prediction, truth)
    theirs = judge.compute_metrics(judge.results)
    names = {"abs_rel": "rel", "d1": "delta1", "d2": "delta2", "d3": "delta3"}
    names |= {name: name for name in ("sq_rel", "rmse", "rmse_log", "log10")}
    # its "silog" is another quantity (half of the squared mean taken off instead of all of it)
    for other, name in names.items():
        assert ours.value(name) == pytest.approx(theirs[other], rel=1e-5), name


def test_a_perfect_map_has_no_error():
    _, truth = maps()
    tally = DepthErrors(ALL).update(truth, truth)
    assert [tally.value(name) for name in METRICS] == [0] * 6 + [1] * 3


@given(st.floats(0.3, 3.0))
def test_a_map_off_by_a_factor(factor):
    truth = torch.linspace(1, 20, 50, dtype=torch.float64)
    values = dict(zip(METRICS, depth_errors(factor * truth, truth).tolist(), strict=True))
    assert values["rel"] == pytest.approx(abs(factor - 1), abs=1e-12)
    assert values["rmse_log"] == pytest.approx(abs(math.log(factor)), abs=1e-9)
    assert values["silog"] == pytest.approx(0, abs=1e-5)  # the root of a rounding error
    ratio = max(factor, 1 / factor)
    if abs(ratio - 1.25) > 1e-9:  # at the threshold itself, rounding decides
        assert values["delta1"] == float(ratio < 1.25)


def test_images_count_alike_however_many_pixels_they_have():
    sparse, dense = torch.zeros(4, 4), torch.full((4, 4), 10.0)
    sparse[0, 0] = 10.0
    tally = DepthErrors(ALL).update(torch.full((4, 4), 20.0), sparse).update(dense, dense)
    assert (tally.value("rel"), tally.images) == (0.5, 2)
    other = DepthErrors(ALL).update(dense, dense)
    assert other.merge(tally).value("rel") == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("name", "size", "rows", "columns"),
    [
        ("kitti_garg", (352, 1216), (143, 349), (43, 1172)),
        ("kitti_eigen", (352, 1216), (117, 321), (43, 1172)),
        ("nyu", (480, 640), (45, 471), (41, 601)),
        ("nyu", (120, 160), (11, 117), (10, 150)),
        ("sunrgbd", (530, 730), (45, 471), (41, 601)),
        ("sunrgbd", (60, 80), (45, 60), (41, 80)),
        ("indoor", (7, 9), (0, 7), (0, 9)),
    ],
)
def test_windows(name, size, rows, columns):
    expected = torch.zeros(size, dtype=torch.bool)
    expected[slice(*rows), slice(*columns)] = True
    assert torch.equal(PROTOCOLS[name].valid(torch.full(size, 5.0)), expected)


def test_depths_outside_the_cap_are_left_out_and_predictions_clamped():
    truth = torch.tensor([[0.0, 5e-4, 5.0, 10.0, 40.0]])
    assert PROTOCOLS["indoor"].valid(truth).tolist() == [[False, False, True, False, False]]
    assert DepthErrors(PROTOCOLS["indoor"]).update(torch.full((1, 5), 1e6), truth).value("rel") == 1.0


@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (torch.ones(2, 2), torch.ones(2, 3), "shape"),
        (torch.full((2, 2), torch.nan), torch.ones(2, 2), "not finite"),
    ],
)
def test_bad_maps_are_named(prediction, truth, message):
    with pytest.raises(ValueError, match=message):
        DepthErrors(ALL).update(prediction, truth)


def test_every_protocol_says_what_it_does():
    for protocol in PROTOCOLS.values():
        text = protocol.describe()
        assert f"{protocol.max_depth:g} m" in text and "no median scaling" in text and "per image" in text
