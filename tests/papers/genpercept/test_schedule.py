from pathlib import Path

import numpy as np
import pytest
import torch

from ddp_repro.papers.genpercept.schedule import BlendSchedule, learning_rate_factor, multi_resolution_noise
from ddp_repro.papers.genpercept.settings import TABLE1_BETAS
from ddp_repro.settings.errors import ConfigError

GOLDEN = Path(__file__).parents[2] / "golden" / "siblings"
BETAS = [(0.000425, 0.006), (0.00085, 0.012), (1.0, 1.0)]


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value) for name, value in np.load(GOLDEN / "genpercept_schedulers.npz").items()}


@pytest.fixture(scope="module")
def training() -> dict[str, torch.Tensor]:
    arrays = np.load(GOLDEN / "genpercept_losses_metrics.npz")
    return {name: torch.from_numpy(np.asarray(value)) for name, value in arrays.items()}


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("betas", BETAS)
def test_blend_and_target_are_the_released_ones(betas: tuple[float, float], golden: dict[str, torch.Tensor]) -> None:
    schedule, key = BlendSchedule(*betas), f"{betas[0]}_{betas[1]}"
    close(schedule.betas, golden[f"{key}/betas"])
    close(schedule.alphas_cumprod, golden[f"{key}/alphas_cumprod"])
    for name, noise in (("rgb", golden["z_x"]), ("gauss", golden["eps"])):
        close(schedule.blend(golden["z_y"], noise, golden["t"]), golden[f"{key}/blend_{name}"])
        close(schedule.velocity(golden["z_y"], noise, golden["t"]), golden[f"{key}/v_{name}"])


@pytest.mark.parametrize("steps", [1, 2, 10])
@pytest.mark.parametrize("betas", BETAS)
def test_ddim_steps_are_the_released_ones(
    betas: tuple[float, float], steps: int, golden: dict[str, torch.Tensor]
) -> None:
    schedule, key = BlendSchedule(*betas), f"{betas[0]}_{betas[1]}"
    timesteps = schedule.timesteps(steps)
    if f"{key}/ts_{steps}" in golden:
        assert timesteps == golden[f"{key}/ts_{steps}"].tolist()
    label = latent = golden["z_x"]
    for t in timesteps:
        label, latent = schedule.step(latent, 0.3 * latent - 0.1, t, steps)
    close(label, golden[f"{key}/ddim_custom_{steps}_x0"])
    close(latent, golden[f"{key}/ddim_custom_{steps}_prev"])


@pytest.mark.parametrize("betas", TABLE1_BETAS)
def test_steps_are_finite_at_every_beta(betas: tuple[float, float]) -> None:
    schedule, latent = BlendSchedule(*betas), torch.ones(1, 4, 2, 2)
    for t in schedule.timesteps(10):
        label, latent = schedule.step(latent, 0.3 * latent - 0.1, t, 10)
        assert label.isfinite().all() and latent.isfinite().all()


def test_velocity_inverts(golden: dict[str, torch.Tensor]) -> None:
    schedule, (label, noise) = BlendSchedule(0.00085, 0.012), (golden["z_y"], golden["eps"])
    for t in (0, 250, 999):
        blended, velocity = schedule.blend(label, noise, t), schedule.velocity(label, noise, t)
        close(schedule.label_from(blended, velocity, t), label)
        close(schedule.noise_from(blended, velocity, t), noise)


def test_half_precision_takes_its_roots_in_float32() -> None:
    signal, _ = BlendSchedule(0.00085, 0.012).amplitudes(500, torch.zeros(1, dtype=torch.bfloat16))
    assert signal.dtype == torch.bfloat16 and abs(float(signal) - 0.52567) < 2e-3


def test_printed_signal_amplitudes() -> None:
    printed = {
        (0.00085, 0.012): (0.99957, 0.94563, 0.52567, 0.06826),
        (0.0034, 0.048): (0.99830, 0.79933, 0.07545, 2e-5),
    }
    for betas, values in printed.items():
        ours = BlendSchedule(*betas).alphas_cumprod[[0, 100, 500, 999]].sqrt()
        torch.testing.assert_close(ours, torch.tensor(values), atol=1e-5, rtol=0)


def test_trailing_starts_at_the_last_level() -> None:
    assert BlendSchedule(1, 1).timesteps(1, "trailing") == [999]
    assert BlendSchedule(1, 1).timesteps(4, "trailing") == [999, 749, 499, 249]
    assert BlendSchedule(1, 1).timesteps(1000)[0] == 999  # the offset would ask for level 1000


@pytest.mark.parametrize("steps", [0, 1001])
def test_impossible_steps_are_refused(steps: int) -> None:
    with pytest.raises(ConfigError, match="steps"):
        BlendSchedule(1, 1).timesteps(steps)


def test_impossible_timesteps_are_refused() -> None:
    for t in (-1, 1000):
        with pytest.raises(ValueError, match="timesteps"):
            BlendSchedule(1, 1).blend(torch.zeros(1, 4, 1, 1), torch.zeros(1, 4, 1, 1), t)


def test_multi_resolution_noise_is_the_released_one(training: dict[str, torch.Tensor]) -> None:
    like = training["mrn_original"]
    annealed = 0.9 * torch.tensor([300, 900]) / 1000
    close(multi_resolution_noise(like, annealed, torch.Generator().manual_seed(7)), like)
    halved = multi_resolution_noise(like, 0.9, torch.Generator().manual_seed(7), halving=True)
    close(halved, training["mrn_power_of_two"])


def test_learning_rate_is_the_released_one(training: dict[str, torch.Tensor]) -> None:
    ours = [learning_rate_factor(int(iteration)) for iteration in training["lr_iters"]]
    np.testing.assert_allclose(ours, training["lr_factor"].numpy(), atol=1e-12)
    with pytest.raises(ConfigError, match="warmup"):
        learning_rate_factor(0, total=10, warmup=10)
