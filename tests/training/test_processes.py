"""Several processes train the same model as one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ddp_repro.papers.ddp.build import build_model
from ddp_repro.training import train
from ddp_repro.training.log import read_log
from ddp_repro.training.state import saved_states
from tests.training.processes import INTERRUPTED, exit_codes, start, wait_for_log
from tests.training.tiny import tiny_recipe

# Four micro-batches an iteration: one process runs four, two run two each.
CHANGES = {"train__batch_size": 8, "train__iterations": 6, "train__learning_rate": 1e-5, "train__log_every": 1}


@pytest.fixture(scope="module")
def alone(images, tmp_path_factory):
    return train(tiny_recipe(images, **CHANGES), tmp_path_factory.mktemp("alone"), progress=False)


def assert_similar(output, alone):
    """With noise, dropout, drop path, and batch norm with its running statistics."""
    paths = (alone.checkpoint, output / "model.safetensors")
    one, two = read_log(alone.history), read_log(output / "log.jsonl")
    assert [record["iteration"] for record in two] == [1, 2, 3, 4, 5, 6]
    for name in ("loss", "decode", "auxiliary", "grad_norm", "learning_rate"):
        assert [record[name] for record in two] == pytest.approx([record[name] for record in one], rel=1e-3)
    torch.manual_seed(0)
    model = build_model(tiny_recipe(Path()).model)
    for group in (dict(model.named_parameters()), dict(model.named_buffers())):
        start, one, two = (flat(tensors, group) for tensors in (model.state_dict(), *map(load_file, paths)))
        assert (two - one).norm() < 0.01 * (one - start).norm()


def flat(tensors, names):
    return torch.cat([tensors[name].flatten().float() for name in names])


def test_two_processes_train_like_one(images, alone, tmp_path):
    assert exit_codes(start(images, tmp_path, count=2, **CHANGES)) == [0, 0]
    assert_similar(tmp_path, alone)


def test_two_processes_stop_together_and_resume(images, alone, tmp_path):
    processes = start(images, tmp_path, count=2, **CHANGES)
    wait_for_log(processes, tmp_path, 2)
    processes[1].terminate()  # one is told, both stop
    assert exit_codes(processes) == [INTERRUPTED, INTERRUPTED]
    assert len(saved_states(tmp_path / "state")) > 0
    assert exit_codes(start(images, tmp_path, count=2, **CHANGES)) == [0, 0]
    assert_similar(tmp_path, alone)


@pytest.mark.slow
def test_torchrun(images, alone, tmp_path):
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        "-m", "tests.training.processes", images, tmp_path, json.dumps(CHANGES),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "FutureWarning" not in done.stderr
    assert_similar(tmp_path, alone)
