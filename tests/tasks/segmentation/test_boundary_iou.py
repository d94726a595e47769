"""Boundary IoU against the released numbers, and against erosion done step by step."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ddp_repro.evaluation.measure import json_ready
from ddp_repro.protocols.registry import BUILT_IN, task_named
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import EvalConfig
from ddp_repro.tasks.segmentation.boundary_iou import BoundaryIoU, boundary, erosions
from ddp_repro.tasks.segmentation.metrics import ClassCounts, mean_over_classes
from ddp_repro.workbook.catalogue import recipe

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "siblings" / "ddps_boundary_iou.npz")
TRUTH, PREDICTION = (torch.from_numpy(GOLDEN[name]).long() for name in ("gt", "pred"))


def assert_scores(ours: Tensor, name: str) -> None:
    np.testing.assert_allclose(ours.numpy(), GOLDEN[name], atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("ignore_index", [0, 255])
def test_boundary_scores_are_the_released_ones(ignore_index: int) -> None:
    assert_scores(BoundaryIoU(6, ignore_index=ignore_index).update(PREDICTION, TRUTH).iou(), f"ig{ignore_index}_bIoU")


def test_the_boundary_is_the_released_one() -> None:
    edge = boundary(TRUTH[0])
    for index, expected in enumerate(torch.from_numpy(GOLDEN["boundary_img0_ig0"]).bool(), start=1):
        assert torch.equal((TRUTH[0] == index) & edge, expected)


def test_scores_with_a_class_zero_are_the_released_ones() -> None:
    matrix = ClassCounts(6).update(PREDICTION, TRUTH.masked_fill(TRUTH == 0, 255))
    assert_scores(matrix.iou(), "ig0_IoU")
    assert_scores(matrix.accuracy(), "ig0_Acc")
    assert matrix.aacc == pytest.approx(float(GOLDEN["ig0_aAcc"]), abs=1e-12)
    assert mean_over_classes(matrix.iou()) == pytest.approx(0.6646, abs=5e-5)
    assert mean_over_classes(matrix.iou(), left_out=0) == pytest.approx(0.8307, abs=5e-5)


def test_scores_with_the_unlabelled_class_last_are_the_same() -> None:
    """The order of labels: what the released code calls 1..5, 0 is 0..4, 5 here, and 255 in the truth."""
    prediction, truth = (PREDICTION - 1) % 6, (TRUTH - 1) % 6
    truth = truth.masked_fill(truth == 5, 255)
    scores = BoundaryIoU(6, unscored=5).update(prediction, truth).iou()
    assert_scores(scores.roll(1), "ig0_bIoU")
    iou = ClassCounts(6).update(prediction, truth).iou()
    assert_scores(iou.roll(1), "ig0_IoU")
    assert mean_over_classes(iou, left_out=5) == pytest.approx(0.8307, abs=5e-5)


def test_scores_without_an_ignored_class_are_the_released_ones() -> None:
    matrix = ClassCounts(6).update(PREDICTION, TRUTH)
    assert_scores(matrix.accuracy(), "ig255_Acc")
    assert matrix.aacc == pytest.approx(float(GOLDEN["ig255_aAcc"]), abs=1e-12)


@settings(deadline=None, max_examples=25)
@given(height=st.integers(1, 40), width=st.integers(1, 60), seed=st.integers(0, 99), ratio=st.sampled_from([0.02, 0.1]))
def test_boundary_is_mask_without_eroded_mask(height: int, width: int, seed: int, ratio: float) -> None:
    coarse = torch.randint(3, (1, 1, 4, 4), generator=torch.Generator().manual_seed(seed)).float()
    labels = F.interpolate(coarse, (height, width))[0, 0].long()
    masks = F.one_hot(labels, 3).permute(2, 0, 1).float()
    outside = F.pad(1 - masks, (1, 1, 1, 1), value=1.0)
    for _ in range(erosions(height, width, ratio)):
        outside = F.max_pool2d(outside, 3, stride=1, padding=1)
    eroded = 1 - outside[:, 1:-1, 1:-1]
    assert torch.equal((masks - eroded).sum(0).bool(), boundary(labels, ratio))


def test_counts_add_up() -> None:
    whole = BoundaryIoU(6).update(PREDICTION, TRUTH)
    parts = [BoundaryIoU(6).update(p, t) for p, t in zip(PREDICTION, TRUTH, strict=True)]
    merged = parts[2].merge(parts[0]).merge(parts[1])
    assert torch.equal(whole.counts, merged.counts) and whole.mbiou == merged.mbiou == whole.value("mbiou")
    assert whole.to_dict()["mbiou"] == merged.mbiou


def test_the_task_counts_boundaries_where_asked() -> None:
    task = task_named("segmentation")
    plain, edges = (task.tally(recipe("ade20k_mini").model, EvalConfig(boundary=flag)) for flag in (False, True))
    assert plain.metrics == ("miou", "macc", "aacc") and edges.metrics == (*plain.metrics, "mbiou")
    prediction, truth = PREDICTION - 1, TRUTH.masked_fill(TRUTH == 0, 256) - 1  # five classes, and 255
    prediction = prediction.clamp(min=0)
    stacked: dict[str, list[np.ndarray]] = {}
    for pair in zip(prediction, truth, strict=True):
        for tally in (plain, edges):
            tally.update(*pair)
        for name, values in edges.image_statistics(*pair).items():
            stacked.setdefault(name, []).append(values)
    assert plain.miou == edges.miou and np.isnan(plain.mbiou)
    alone = BoundaryIoU(edges.num_classes).update(prediction, truth)
    assert edges.mbiou == alone.mbiou < 1
    again = task.tally(recipe("ade20k_mini").model, EvalConfig(boundary=True))
    again.add({name: np.stack(values) for name, values in stacked.items()})
    assert json_ready(again.to_dict()) == json_ready(edges.to_dict())
    assert torch.equal(again.boundary.counts, edges.boundary.counts)
    score = task.score(1, 0, edges)
    assert score.measures() == edges.metrics and score.mbiou == 100 * alone.mbiou and score.biou[149] is None
    assert task.score(1, 0, plain).measures() == plain.metrics


def test_both_quirks_of_the_released_evaluation_are_switches() -> None:
    """A class that predictions may have and the truth never has, and boundaries predicted on ignored ground."""
    model = SimpleNamespace(num_classes=5, output_classes=6)
    prediction, truth = (PREDICTION - 1) % 6, (TRUTH - 1) % 6
    truth = truth.masked_fill(truth == 5, 255)
    made = {
        (mean, ground): task_named("segmentation").tally(
            model, EvalConfig(boundary=True, unlabelled=mean, boundary_on_ignored=ground)
        ).update(prediction, truth)
        for mean in ("in_mean", "left_out") for ground in ("counted", "left_out")
    }  # fmt: skip
    released, sound = made["in_mean", "counted"], made["left_out", "left_out"]
    assert released.miou == pytest.approx(0.6646, abs=5e-5) and sound.miou == pytest.approx(0.8307, abs=5e-5)
    assert released.mbiou == pytest.approx(float(np.nanmean(GOLDEN["ig0_bIoU"])), abs=1e-12)
    assert sound.mbiou == made["in_mean", "left_out"].mbiou > released.mbiou
    assert made["left_out", "counted"].mbiou == released.mbiou


def test_nothing_but_ignored_pixels_has_no_boundary() -> None:
    tally = ClassCounts(3, boundary=BoundaryIoU(3, mask_ignored=True))
    tally.update(torch.zeros(9, 9, dtype=int), torch.full((9, 9), 255))
    score = task_named("segmentation").score(1, 0, tally)
    assert (score.mbiou, score.biou) == (None, [None] * 3)
    counted = ClassCounts(3, boundary=BoundaryIoU(3))
    counted.update(torch.zeros(9, 9, dtype=int), torch.full((9, 9), 255))
    assert task_named("segmentation").score(1, 0, counted).mbiou is None


@pytest.mark.parametrize("task", [name for name in BUILT_IN if name != "segmentation"])
def test_other_tasks_have_no_boundaries(task: str) -> None:
    with pytest.raises(ConfigError, match=f"the task is {task}"):
        task_named(task).check_evaluation(EvalConfig(boundary=True, protocol="nyu"))


def test_predictions_on_ignored_pixels() -> None:
    label = torch.zeros(50, 50, dtype=torch.long)
    label[:, 25:] = 255
    prediction = label.masked_fill(label == 255, 1)
    released, masked = (BoundaryIoU(2, mask_ignored=mask).update(prediction, label).iou() for mask in (False, True))
    assert released[1] == 0 and masked[1].isnan()
    assert released[0] == masked[0] == 1


def test_ignored_pixels_may_hold_what_is_no_class() -> None:
    label = torch.zeros(50, 50, dtype=torch.long)
    label[:, 25:] = 255
    assert BoundaryIoU(2).update(label, label).iou()[0] == 1


def test_a_perfect_and_an_empty_score() -> None:
    assert BoundaryIoU(6).update(TRUTH, TRUTH).mbiou == 1
    assert np.isnan(BoundaryIoU(6).mbiou)


def test_bad_input() -> None:
    tally, good = BoundaryIoU(3), torch.zeros(8, 8, dtype=torch.long)
    with pytest.raises(ValueError, match=r"label holds class 3; expected 0\.\.2 or 255"):
        tally.update(good, good + 3)
    with pytest.raises(ValueError, match=r"prediction holds class 255; expected 0\.\.2$"):
        tally.update(good + 255, good)
    with pytest.raises(ValueError, match="of one shape"):
        tally.update(good, good[:4])
    with pytest.raises(ValueError, match="of one shape"):
        tally.update(good[0], good[0])
    with pytest.raises(ValueError, match="3 and 4 classes"):
        tally.merge(BoundaryIoU(4))
    with pytest.raises(ValueError, match="at least 1"):
        BoundaryIoU(0)
