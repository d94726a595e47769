from pathlib import Path

import numpy as np
import pytest
import torch

from ddp_repro.papers.genpercept.ensemble import ensemble_maps
from ddp_repro.settings.errors import ConfigError

pytest.importorskip("diffusers")


def test_depth_ensemble_is_the_released_one(siblings: Path) -> None:
    golden = np.load(siblings / "genpercept_losses_metrics.npz")
    members = torch.from_numpy(golden["ens_in"])[None]
    mean = ensemble_maps(members, "affine_depth")
    np.testing.assert_allclose(mean, golden["ens_mean"], atol=1e-5, rtol=0)
    # The authors' solver works in float64 here.
    np.testing.assert_allclose(
        ensemble_maps(members, "affine_depth", "median"), golden["ens_median"], atol=5e-3, rtol=0
    )
    both = ensemble_maps(members.expand(2, -1, -1, -1, -1), "affine_depth")
    assert torch.equal(both[:1], mean) and torch.equal(both[1:], mean)


def test_normals_ensemble_is_the_mean_direction() -> None:
    members = torch.zeros(1, 2, 3, 1, 1)
    members[0, 0, 0], members[0, 1, 2] = 1, 1
    torch.testing.assert_close(ensemble_maps(members, "normals").flatten(), torch.tensor([0.5, 0, 0.5]).sqrt())


def test_other_tasks_have_none() -> None:
    with pytest.raises(ConfigError, match="matting"):
        ensemble_maps(torch.zeros(1, 2, 1, 4, 4), "matting")
