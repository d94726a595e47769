"""Several processes train the same model as one."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ddp_repro.interop.checkpoints import save_weights
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.training import train
from ddp_repro.training.log import read_log
from ddp_repro.training.state import saved_states
from tests.training.processes import INTERRUPTED, exit_codes, start, wait_for_log
from tests.training.tiny import tiny_recipe

pytestmark = pytest.mark.numerics

# Four micro-batches an iteration: one process runs four, two run two each.  Whole pictures: of crops as small as the
# encoder's stride, batch norm would see two values a channel, and multiply their rounding.
CHANGES = {
    "train__batch_size": 8, "train__iterations": 6, "train__learning_rate": 1e-4, "train__log_every": 1,
    "data__crop_size": "96,96",
}  # fmt: skip
LOGGED = ("loss", "decode", "auxiliary", "grad_norm", "learning_rate")
DISTURBANCE = 1e-5  # relative, of every initial weight: some hundred roundings of float32


@pytest.fixture(scope="module")
def initial(tmp_path_factory):
    """The recipe's initial weights, and the same disturbed: files."""
    torch.manual_seed(0)
    model = build_model(tiny_recipe(Path()).model)
    files = [tmp_path_factory.mktemp("initial") / f"{name}.safetensors" for name in ("exact", "disturbed")]
    save_weights(model, files[0])
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 1 + DISTURBANCE * torch.randn(parameter.shape, generator=generator)
    save_weights(model, files[1])
    return files


@pytest.fixture(scope="module")
def alone(images, tmp_path_factory):
    return train(tiny_recipe(images, **CHANGES), tmp_path_factory.mktemp("alone"), progress=False)


@pytest.fixture(scope="module")
def disturbed(images, initial, tmp_path_factory):
    """What becomes of a disturbance that is larger than rounding: the difference that several processes may make."""
    start = {"train__initialize_from": str(initial[1])}
    return train(tiny_recipe(images, **CHANGES, **start), tmp_path_factory.mktemp("disturbed"), progress=False)


@pytest.fixture
def assert_similar(initial, alone, disturbed):
    """With noise, dropout, drop path, and batch norm with its running statistics."""

    def check(output):
        tolerance = largest_differences(alone.history, disturbed.history)
        assert max(tolerance.values()) < 1e-3  # well-conditioned: another training would be told apart
        difference = largest_differences(alone.history, output / "log.jsonl")
        assert all(difference[name] <= tolerance[name] for name in LOGGED), (difference, tolerance)
        paths = (initial[0], alone.checkpoint, disturbed.checkpoint, output / "model.safetensors")
        model = build_model(tiny_recipe(Path()).model)
        for group in (dict(model.named_parameters()), dict(model.named_buffers())):
            start, one, other, two = (flat(load_file(path), group) for path in paths)
            assert (other - one).norm() < 0.2 * (one - start).norm()
            assert (two - one).norm() <= (other - one).norm()

    return check


def largest_differences(one, two):
    """The largest relative difference of each logged value over the iterations."""
    first, second = read_log(one), read_log(two)
    assert [record["iteration"] for record in second] == [record["iteration"] for record in first]
    pairs = list(zip(first, second, strict=True))
    return {name: max(abs(b[name] - a[name]) / abs(a[name]) for a, b in pairs) for name in LOGGED}


def flat(tensors, names):
    return torch.cat([tensors[name].flatten().float() for name in names])


def test_two_processes_train_like_one(images, assert_similar, tmp_path):
    assert exit_codes(start(images, tmp_path, count=2, **CHANGES)) == [0, 0]
    assert_similar(tmp_path)


def test_two_processes_stop_together_and_resume(images, assert_similar, tmp_path):
    processes = start(images, tmp_path, count=2, **CHANGES)
    wait_for_log(processes, tmp_path, 2)
    processes[1].terminate()  # one is told, both stop
    assert exit_codes(processes) == [INTERRUPTED, INTERRUPTED]
    assert len(saved_states(tmp_path / "state")) > 0
    assert exit_codes(start(images, tmp_path, count=2, **CHANGES)) == [0, 0]
    assert_similar(tmp_path)
