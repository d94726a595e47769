"""Learning-rate curves of the three papers' releases."""

from pathlib import Path

import numpy as np
import pytest

from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import TrainConfig
from ddp_repro.training.curves import betas, learning_rate

SIBLINGS = Path(__file__).parents[1] / "golden/siblings"


def test_exponential_is_the_released_one_of_genpercept():
    golden = np.load(SIBLINGS / "genpercept_losses_metrics.npz")
    config = TrainConfig(
        optimizer="adam", weight_decay=0, iterations=30_000, decay_iterations=25_000, learning_rate=3e-5,
        curve="exponential", min_rate_ratio=0.01, warmup_iterations=100, warmup_ratio=0,
    )  # fmt: skip
    rates = [learning_rate(config, int(iteration)) for iteration in golden["lr_iters"]]
    np.testing.assert_allclose(np.array(rates) / 3e-5, golden["lr_factor"], rtol=1e-6, atol=1e-12)


def test_step_is_the_released_one_of_ddps():
    """Halved every 10 000 iterations down to 1e-6, after a linear warm-up of 1000."""
    config = TrainConfig(
        iterations=80_000, learning_rate=1.5e-4, betas=(0.9, 0.96), weight_decay=0.045, curve="step",
        step_iterations=10_000, step_factor=0.5, min_rate_ratio=1e-6 / 1.5e-4, warmup_iterations=1000,
    )  # fmt: skip
    expected = {
        0: 1.5e-10, 500: 1.5e-4 * (1 - 0.5 * (1 - 1e-6)), 1000: 1.5e-4, 9999: 1.5e-4, 10_000: 7.5e-5, 19_999: 7.5e-5,
        20_000: 3.75e-5, 79_999: 1e-6 if 1.5e-4 / 2**7 < 1e-6 else 1.5e-4 / 2**7,
    }  # fmt: skip
    assert {i: learning_rate(config, i) for i in expected} == pytest.approx(expected, rel=1e-9)
    longer = TrainConfig(**{**vars(config), "iterations": 160_000})
    assert learning_rate(longer, 159_999) == pytest.approx(1e-6)
    assert betas(config, 5) == (0.9, 0.96)


def test_constant_has_a_warm_up_and_nothing_else():
    config = TrainConfig(iterations=10, learning_rate=2.0, curve="constant", warmup_iterations=4, warmup_ratio=0.5)
    assert [learning_rate(config, i) for i in (0, 2, 4, 9)] == [1.0, 1.5, 2.0, 2.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "never reaches 0"),
        ({"min_rate_ratio": 0.1, "decay_iterations": 5, "warmup_iterations": 5}, "ends at iteration 5, before"),
    ],
)
def test_an_impossible_exponential_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig(curve="exponential", **changes)
