from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ddp_repro.papers.genpercept.labels import normalise_depth, normalise_disparity, normalise_range

GOLDEN = Path(__file__).parents[2] / "golden" / "siblings" / "genpercept_losses_metrics.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.asarray(value)) for name, value in np.load(GOLDEN).items()}


def test_depth_and_disparity_are_the_released_labels(golden: dict[str, Tensor]) -> None:
    depth, valid = golden["al_gt"], golden["al_valid"]
    torch.testing.assert_close(normalise_depth(depth, valid), golden["norm_depth"][0], atol=1e-5, rtol=0)
    torch.testing.assert_close(normalise_disparity(depth, valid), golden["norm_disp"][0], atol=1e-5, rtol=0)


def test_depth_quantiles_are_numpys(golden: dict[str, Tensor]) -> None:
    depth, valid = golden["al_gt"], golden["al_valid"]
    low, high = np.quantile(depth[valid].numpy(), [0.1, 0.7])
    expected = np.clip((depth.numpy() - low) / (high - low) * 2 - 1, -1, 1)
    np.testing.assert_allclose(normalise_depth(depth, valid, (0.1, 0.7)), expected, atol=1e-5)


def test_invalid_pixels_never_reach_a_label() -> None:
    depth = torch.tensor([[1.0, 2.0, 4.0, 0.0, torch.inf, torch.nan]])
    valid = torch.tensor([[True, True, True, False, False, False]])
    assert normalise_disparity(depth, valid).tolist() == [[1, pytest.approx(-1 / 3), -1, -1, -1, -1]]
    assert normalise_depth(depth, valid, (0, 1)).tolist() == [[-1, pytest.approx(-1 / 3), 1, -1, -1, -1]]


def test_constant_labels_are_stated() -> None:
    depth, valid = torch.full((2, 2), 3.0), torch.ones(2, 2, dtype=torch.bool)
    assert not normalise_depth(depth, valid).any() and not normalise_disparity(depth, valid).any()
    assert normalise_range(torch.zeros(2, 2)).eq(-1).all() and normalise_range(torch.full((2, 2), 255)).eq(1).all()
    assert normalise_range(torch.tensor([0, 128, 255])).tolist() == [-1, pytest.approx(1 / 255, abs=1e-6), 1]


def test_bad_labels_are_refused() -> None:
    depth, valid = torch.ones(2, 2), torch.ones(2, 2, dtype=torch.bool)
    for normalise in (normalise_depth, normalise_disparity):
        with pytest.raises(ValueError, match="no pixel"):
            normalise(depth, ~valid)
        with pytest.raises(ValueError, match="finite"):
            normalise(depth * torch.nan, valid)
    with pytest.raises(ValueError, match="above 0"):
        normalise_disparity(depth * 0, valid)
    with pytest.raises(ValueError, match="finite"):
        normalise_range(torch.tensor([torch.inf]))
