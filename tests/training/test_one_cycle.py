"""The released BEV schedule."""

from __future__ import annotations

import numpy as np

from ddp_repro.training.one_cycle import one_cycle_beta1, one_cycle_rate
from tests.golden_recipe_bev import reference


def test_learning_rate_and_beta1() -> None:
    golden = reference("lr_schedule")
    total, iterations = int(golden["max_iters"]), golden["iters"].tolist()
    rates = [one_cycle_rate(float(golden["base_lr"]), i, total) for i in iterations]
    betas = [one_cycle_beta1(float(golden["base_beta1"]), i, total) for i in iterations]
    np.testing.assert_allclose(rates, golden["lr"], rtol=1e-9)
    np.testing.assert_allclose(betas, golden["beta1"], rtol=1e-9)
