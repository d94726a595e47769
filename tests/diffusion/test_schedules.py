import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddp_repro.diffusion import SCHEDULES, NoiseSchedule

GOLDEN = Path(__file__).parents[1] / "golden" / "ddp"
times = st.floats(0, 1, width=32)


@pytest.fixture(params=SCHEDULES)
def schedule(request: pytest.FixtureRequest) -> NoiseSchedule:
    return SCHEDULES[request.param]


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_matches_released_values(name: str) -> None:
    schedule, golden = SCHEDULES[name], np.load(GOLDEN / "misc_units.npz")
    t = torch.from_numpy(golden["t"])
    alpha, sigma = schedule.alpha_sigma(t)
    for name, ours in {"log_snr": schedule.log_snr(t), "alpha": alpha, "sigma": sigma}.items():
        np.testing.assert_allclose(ours, golden[f"{schedule.name}_{name}"], rtol=1e-6, atol=1e-7)


def test_gamma_is_the_released_depth_schedule() -> None:
    golden = np.load(GOLDEN / "kitti_swin_t_64x96.npz")
    alpha, sigma = SCHEDULES["gamma"].alpha_sigma(torch.from_numpy(golden["gamma_t_grid"]))
    np.testing.assert_allclose(alpha**2, golden["gamma_t"], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(sigma**2, 1 - golden["gamma_t"], rtol=1e-5, atol=1e-6)


def test_last_bit_of_the_cosine_schedule() -> None:
    """log-SNR(1) depends on the order of float32 operations; the weights were trained with this one."""
    expected = json.loads((GOLDEN / "log_snr_t1_sensitivity.json").read_text())
    ours = SCHEDULES["cosine"].log_snr(torch.tensor(1.0)).item()
    assert ours == pytest.approx(expected["official order fp32"], abs=2e-6)
    assert abs(ours - expected["float64"]) > 1e-3


def test_log_snr_decreases(schedule: NoiseSchedule) -> None:
    log_snr = schedule.log_snr(torch.linspace(0, 1, 1001, dtype=torch.float64))
    assert (log_snr.diff() <= 0).all()
    assert (log_snr[10:].diff() < 0).all()  # the first values of the cosine schedule are clamped


@given(t=times)
def test_variance_is_preserved(t: float) -> None:
    for schedule in SCHEDULES.values():
        alpha, sigma = schedule.alpha_sigma(torch.tensor(t, dtype=torch.float64))
        assert (alpha**2 + sigma**2).item() == pytest.approx(1, abs=1e-12)


def test_from_nearly_clean_to_nearly_noise(schedule: NoiseSchedule) -> None:
    alpha, sigma = schedule.alpha_sigma(torch.tensor([0.0, 1.0]))
    assert alpha[0] > 0.999 and sigma[1] > 0.999
