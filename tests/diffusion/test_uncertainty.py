import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddp_repro.diffusion.uncertainty import change_count, disagreement, predictive_entropy, sample_variance

sizes = st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(2, 5), st.integers(1, 4))


def draw(size):
    torch.manual_seed(sum(size))
    steps, batch, classes, side = size
    return torch.randint(classes, (steps, batch, side, 3)), torch.randn(steps, batch, classes, side, 3).mul(5).softmax(
        2
    )


@settings(max_examples=40, deadline=None)
@given(sizes)
def test_maps_lie_in_the_unit_interval_and_ignore_the_batch(size):
    predictions, probabilities = draw(size)
    for measure, values in (
        (change_count, predictions),
        (disagreement, predictions),
        (predictive_entropy, probabilities),
        (sample_variance, probabilities),
    ):
        maps = measure(values)
        assert maps.shape == predictions.shape[1:] and maps.is_floating_point()
        assert maps.min() >= 0 and maps.max() <= 1
        for index in range(size[1]):  # float sums may round differently in another memory layout
            alone = measure(values[:, index : index + 1])[0]
            assert torch.allclose(alone, maps[index], atol=1e-6)
            if not values.is_floating_point():
                assert torch.equal(alone, maps[index])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_change_count_against_a_loop(labels):
    changes = sum(a != b for a, b in pairwise(labels))
    expected = changes / (len(labels) - 1) if len(labels) > 1 else 0.0
    assert change_count(torch.tensor(labels)[:, None, None, None]).item() == pytest.approx(expected)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_disagreement_against_a_loop(labels):
    expected = 1 - max(labels.count(k) for k in labels) / len(labels)
    assert disagreement(torch.tensor(labels)[:, None, None, None]).item() == pytest.approx(expected)


def test_extremes():
    one_hot = torch.eye(4)[:, None, :, None, None]  # four samples, each sure of another class
    assert sample_variance(one_hot).item() == pytest.approx(1 - 1 / 4)
    assert predictive_entropy(one_hot).item() == pytest.approx(1)
    assert predictive_entropy(one_hot[:1]).item() == 0  # 0 log 0 = 0
    assert sample_variance(one_hot[:1]).item() == 0 and disagreement(torch.zeros(1, 1, 2, 2).long()).max() == 0
    two = torch.tensor([0.5, 0.5, 0.0, 0.0])[None, None, :, None, None]
    assert predictive_entropy(two).item() == pytest.approx(math.log(2) / math.log(4))
    assert change_count(torch.tensor([0, 1, 0, 1])[:, None, None, None]).item() == 1
    with pytest.raises(ValueError, match="two classes"):
        predictive_entropy(torch.ones(1, 1, 1, 2, 2))
