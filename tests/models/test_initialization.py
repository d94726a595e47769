"""Fresh weights are distributed as the released code's."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.released import rename
from ddp_repro.workbook.catalogue import recipe

STATS = json.loads((Path(__file__).parents[1] / "golden" / "init_stats_segmentation.json").read_text())


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return build_model(recipe("ade20k_swin_t").model).state_dict()


@pytest.mark.parametrize("key", STATS)
def test_distribution(weights: dict[str, Tensor], key: str) -> None:
    expected, ours = STATS[key], weights[rename(key)].float()
    if ours.numel() == 1:
        return
    spread = max(expected["std"], 1e-8)
    # four standard errors of the estimates; few values need the slack of small samples
    slack = 4 / ours.numel() ** 0.5
    assert ours.mean().item() == pytest.approx(expected["mean"], abs=2 * slack * spread + 1e-6)
    assert ours.std(correction=0).item() == pytest.approx(expected["std"], rel=2 * slack, abs=1e-6)
    bounded = expected["std"] > 0 and expected["max"] < 2 * expected["std"]  # uniform, not normal
    if bounded and ours.numel() > 500:
        assert ours.abs().max().item() == pytest.approx(expected["max"], rel=0.05)
