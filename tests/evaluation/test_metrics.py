import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ddp_repro.tasks.segmentation.metrics import ClassCounts

CLASSES = 4
shapes = st.tuples(st.integers(1, 7), st.integers(1, 7))
labels = shapes.flatmap(
    lambda s: st.tuples(
        hnp.arrays(np.int64, s, elements=st.integers(0, CLASSES - 1)),
        hnp.arrays(np.int64, s, elements=st.sampled_from([*range(CLASSES), 255])),
    )
)


def brute_force(prediction: np.ndarray, label: np.ndarray) -> np.ndarray:
    counts = np.zeros((CLASSES, CLASSES), dtype=np.int64)
    for p, t in zip(prediction.flat, label.flat, strict=True):
        if t != 255:
            counts[t, p] += 1
    return counts


@settings(max_examples=60, deadline=None)
@given(labels)
def test_counts_and_scores_against_a_loop(pair):
    prediction, label = pair
    matrix = ClassCounts(CLASSES).update(torch.from_numpy(prediction), torch.from_numpy(label))
    counts = brute_force(prediction, label)
    right = counts.diagonal()
    expected = [right, counts.sum(0) + counts.sum(1) - right, counts.sum(1)]
    np.testing.assert_array_equal(matrix.counts.numpy(), expected)
    for k in range(CLASSES):
        union = counts[k].sum() + counts[:, k].sum() - counts[k, k]
        assert matrix.iou()[k] == counts[k, k] / union if union else math.isnan(matrix.iou()[k])
        total = counts[k].sum()
        assert matrix.accuracy()[k] == counts[k, k] / total if total else math.isnan(matrix.accuracy()[k])


@settings(max_examples=30, deadline=None)
@given(labels, labels)
def test_merge_equals_one_pass(first, second):
    one = ClassCounts(CLASSES)
    parts = []
    for prediction, label in (first, second):
        p, t = torch.from_numpy(prediction), torch.from_numpy(label)
        one.update(p, t)
        parts.append(ClassCounts(CLASSES).update(p, t))
    merged = parts[0].merge(parts[1])
    assert torch.equal(merged.counts, one.counts)
    statistics = [ClassCounts(CLASSES).image_statistics(*map(torch.from_numpy, pair)) for pair in (first, second)]
    stacked = {name: np.stack([image[name] for image in statistics]) for name in ClassCounts.rows}
    assert torch.equal(ClassCounts(CLASSES).add(stacked).counts, one.counts)


def test_agrees_with_mmseg():
    metrics = pytest.importorskip("mmseg.evaluation.metrics")
    generator = torch.Generator().manual_seed(0)
    judge = metrics.IoUMetric(iou_metrics=["mIoU"])
    judge.dataset_meta = {"classes": [str(k) for k in range(19)]}
    matrix = ClassCounts(19)
    areas = []
    for _ in range(5):
        label = torch.randint(0, 18, (30, 40), generator=generator)  # class 18 is never true
        prediction = torch.where(torch.rand(30, 40, generator=generator) < 0.6, label, torch.randint(0, 19, (30, 40)))
        label[torch.rand(30, 40, generator=generator) < 0.1] = 255
        matrix.update(prediction, label)
        areas.append(judge.intersect_and_union(prediction, label, 19, 255))
    expected = judge.compute_metrics(areas)
    assert round(matrix.miou * 100, 2) == pytest.approx(float(expected["mIoU"]))
    assert round(matrix.macc * 100, 2) == pytest.approx(float(expected["mAcc"]))
    assert round(matrix.aacc * 100, 2) == pytest.approx(float(expected["aAcc"]))
    intersect, union, _, label_area = (sum(a) for a in zip(*areas, strict=True))
    np.testing.assert_allclose(matrix.iou(), (intersect / union).double(), rtol=1e-6)
    np.testing.assert_allclose(matrix.accuracy(), (intersect / label_area).double(), rtol=1e-6)


def test_absent_classes_do_not_count():
    matrix = ClassCounts(3).update(torch.tensor([0, 0, 1]), torch.tensor([0, 0, 0]))
    assert matrix.iou()[0] == pytest.approx(2 / 3)
    assert math.isnan(matrix.iou()[2]) and math.isnan(matrix.accuracy()[1])
    assert matrix.miou == pytest.approx(1 / 3) and matrix.macc == pytest.approx(2 / 3)
    assert math.isnan(ClassCounts(2).miou) and math.isnan(ClassCounts(2).aacc)


def test_ignored_pixels_may_hold_any_prediction():
    matrix = ClassCounts(2).update(torch.tensor([0, 200]), torch.tensor([0, 255], dtype=torch.uint8))
    assert matrix.counts.tolist() == [[1, 0], [1, 0], [1, 0]]


@pytest.mark.parametrize(
    ("prediction", "label", "message"),
    [
        ([0, 1], [0, 7], "label holds class 7; expected 0..2 or 255"),
        ([0, 3], [0, 1], "prediction holds class 3; expected 0..2"),
        ([0, -1], [0, 1], "prediction holds class -1"),
        ([0], [0, 1], "prediction has shape"),
    ],
)
def test_bad_values_are_named(prediction, label, message):
    with pytest.raises(ValueError, match=message):
        ClassCounts(3).update(torch.tensor(prediction), torch.tensor(label))


def test_bad_numbers_of_classes_are_named():
    with pytest.raises(ValueError, match="at least 1"):
        ClassCounts(0)
    with pytest.raises(ValueError, match="3 and 2 classes"):
        ClassCounts(3).merge(ClassCounts(2))
