"""Training from beginning to end in one process, and everything that may go wrong."""

import dataclasses
import math
import os
import random
import signal

import pytest
import torch
from safetensors.torch import load_file

from ddp_repro.data.io import DataError
from ddp_repro.interop.checkpoints import load_checkpoint, read_state_dict
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.model import DDP
from ddp_repro.settings.errors import CheckpointError, ConfigError
from ddp_repro.tasks.build import build_dataset
from ddp_repro.training import TrainingDiverged, TrainingInterrupted, step, train, trainer
from ddp_repro.training.log import read_log
from ddp_repro.training.optimizer import parameter_groups
from ddp_repro.training.state import saved_states
from ddp_repro.training.stream import BatchLayout, build_loader, model_seed
from tests.training.processes import INTERRUPTED, exit_codes, start, wait_for_log
from tests.training.tiny import tiny_recipe, write_images

pytestmark = pytest.mark.numerics

TIMES = ("seconds", "images_per_second")


def assert_equal_weights(one, two):
    one, two = load_file(one), load_file(two)
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name])] == []


def assert_equal_logs(one, two):
    one, two = ([{k: v for k, v in r.items() if k not in TIMES} for r in read_log(path)] for path in (one, two))
    assert one == two


def at_iteration(monkeypatch, number, action):
    """Run ``action`` at the start of one iteration (counted from 0)."""
    original = step.Step.__call__

    def call(self, iteration, *arguments):
        if iteration == number:
            action()
        return original(self, iteration, *arguments)

    monkeypatch.setattr(step.Step, "__call__", call)


def test_leaves_weights_and_a_log(uninterrupted, images):
    recipe = tiny_recipe(images)
    _, metadata = read_state_dict(uninterrupted.checkpoint)
    assert metadata["iteration"] == "12"
    load_checkpoint(build_model(recipe.model), uninterrupted.checkpoint)
    assert sorted(os.listdir(uninterrupted.checkpoint.parent)) == ["log.jsonl", "model.safetensors", "state"]
    assert saved_states(uninterrupted.checkpoint.parent / "state") == []
    log = read_log(uninterrupted.history)
    assert [record["iteration"] for record in log] == [2, 4, 6, 8, 10, 12]
    expected = {"iteration", "loss", "decode", "auxiliary", "grad_norm", "learning_rate", *TIMES}
    assert all(record.keys() == expected for record in log)
    assert all(record["loss"] == pytest.approx(record["decode"] + record["auxiliary"], rel=1e-5) for record in log)
    assert uninterrupted.best is None


def test_learns(images, tmp_path):
    recipe = tiny_recipe(images, train__iterations=60, model__drop_path_rate=0)
    log = read_log(train(recipe, tmp_path, progress=False).history)
    assert log[-1]["loss"] < 0.7 * log[0]["loss"]


def test_a_finished_run_is_not_trained_again(uninterrupted, images, monkeypatch):
    monkeypatch.setattr(trainer, "Step", None)
    again = train(tiny_recipe(images, train__workers=1), uninterrupted.checkpoint.parent, progress=False)
    assert dataclasses.replace(again, seconds=uninterrupted.seconds) == uninterrupted


def test_a_finished_run_of_another_recipe_is_refused(uninterrupted, images):
    with pytest.raises(ConfigError, match=r"model\.safetensors .* recipe: train\.seed was 0, is 1"):
        train(tiny_recipe(images, train__seed=1), uninterrupted.checkpoint.parent, progress=False)


def test_killed_at_any_moment_and_resumed_gives_the_same_weights(uninterrupted, images, tmp_path):
    [process] = start(images, tmp_path)
    wait_for_log([process], tmp_path, lines=random.randint(1, 5))
    process.kill()
    assert exit_codes([process]) == [-signal.SIGKILL]
    resumed = train(tiny_recipe(images), tmp_path, progress=False)
    assert_equal_weights(resumed.checkpoint, uninterrupted.checkpoint)
    assert_equal_logs(resumed.history, uninterrupted.history)


def test_killed_while_saving_resumes_from_the_state_before(uninterrupted, images, tmp_path):
    assert exit_codes(start(images, tmp_path, kill_at="iteration-000000006.pt")) == [-signal.SIGKILL]
    assert [path.name for path in saved_states(tmp_path / "state")] == ["iteration-000000003.pt"]
    resumed = train(tiny_recipe(images), tmp_path, progress=False)
    assert_equal_weights(resumed.checkpoint, uninterrupted.checkpoint)
    assert_equal_logs(resumed.history, uninterrupted.history)


@pytest.mark.slow
def test_a_signal_to_all_processes_saves_and_stops(uninterrupted, images, tmp_path):
    """As sent by a batch system, or by Ctrl-C in a terminal: the data workers get it too."""
    [process] = start(images, tmp_path, train__workers=2)
    wait_for_log([process], tmp_path, lines=2)
    os.killpg(process.pid, signal.SIGTERM)
    assert exit_codes([process]) == [INTERRUPTED]
    assert len(saved_states(tmp_path / "state")) > 0
    assert_equal_weights(train(tiny_recipe(images), tmp_path, progress=False).checkpoint, uninterrupted.checkpoint)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops(uninterrupted, images, tmp_path, monkeypatch, number):
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        at_iteration(patch, 4, lambda: os.kill(os.getpid(), number))
        with pytest.raises(TrainingInterrupted, match="stopped at iteration 5, state saved"):
            train(tiny_recipe(images), tmp_path, progress=False)
    assert signal.getsignal(number) is before
    resumed = train(tiny_recipe(images), tmp_path, progress=False)
    assert_equal_weights(resumed.checkpoint, uninterrupted.checkpoint)
    assert_equal_logs(resumed.history, uninterrupted.history)


@pytest.fixture
def python_interrupts():
    """Python's own Ctrl-C handler: a test run started in the background inherits that SIGINT is ignored."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("python_interrupts")
def test_a_second_signal_stops_at_once(images, tmp_path, monkeypatch):
    def twice():  # to this thread: two signals that wait for another one may arrive as one
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    at_iteration(monkeypatch, 4, twice)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_recipe(images), tmp_path, progress=False)


def test_the_number_of_workers_does_not_matter(uninterrupted, images, tmp_path):
    result = train(tiny_recipe(images, train__workers=2), tmp_path, progress=False)
    assert_equal_weights(result.checkpoint, uninterrupted.checkpoint)


def test_the_seed_matters(uninterrupted, images, tmp_path):
    result = train(tiny_recipe(images, train__seed=1), tmp_path, progress=False)
    assert read_log(result.history)[0]["loss"] != read_log(uninterrupted.history)[0]["loss"]


def test_without_resuming_training_starts_again(images, tmp_path, monkeypatch, uninterrupted):
    with monkeypatch.context() as patch:
        at_iteration(patch, 4, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(TrainingInterrupted):
            train(tiny_recipe(images, train__seed=1), tmp_path, progress=False)
    with pytest.raises(ConfigError, match=r"train\.seed was 1, is 0"):
        train(tiny_recipe(images), tmp_path, progress=False)
    result = train(tiny_recipe(images), tmp_path, resume=False, progress=False)
    assert_equal_weights(result.checkpoint, uninterrupted.checkpoint)
    assert_equal_logs(result.history, uninterrupted.history)


def test_a_damaged_state_is_reported_and_nothing_lost(images, tmp_path, monkeypatch):
    at_iteration(monkeypatch, 7, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(TrainingInterrupted):
        train(tiny_recipe(images), tmp_path, progress=False)
    before, newest = saved_states(tmp_path / "state")
    log = (tmp_path / "log.jsonl").read_bytes()
    newest.write_bytes(newest.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=f"{newest.name}: not a readable training state"):
        train(tiny_recipe(images), tmp_path, progress=False)
    assert saved_states(tmp_path / "state") == [before, newest]
    assert (tmp_path / "log.jsonl").read_bytes() == log


def test_a_loss_that_is_not_finite_stops_the_run(images, tmp_path, monkeypatch):
    original, calls = DDP.training_loss, []

    def loss(self, batch):
        calls.append(batch)
        return {name: v * (torch.nan if len(calls) == 10 else 1) for name, v in original(self, batch).items()}

    monkeypatch.setattr(DDP, "training_loss", loss)
    with pytest.raises(TrainingDiverged, match=r"iteration 5: loss is nan for the images train\d, train\d;"):
        train(tiny_recipe(images), tmp_path, progress=False)
    assert [path.name for path in saved_states(tmp_path / "state")] == ["iteration-000000003.pt"]
    assert not (tmp_path / "model.safetensors").exists()
    assert [record["iteration"] for record in read_log(tmp_path / "log.jsonl")] == [2, 4]


def test_a_gradient_that_is_not_finite_stops_the_run(images, tmp_path, monkeypatch):
    original = DDP.training_loss

    def loss(self, batch):
        losses = original(self, batch)
        losses["loss"].register_hook(lambda gradient: gradient * torch.inf)
        return losses

    monkeypatch.setattr(DDP, "training_loss", loss)
    with pytest.raises(TrainingDiverged, match=r"iteration 1: grad_norm is (nan|inf) for the images (train\d\W+){4}"):
        train(tiny_recipe(images), tmp_path, progress=False)


def test_a_training_without_gradients_is_told_of(images, tmp_path, monkeypatch):
    original = DDP.training_loss

    def loss(self, batch):
        losses = original(self, batch)
        return losses | {"loss": losses["loss"] * 0}

    monkeypatch.setattr(DDP, "training_loss", loss)
    with pytest.warns(UserWarning, match="iteration 2: no gradient reaches a weight.*another train.seed"):
        train(tiny_recipe(images), tmp_path, progress=False)


def test_gradients_are_clipped_and_logged_before(images, tmp_path, monkeypatch):
    norms = []

    def record(self):
        squares = [p.grad.square().sum() for group in self.param_groups for p in group["params"]]
        norms.append(torch.stack(squares).sum().sqrt().item())

    monkeypatch.setattr(step.torch.optim.AdamW, "step", lambda self, closure=None: record(self))
    recipe = tiny_recipe(images, train__iterations=2, train__clip_norm=0.1, train__log_every=1)
    clipped = read_log(train(recipe, tmp_path / "clipped", progress=False).history)
    assert norms == pytest.approx([0.1, 0.1], rel=1e-3)
    norms.clear()
    free = tiny_recipe(images, train__iterations=2, train__clip_norm="none", train__log_every=1)
    plain = read_log(train(free, tmp_path / "free", progress=False).history)
    assert norms == pytest.approx([record["grad_norm"] for record in plain], rel=1e-4)
    assert norms == pytest.approx([record["grad_norm"] for record in clipped], rel=1e-4)
    assert min(norms) > 0.2


def test_gradients_are_the_mean_over_micro_batches(images, tmp_path, monkeypatch):
    recipe, gradients = tiny_recipe(images, train__iterations=1, train__clip_norm="none"), []
    monkeypatch.setattr(
        step.torch.optim.AdamW, "step",
        lambda self, closure=None: gradients.extend(p.grad for p in self.param_groups[0]["params"]),
    )  # fmt: skip
    train(recipe, tmp_path, progress=False)
    torch.manual_seed(0)
    model = build_model(recipe.model).train()
    data = build_dataset(recipe.data, "train", train=True, mean=model.mean, std=model.std)
    for number, batch in enumerate(build_loader(data, recipe.train, BatchLayout(4, 2), 0, pin_memory=False)):
        torch.manual_seed(model_seed(0, 0, number))
        (model.training_loss(batch)["loss"] / 2).backward()
    expected = [p.grad for p in parameter_groups(model, recipe.train)[0]["params"]]
    assert len(gradients) == len(expected) > 50
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(gradients, expected, strict=True))


def test_validation_keeps_the_best_weights(images, tmp_path):
    recipe = tiny_recipe(images, train__validate_every=4)
    result = train(recipe, tmp_path, progress=False)
    scores = {r["iteration"]: r["validation_miou"] for r in read_log(result.history) if "validation_miou" in r}
    assert list(scores) == [4, 8, 12]
    _, metadata = read_state_dict(result.best)
    best = max(scores, key=scores.get)
    assert (metadata["iteration"], metadata["miou"]) == (str(best), repr(scores[best]))


def test_an_undefined_first_score_is_worse_than_any(images, tmp_path, monkeypatch):
    scores = iter([math.nan, 0.2, math.nan, 0.1])
    monkeypatch.setattr(trainer._Run, "_validate", lambda _: ("miou", next(scores), True))
    result = train(tiny_recipe(images, train__validate_every=3), tmp_path, progress=False)
    _, metadata = read_state_dict(result.best)
    assert (metadata["iteration"], metadata["miou"]) == ("6", "0.2")


def test_validation_does_not_change_training(images, tmp_path, uninterrupted):
    result = train(tiny_recipe(images, train__validate_every=5), tmp_path, progress=False)
    assert_equal_weights(result.checkpoint, uninterrupted.checkpoint)


@pytest.mark.parametrize("variant", ["same_noise", "fresh_noise"])
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_self_aligned_training_starts_from_a_checkpoint(uninterrupted, images, tmp_path, variant, precision):
    recipe = tiny_recipe(
        images, train__self_aligned=variant, train__initialize_from=str(uninterrupted.checkpoint), train__iterations=2,
        train__mixed_precision=precision, train__learning_rate=1e-6, train__weight_decay=0.0,
    )  # fmt: skip
    aligned, plain = load_file(train(recipe, tmp_path, progress=False).checkpoint), load_file(uninterrupted.checkpoint)
    parameters = dict(build_model(recipe.model).named_parameters())
    assert all(torch.allclose(aligned[name], plain[name], atol=3e-6) for name in parameters)
    unchanged = [name for name in parameters if torch.equal(aligned[name], plain[name])]
    assert unchanged == []


def test_bf16(images, tmp_path, uninterrupted):
    """Two precisions in one process, one after the other."""
    result = train(tiny_recipe(images, train__mixed_precision="bf16"), tmp_path, progress=False)
    first, reference = read_log(result.history)[0], read_log(uninterrupted.history)[0]
    assert first["loss"] == pytest.approx(reference["loss"], rel=0.05)
    assert first["loss"] != reference["loss"]
    assert {value.dtype for value in load_file(result.checkpoint).values()} == {torch.float32, torch.int64}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train__iterations": 0}, "train.iterations must be at least 1 .*; got 0"),
        ({"train__seed": -1}, "train.seed must be at least 0 .*; got -1"),
        ({"train__learning_rate": 0.0}, "train.learning_rate must be greater than 0"),
        ({"train__learning_rate": "nan"}, "train.learning_rate must be finite .*; got nan"),
        ({"train__clip_norm": 0.0}, "train.clip_norm must be greater than 0"),
        ({"train__batch_size": 3}, "train.batch_size=3 cannot be shared equally"),
        ({"train__mixed_precision": "fp16"}, "train.mixed_precision=fp16 needs a GPU"),
        ({"train__self_aligned": "same_noise", "model__diffusion": False}, "needs model.diffusion=true"),
        ({"model__num_classes": 5}, r"model.num_classes is 5, but .*classes\.json has 3 classes"),
    ],
)
def test_impossible_settings_are_refused(images, tmp_path, change, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=message):
        train(tiny_recipe(images, **change), tmp_path, progress=False)


def test_a_missing_starting_point_is_refused(images, tmp_path):
    recipe = tiny_recipe(images, train__initialize_from=str(tmp_path / "missing.safetensors"))
    with pytest.raises(CheckpointError, match=r"missing\.safetensors"):
        train(recipe, tmp_path, progress=False)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_is_named(tmp_path, workers):
    root = write_images(tmp_path / "images", count=2)
    for path in (root / "images/train").iterdir():
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"train\d\.png"):
        train(tiny_recipe(root, train__workers=workers), tmp_path / "output", progress=False)


def test_an_output_folder_that_cannot_be_written_is_found_before_training(images, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write into the output folder"):
        train(tiny_recipe(images), tmp_path / "file" / "output", progress=False)


def test_a_failed_checkpoint_keeps_the_one_before(images, tmp_path, monkeypatch, uninterrupted):
    replace = os.replace

    def full(source, target):
        if target.name == "iteration-000000006.pt":
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OSError, match=r"iteration-000000006\.pt.*No space left"):
            train(tiny_recipe(images), tmp_path, progress=False)
    resumed = train(tiny_recipe(images), tmp_path, progress=False)
    assert_equal_weights(resumed.checkpoint, uninterrupted.checkpoint)


def test_the_progress_bar_counts_from_where_it_resumes(images, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        at_iteration(patch, 5, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(TrainingInterrupted):
            train(tiny_recipe(images), tmp_path, progress=False)
    assert capsys.readouterr().err == ""
    train(tiny_recipe(images), tmp_path, progress=True)
    bar = capsys.readouterr().err
    assert "tiny:  50%" in bar
    assert "12/12" in bar
