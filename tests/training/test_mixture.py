"""Batches mixed from two datasets: at their rates, each in its own order and shape, whatever runs the training."""

import dataclasses
import signal

import numpy as np
import pytest
import torch

from ddp_repro.data.mixture import MixedDataset
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.overrides import from_dict, to_dict
from ddp_repro.settings.recipe import DataConfig, GatheredData, MixedData, Recipe, TrainConfig
from ddp_repro.tasks.build import build_dataset, check_dataset
from ddp_repro.training import train
from ddp_repro.training.stream import BatchLayout, build_loader, mixed_parts
from ddp_repro.workbook.runs.provenance import public_recipe
from tests.training import processes
from tests.training.test_trainer import assert_equal_weights
from tests.training.tiny import tiny_recipe, write_images


class Numbers:
    """A dataset whose samples tell where they are from, and their first random number."""

    truth, name = "label", "numbers"

    def __init__(self, kind, length):
        self.kind, self.length = kind, length

    def __len__(self):
        return self.length

    def sample(self, index, rng):
        return {"image": torch.full((1 + self.kind, 2), rng.random()), "label": torch.tensor(index), "id": self.kind}

    def fingerprint(self):
        return f"{self.kind} {self.length}"


MIXED = MixedDataset((Numbers(0, 5), Numbers(1, 3)), (0.75, 0.25))
CONFIG = TrainConfig(iterations=200, batch_size=4, device_batch_size=2, workers=0)


def contents(first=0, rank=0, processes=1, workers=0):
    layout = BatchLayout(4, 2, rank, processes)
    config = dataclasses.replace(CONFIG, workers=workers)
    loader = build_loader(MIXED, config, layout, first, pin_memory=False)
    return [(batch["id"].tolist(), batch["label"].tolist(), batch["image"].flatten().tolist()) for batch in loader]


def test_rates_and_orders():
    batches = contents()
    assert all(len(set(kinds)) == 1 for kinds, _, _ in batches)  # a micro-batch has one shape
    share = np.mean([kinds[0] for kinds, _, _ in batches])
    assert abs(share - 0.25) < 3 * np.sqrt(0.25 * 0.75 / len(batches))
    for kind, length in ((0, 5), (1, 3)):
        shown = [label for kinds, labels, _ in batches if kinds[0] == kind for label in labels]
        epochs = [shown[first : first + length] for first in range(0, len(shown) - length + 1, length)]
        assert all(sorted(epoch) == list(range(length)) for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) > 3


def test_the_choice_is_pinned_and_does_not_depend_on_the_length():
    """Frozen: a change here would change trained models, and break the resuming of older runs."""
    parts, before = mixed_parts(0, (0.75, 0.25), 12)
    assert parts.tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1]
    assert before.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 6, 7, 8, 2]
    assert mixed_parts(0, (0.75, 0.25), 500)[0][:12].tolist() == parts.tolist()
    assert mixed_parts(1, (0.75, 0.25), 500)[0].tolist() != mixed_parts(0, (0.75, 0.25), 500)[0].tolist()


def test_it_depends_on_nothing_but_seed_and_iteration():
    everything = contents()
    assert contents(first=50) == everything[100:]
    halves = [contents(rank=rank, processes=2) for rank in (0, 1)]
    assert [batch for pair in zip(*halves, strict=True) for batch in pair] == everything
    assert contents(first=190, workers=2) == everything[380:]


@pytest.fixture(scope="module")
def recipe(images, tmp_path_factory):
    other = write_images(tmp_path_factory.mktemp("other") / "set", count=3)
    plain = tiny_recipe(images)
    data = MixedData(
        **vars(plain.data), added_rate=0.5, added_dataset="folder", added_root=str(other), added_split="train",
        added_image_scale=(64, 48), added_crop_size=(48, 64),
    )  # fmt: skip
    return dataclasses.replace(plain, data=data)


@pytest.mark.numerics
def test_trains_and_resumes_exactly(recipe, tmp_path):
    result = train(recipe, tmp_path / "whole", progress=False)
    [process] = processes.start_recipe(recipe, tmp_path / "killed", kill_at="iteration-000000009.pt")
    assert processes.exit_codes([process]) == [-signal.SIGKILL]
    assert_equal_weights(train(recipe, tmp_path / "killed", progress=False).checkpoint, result.checkpoint)


def test_the_recipe_opens_both_in_training_and_the_first_in_evaluation(recipe):
    options = {"mean": (0, 0, 0), "std": (1, 1, 1)}
    mixed = build_dataset(recipe.data, "train", train=True, **options)
    assert isinstance(mixed, MixedDataset) and (len(mixed), mixed.rates) == (11, (0.5, 0.5))
    shapes = {tuple(part.sample(0, np.random.default_rng(0))["image"].shape) for part in mixed.parts}
    assert shapes == {(3, 32, 32), (3, 48, 64)}
    assert len(build_dataset(recipe.data, "test", train=False, **options)) == 8
    rates = MixedDataset(mixed.parts, (0.4, 0.6))
    assert mixed.fingerprint() != rates.fingerprint() != mixed.parts[0].fingerprint()


def test_both_must_fit_the_model(recipe):
    mixed = build_dataset(recipe.data, "train", train=True, mean=(0, 0, 0), std=(1, 1, 1))
    mixed.parts[1].truth = "depth"
    with pytest.raises(ConfigError, match="has depth maps"):
        check_dataset(recipe.model, mixed)


def test_settings_are_stored_without_folders(recipe):
    stored = to_dict(recipe)
    assert stored["data"]["kind"] == "mixed_pictures"
    assert from_dict(Recipe, stored) == recipe
    assert public_recipe(recipe)["data"]["added_root"] == "set"


def test_several_datasets_are_gathered_with_a_share_each(recipe):
    data, added = recipe.data, {"datasets": ("folder",) * 2, "roots": (recipe.data.added_root,) * 2}
    shared = {each.name: getattr(data, each.name) for each in dataclasses.fields(DataConfig)}
    gathered = GatheredData(**shared, **added, splits=("train",) * 2, rates=(0.2, 0.3))
    mixed = build_dataset(gathered, "train", train=True, mean=(0, 0, 0), std=(1, 1, 1))
    assert [len(part) for part in mixed.parts] == [8, 3, 3] and mixed.rates == (0.5, 0.2, 0.3)
    assert gathered.placed(lambda folder: "x").roots == ("x", "x")
    with pytest.raises(ConfigError, match="of one length, and the rates below 1"):
        dataclasses.replace(gathered, rates=(0.2,))
    with pytest.raises(ConfigError, match="of one length, and the rates below 1"):
        dataclasses.replace(gathered, rates=(0.5, 0.5))
