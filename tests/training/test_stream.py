"""The data order is a function of (seed, position) and nothing else."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import TrainConfig
from ddp_repro.training.stream import (
    BatchLayout,
    augmentation_generator,
    build_loader,
    epoch_order,
    image_index,
    model_seed,
)


class Numbers:
    """A dataset whose samples tell their index and their first random number."""

    def __len__(self):
        return 5

    def sample(self, index, rng):
        return {"image": torch.tensor(rng.random()), "label": torch.tensor(index), "id": f"picture {index}"}


def contents(loader):
    return [(batch["id"], batch["image"].tolist()) for batch in loader]


def config(**changes):
    return TrainConfig(**{"iterations": 6, "batch_size": 4, "device_batch_size": 2, "workers": 0, **changes})


@given(st.integers(0, 2**40), st.integers(0, 1000), st.integers(1, 50))
def test_every_epoch_shows_every_image_once(seed, epoch, length):
    order = [image_index(seed, position, length) for position in range(epoch * length, (epoch + 1) * length)]
    assert sorted(order) == list(range(length))
    assert order == epoch_order(seed, epoch, length).tolist()


def test_order_and_random_numbers_are_pinned():
    """Frozen: a change here would change every trained model, and break the resuming of older runs."""
    assert epoch_order(0, 0, 6).tolist() == [0, 1, 5, 2, 3, 4]
    assert augmentation_generator(0, 3).integers(1000, size=3).tolist() == [520, 667, 558]
    assert model_seed(0, 1, 2) == 8494160947022706839


def test_seeds_differ_where_anything_differs():
    seeds = {model_seed(s, i, m) for s in range(4) for i in range(8) for m in range(8)}
    assert len(seeds) == 4 * 8 * 8
    assert all(0 <= seed < 2**63 for seed in seeds)
    draws = {augmentation_generator(s, p).random() for s in range(4) for p in range(50)}
    assert len(draws) == 200


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {tuple(epoch_order(seed, epoch, 20)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_share_the_micro_batches(processes):
    layouts = [BatchLayout(8, 2, rank, processes) for rank in range(processes)]
    own = [list(layout.own_micro_batches) for layout in layouts]
    assert sorted(itertools.chain(*own)) == [0, 1, 2, 3]
    assert {len(numbers) for numbers in own} == {4 // processes}
    positions = [layout.positions(7, m) for layout in layouts for m in layout.own_micro_batches]
    assert sorted(itertools.chain(*positions)) == list(range(56, 64))


@pytest.mark.parametrize(("batch", "device", "processes"), [(16, 3, 1), (16, 2, 3), (16, 16, 2), (2, 4, 1)])
def test_a_batch_that_cannot_be_shared_is_refused(batch, device, processes):
    with pytest.raises(ConfigError, match=rf"train.batch_size={batch} .*{device} × {processes} = {device * processes}"):
        BatchLayout(batch, device, 0, processes)


def test_the_loader_does_not_depend_on_workers():
    plain = contents(build_loader(Numbers(), config(), BatchLayout(4, 2), 0, pin_memory=False))
    workers = contents(build_loader(Numbers(), config(workers=2), BatchLayout(4, 2), 0, pin_memory=False))
    assert len(plain) == 12
    assert workers == plain


def test_the_loader_starts_at_any_iteration_and_rank():
    everything = contents(build_loader(Numbers(), config(), BatchLayout(4, 2), 0, pin_memory=False))
    second = contents(build_loader(Numbers(), config(), BatchLayout(4, 2, rank=1, processes=2), 4, pin_memory=False))
    assert second == [everything[9], everything[11]]


def test_a_long_stream_is_uniform():
    shown = np.bincount([image_index(3, position, 7) for position in range(700)])
    assert shown.tolist() == [100] * 7
