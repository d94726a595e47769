from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ddp_repro.tasks.affine_depth.alignment import fit_alignment, least_squares
from ddp_repro.tasks.affine_depth.metrics import METRICS, PROTOCOLS, AffineDepthErrors, AffineProtocol

GOLDEN = Path(__file__).parents[2] / "golden" / "siblings" / "genpercept_losses_metrics.npz"

NAMES = {  # the released evaluation's names
    "rel": "abs_relative_difference",
    "sq_rel": "squared_relative_difference",
    "rmse": "rmse_linear",
    "rmse_log": "rmse_log",
    "log10": "log10",
    "silog": "silog_rmse",
    "delta1": "delta1_acc",
    "delta2": "delta2_acc",
    "delta3": "delta3_acc",
    "i_rmse": "i_rmse",
}


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.asarray(value)) for name, value in np.load(GOLDEN).items()}


def test_depth_alignment_is_the_released_one(golden: dict[str, Tensor]) -> None:
    alignment = fit_alignment(golden["al_pred"], golden["al_gt"], golden["al_valid"])
    assert alignment.scale == pytest.approx(float(golden["al_scale"]), abs=1e-5)
    assert alignment.shift == pytest.approx(float(golden["al_shift"]), abs=1e-5)
    torch.testing.assert_close(alignment.apply(golden["al_pred"]), golden["al_aligned"], atol=1e-5, rtol=0)


def test_disparity_alignment_is_the_released_one(golden: dict[str, Tensor]) -> None:
    prediction = golden["disp_pred"]
    alignment = fit_alignment(prediction, golden["al_gt"], golden["al_valid"], space="disparity")
    assert alignment.scale == pytest.approx(float(golden["disp_scale"]), abs=1e-5)
    assert alignment.shift == pytest.approx(float(golden["disp_shift"]), abs=1e-5)
    assert alignment.pixels == int(golden["disp_valid"].sum())
    torch.testing.assert_close(alignment.apply(prediction), golden["disp_depth"], atol=2e-5, rtol=1e-5)


def test_subsampled_alignment_is_the_released_one(golden: dict[str, Tensor]) -> None:
    maps = golden["alr_pred"], golden["alr_gt"], golden["alr_valid"]
    alignment = fit_alignment(*maps, max_resolution=32, width_only=True)
    assert alignment.scale == pytest.approx(float(golden["alr_scale"]), abs=1e-5)
    assert alignment.shift == pytest.approx(float(golden["alr_shift"]), abs=1e-5)
    torch.testing.assert_close(alignment.apply(golden["alr_pred"]), golden["alr_aligned"], atol=1e-5, rtol=0)
    both = fit_alignment(*maps, max_resolution=32)
    assert both.pixels < alignment.pixels < int(golden["alr_valid"].sum())
    assert fit_alignment(*maps, max_resolution=80).pixels == int(golden["alr_valid"].sum())


@pytest.mark.parametrize("space", ["depth", "disparity"])
def test_measures_are_the_released_ones(space: str, golden: dict[str, Tensor]) -> None:
    tally = AffineDepthErrors(AffineProtocol("golden", 1e-3, 10), space)  # type: ignore[arg-type]
    prediction, prefix = ("al_pred", "metric_depth") if space == "depth" else ("disp_pred", "metric_disp")
    tally.update(golden[prediction], golden["al_gt"], golden["al_valid"])
    checked = 0
    for metric in METRICS:
        if f"{prefix}_{NAMES[metric]}" in golden:
            # The released numbers are float32, of which silog subtracts two near ones.
            released = float(golden[f"{prefix}_{NAMES[metric]}"])
            assert tally.value(metric) == pytest.approx(released, abs=1e-5 if metric != "silog" else 1e-4), metric
            checked += 1
    assert checked == (10 if space == "depth" else 3)


def test_any_affine_map_is_undone() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = 1 + 9 * torch.rand(12, 16, generator=generator)
    for scale, shift in ((0.03, 5.0), (-2.0, 1e3), (1e-4, 0.0)):
        alignment = fit_alignment((truth.double() - shift) / scale, truth)
        assert (alignment.scale, alignment.shift) == (pytest.approx(scale, rel=1e-6), pytest.approx(shift, abs=1e-4))
    disparity = fit_alignment((1 / truth - 0.02) / 3, truth, space="disparity")
    torch.testing.assert_close(disparity.apply((1 / truth - 0.02) / 3), truth, atol=0, rtol=1e-4)


def test_sparse_points_align_as_a_loop_says() -> None:
    generator = torch.Generator().manual_seed(1)
    prediction, truth = torch.rand(2, 9, 11, generator=generator)
    truth = torch.where(torch.rand(9, 11, generator=generator) < 0.1, 5 + truth, 0)
    points = [(float(prediction[y, x]), float(truth[y, x])) for y, x in truth.nonzero().tolist()]
    design = np.array([[p, 1.0] for p, _ in points])
    scale, shift = np.linalg.lstsq(design, np.array([t for _, t in points]), rcond=None)[0]
    alignment = fit_alignment(prediction, truth)
    assert (alignment.scale, alignment.shift) == (pytest.approx(scale, abs=1e-9), pytest.approx(shift, abs=1e-9))


@pytest.mark.parametrize("level", [0.0, 0.3, 1e6])
def test_constant_prediction_is_shifted_to_the_mean(level: float) -> None:
    truth = torch.arange(1.0, 13.0).reshape(3, 4)
    alignment = fit_alignment(torch.full((3, 4), level), truth)
    assert alignment.scale == 0 and alignment.shift == pytest.approx(6.5)
    tally = AffineDepthErrors(AffineProtocol("any", 0.1, 100))
    tally.update(torch.full((3, 4), level), truth)
    assert all(np.isfinite(value) for value in tally.to_dict().values())


def test_constant_truth_has_no_scale() -> None:
    alignment = fit_alignment(torch.rand(3, 4, generator=torch.Generator().manual_seed(0)), torch.full((3, 4), 2.0))
    assert alignment.scale == pytest.approx(0, abs=1e-12) and alignment.shift == pytest.approx(2)


@pytest.mark.parametrize("pixels", [0, 1])
def test_too_few_pixels_are_refused(pixels: int) -> None:
    truth = torch.zeros(3, 4)
    truth.view(-1)[:pixels] = 2.0
    with pytest.raises(ValueError, match="two valid pixels"):
        fit_alignment(torch.rand(3, 4), truth)
    with pytest.raises(ValueError, match="two valid pixels"):
        AffineDepthErrors(PROTOCOLS["nyu"]).update(torch.rand(3, 4), truth)


def test_disparity_needs_positive_predictions() -> None:
    with pytest.raises(ValueError, match="not above 0 at two valid pixels"):
        fit_alignment(-torch.ones(3, 4), torch.ones(3, 4), space="disparity")


def test_bad_maps_are_refused() -> None:
    truth = torch.ones(3, 4)
    with pytest.raises(ValueError, match="shape"):
        fit_alignment(torch.ones(4, 3), truth)
    with pytest.raises(ValueError, match="finite"):
        fit_alignment(torch.full((3, 4), torch.nan), truth)
    with pytest.raises(ValueError, match="space"):
        fit_alignment(truth, truth, space="log")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mask"):
        fit_alignment(truth, truth, torch.ones(4, 3, dtype=torch.bool))


def test_masked_values_never_matter() -> None:
    truth, prediction = torch.arange(1.0, 13.0).reshape(3, 4), torch.arange(12.0).reshape(3, 4)
    valid = torch.ones(3, 4, dtype=torch.bool)
    valid[0, 0] = False
    prediction[0, 0] = torch.nan
    assert fit_alignment(prediction, truth, valid).scale == pytest.approx(1)


def test_batched_fit_has_gradients_through_both() -> None:
    generator = torch.Generator().manual_seed(0)
    prediction = torch.rand(2, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    truth, valid = (
        torch.rand(2, 8, generator=generator, dtype=torch.float64),
        torch.rand(2, 8, generator=generator) < 0.8,
    )
    assert torch.autograd.gradcheck(lambda x: least_squares(x, truth, valid), prediction)


def test_tally_is_the_mean_over_images_and_merges() -> None:
    generator = torch.Generator().manual_seed(0)
    protocol = PROTOCOLS["nyu"]
    pairs = [(torch.rand(6, 8, generator=generator), 1 + torch.rand(6, 8, generator=generator)) for _ in range(3)]
    whole, parts = AffineDepthErrors(protocol), (AffineDepthErrors(protocol), AffineDepthErrors(protocol))
    for i, pair in enumerate(pairs):
        whole.update(*pair, name=str(i))
        parts[i % 2].update(*pair, name=str(i))
    merged = parts[0].merge(parts[1])
    assert sorted(image.name for image in merged.images) == ["0", "1", "2"]
    assert merged.to_dict() == pytest.approx(whole.to_dict())
    assert whole.value("rel") == pytest.approx(np.mean([image.values[METRICS.index("rel")] for image in whole.images]))
    with pytest.raises(ValueError, match="merge"):
        whole.merge(AffineDepthErrors(PROTOCOLS["kitti"]))
    assert np.isnan(AffineDepthErrors(protocol).value("rel"))


def test_clipping_and_range_are_the_protocols() -> None:
    truth = torch.tensor([[0.0, 2.0, 4.0, 6.0, 8.0, 20.0]])
    prediction = torch.tensor([[9.0, 0.2, 0.4, 0.6, 5.0, 0.1]])  # the fifth is an outlier above the range
    tally = AffineDepthErrors(PROTOCOLS["nyu"])
    image = tally.update(prediction, truth)
    assert image.alignment.pixels == 4
    aligned = image.alignment.apply(prediction)[0, 1:5].clamp(1e-3, 10)
    assert image.values[METRICS.index("rel")] == pytest.approx(
        float(((aligned - truth[0, 1:5]).abs() / truth[0, 1:5]).mean())
    )
