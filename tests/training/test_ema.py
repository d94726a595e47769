"""The moving average of the weights is what is saved and evaluated; the weights that are trained go their own way."""

import signal

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from ddp_repro.settings.recipe import TrainConfig
from ddp_repro.training import train, trainer
from ddp_repro.training.ema import MovingAverage
from ddp_repro.training.log import read_log
from tests.training.processes import exit_codes, start
from tests.training.test_trainer import assert_equal_logs, assert_equal_weights
from tests.training.tiny import tiny_recipe

pytestmark = pytest.mark.numerics

EMA = {"train__ema_momentum": 0.2, "train__ema_every": 2}


class Tables(nn.Module):
    """Everything a state dict may hold: weights, frozen ones, statistics, a counter, logarithms of zero."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm, self.frozen = nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2)
        self.frozen.requires_grad_(False)
        self.register_buffer("log_table", torch.tensor([0.0, -torch.inf]))
        self.register_buffer("scratch", torch.zeros(2), persistent=False)


@pytest.fixture(scope="module")
def averaged(images, tmp_path_factory):
    return train(tiny_recipe(images, **EMA), tmp_path_factory.mktemp("averaged"), progress=False)


def test_the_average_is_the_released_one():
    """E ← (1-m) E + m W after every second iteration, from the initial weights on."""
    torch.manual_seed(0)
    model = Tables()
    average = MovingAverage(model, TrainConfig(ema_momentum=0.01, ema_every=2), {})
    expected = {name: value.clone() for name, value in model.state_dict().items() if value.is_floating_point()}
    for iteration in range(1, 6):
        with torch.no_grad():
            model.layer.weight.normal_()
            model.norm.running_var.uniform_(1, 2)
            model.norm.num_batches_tracked.add_(1)
        average.update(iteration)
        if iteration % 2 == 0:
            for name, value in expected.items():
                value.mul_(0.99).add_(model.state_dict()[name], alpha=0.01)
    raw = {name: value.clone() for name, value in model.state_dict().items()}
    with average.applied():
        inside = {name: value.clone() for name, value in model.state_dict().items()}
    for name, value in expected.items():
        torch.testing.assert_close(inside[name], value, rtol=1e-6, atol=1e-7)
    assert torch.equal(inside["log_table"], torch.tensor([0.0, -torch.inf]))
    assert inside["norm.num_batches_tracked"] == 5
    assert not torch.equal(inside["layer.weight"], raw["layer.weight"])
    assert all(torch.equal(value, raw[name]) for name, value in model.state_dict().items())
    assert set(average.averages) == {
        "layer.weight", "layer.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"
    }  # fmt: skip


def test_it_leaves_the_training_as_it_is(uninterrupted, averaged):
    assert_equal_logs(averaged.history, uninterrupted.history)
    plain, mean = load_file(uninterrupted.checkpoint), load_file(averaged.checkpoint)
    changed = {name for name in plain if not torch.equal(plain[name], mean[name])}
    assert changed == {name for name in plain if not name.endswith("num_batches_tracked")}


def test_a_momentum_of_one_saves_the_last_weights(images, tmp_path, uninterrupted):
    result = train(tiny_recipe(images, train__ema_momentum=1.0), tmp_path, progress=False)
    assert_equal_weights(result.checkpoint, uninterrupted.checkpoint)


def test_killed_and_resumed_gives_the_same_average(images, averaged, tmp_path):
    assert exit_codes(start(images, tmp_path, kill_at="iteration-000000009.pt", **EMA)) == [-signal.SIGKILL]
    resumed = train(tiny_recipe(images, **EMA), tmp_path, progress=False)
    assert_equal_weights(resumed.checkpoint, averaged.checkpoint)


def test_the_average_is_validated(images, averaged, tmp_path, monkeypatch):
    seen = []
    original = trainer._Run._validate

    def observed(run):
        seen.append({name: value.clone() for name, value in run.model.state_dict().items()})
        return original(run)

    monkeypatch.setattr(trainer._Run, "_validate", observed)
    result = train(tiny_recipe(images, train__validate_every=12, **EMA), tmp_path, progress=False)
    assert_equal_weights(result.checkpoint, averaged.checkpoint)
    mean = load_file(averaged.checkpoint)
    assert all(torch.equal(value, mean[name]) for name, value in seen[0].items())
    assert "validation_miou" in read_log(result.history)[-1]


@pytest.mark.slow
def test_two_processes_average_like_one(images, tmp_path):
    """Six micro-batches of whole pictures, so that rounding stays small."""
    changes = {
        **EMA, "train__batch_size": 4, "train__iterations": 4, "train__learning_rate": 1e-4,
        "data__crop_size": "96,96",
    }  # fmt: skip
    alone = train(tiny_recipe(images, **changes), tmp_path / "alone", progress=False)
    assert exit_codes(start(images, tmp_path / "two", count=2, **changes)) == [0, 0]
    one, two = load_file(alone.checkpoint), load_file(tmp_path / "two" / "model.safetensors")
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-4, msg=name)
