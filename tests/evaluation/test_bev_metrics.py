"""IoU over seven thresholds: the released numbers, exact counting, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ddp_repro.tasks.bev.metrics import THRESHOLDS, ThresholdCounts
from ddp_repro.tasks.bev.settings import MAP_CLASSES
from tests.golden_recipe_bev import masks, reference, uniform

SAMPLES = 3


def sample(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    truth = masks(f"metric.gt{number}", (1, 6, 200, 200))
    noise = uniform(f"metric.pred{number}", (6, 200, 200))
    probability = (0.8 * noise + 0.2 * truth.numpy()).astype(np.float32)
    if number == 0:
        probability[0, 0, 0, :7] = THRESHOLDS
    return torch.from_numpy(probability), truth


def test_published_evaluation() -> None:
    golden = dict(zip(*reference("metric").values(), strict=True))
    counts = ThresholdCounts(6)
    for number in range(SAMPLES):
        counts.update(*sample(number))
    for name, best, each in zip(MAP_CLASSES, counts.best_iou(), counts.iou(), strict=True):
        assert best.item() == pytest.approx(golden[f"map/{name}/iou@max"], abs=1e-6)
        for threshold, iou in zip(THRESHOLDS, each, strict=True):
            assert iou.item() == pytest.approx(golden[f"map/{name}/iou@{threshold:.2f}"], abs=1e-6)
    assert counts.best_iou().mean().item() == pytest.approx(golden["map/mean/iou@max"], abs=1e-6)
    assert torch.equal(counts.iou_at(0.5), counts.iou()[:, 3])


def test_parts_add_up() -> None:
    together = ThresholdCounts(6).update(*(torch.cat(both) for both in zip(sample(0), sample(1), strict=True)))
    merged = ThresholdCounts(6).update(*sample(0)).merge(ThresholdCounts(6).update(*sample(1)))
    assert torch.equal(together.counts, merged.counts)
    each = [ThresholdCounts(6).image_statistics(p, m) for n in (0, 1) for p, m in zip(*sample(n), strict=True)]
    added = ThresholdCounts(6).add({name: np.stack([image[name] for image in each]) for name in ThresholdCounts.rows})
    assert torch.equal(added.counts, together.counts) and added.samples == together.samples == 2
    truth, counts = sample(0)[1], ThresholdCounts(6).update(*sample(0)).counts
    assert (counts[0] + counts[2] == truth.sum((0, 2, 3))[:, None]).all()


def test_absent_class_and_exact_threshold() -> None:
    nothing = torch.zeros(1, 1, 2, 2)
    assert ThresholdCounts(1).update(nothing, nothing).best_iou().item() == 0
    counts = ThresholdCounts(1).update(torch.full((1, 1, 1, 1), 0.35), torch.ones(1, 1, 1, 1))
    assert counts.counts[0, 0].tolist() == [1, 0, 0, 0, 0, 0, 0]


def test_what_is_refused() -> None:
    counts = ThresholdCounts(2)
    with pytest.raises(ValueError, match=r"expected equal shapes \(B, 2, X, Y\)"):
        counts.update(torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2))
    with pytest.raises(ValueError, match="not finite"):
        counts.update(torch.full((1, 2, 2, 2), float("nan")), torch.zeros(1, 2, 2, 2))
    with pytest.raises(ValueError, match="cannot merge counts of 2 and 3 classes"):
        counts.merge(ThresholdCounts(3))
