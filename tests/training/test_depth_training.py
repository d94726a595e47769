"""A depth recipe trained for a few iterations: the same trainer, judged by REL, with the cosine curve."""

import math

import pytest
from safetensors import safe_open
from safetensors.torch import load_file

from ddp_repro.evaluation.evaluate import evaluate_model
from ddp_repro.interop.checkpoints import load_checkpoint
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.overrides import override
from ddp_repro.settings.recipe import Recipe, TrainConfig
from ddp_repro.tasks.build import build_dataset
from ddp_repro.training import TrainingInterrupted, train, trainer
from ddp_repro.training.curves import learning_rate
from ddp_repro.training.log import read_log
from ddp_repro.training.state import saved_states
from tests.data.depth_files import write_depth_folder
from tests.evaluation.tiny_depth import TINY
from tests.training.test_trainer import assert_equal_logs, assert_equal_weights, at_iteration
from tests.training.tiny import tiny_recipe

pytestmark = pytest.mark.numerics


def tiny_depth_recipe(root, **changes) -> Recipe:
    """The settings of the tiny segmentation recipe, for depth; ``changes`` as there."""
    recipe = override(
        tiny_recipe(root), {f"model.{name}": value for name, value in vars(TINY).items() if value is not None}
    )
    settings = {
        "data.dataset": "depth_folder", "data.image_scale": None, "data.crop_size": (32, 32), "data.eval_split": "val",
        "train.iterations": 8, "train.checkpoint_every": 3, "train.curve": "cosine", "evaluation.protocol": "indoor",
        "evaluation.steps": (1, 3), "evaluation.flip": True,
    }  # fmt: skip
    return override(recipe, settings | {name.replace("__", "."): value for name, value in changes.items()})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiefe ß")
    for split in ("train", "val"):
        write_depth_folder(root, split, size=(36, 48))
    return root


@pytest.fixture(scope="module")
def uninterrupted(root, tmp_path_factory):
    return train(tiny_depth_recipe(root), tmp_path_factory.mktemp("run"), progress=False)


@pytest.mark.slow
def test_learns(root, tmp_path):
    result = train(tiny_depth_recipe(root, train__iterations=24, train__log_every=6), tmp_path, progress=False)
    log = read_log(result.history)
    assert log[-1]["loss"] < 0.7 * log[0]["loss"]
    assert all(record["loss"] == record["decode"] and "auxiliary" not in record for record in log)
    model = build_model(tiny_depth_recipe(root).model)
    load_checkpoint(model, result.checkpoint)


def test_interrupted_and_resumed_gives_the_same_weights(uninterrupted, root, tmp_path, monkeypatch):
    """Rotation, colours and noise of every picture included; the state of iteration 6 is taken up."""
    with monkeypatch.context() as patch:
        at_iteration(patch, 7, lambda: (_ for _ in ()).throw(TrainingInterrupted("stopped")))
        with pytest.raises(TrainingInterrupted):
            train(tiny_depth_recipe(root), tmp_path, progress=False)
    assert [path.name for path in saved_states(tmp_path / "state")][-1] == "iteration-000000006.pt"
    resumed = train(tiny_depth_recipe(root), tmp_path, progress=False)
    assert_equal_weights(resumed.checkpoint, uninterrupted.checkpoint)
    assert_equal_logs(resumed.history, uninterrupted.history)


def test_the_baseline_trains_too(root, tmp_path):
    recipe = tiny_depth_recipe(root, model__diffusion=False, train__iterations=2, train__validate_every=2)
    log = read_log(train(recipe, tmp_path, progress=False).history)
    (validated,) = [record["validation_rel"] for record in log if "validation_rel" in record]
    assert math.isfinite(validated)


def test_validation_keeps_the_weights_of_the_lowest_rel(root, tmp_path, monkeypatch):
    """Of one plain view, with the last number of steps; the values are made up, the weights are not."""
    made = iter([0.9, 0.3, 0.5, 0.4])
    saved = []
    validate, save = trainer._Run._validate, trainer._Run._save_weights

    def validated(self):
        metric, value, higher_is_better = validate(self)
        assert (metric, higher_is_better) == ("rel", False) and value > 0
        return metric, next(made), higher_is_better

    monkeypatch.setattr(trainer._Run, "_validate", validated)
    monkeypatch.setattr(
        trainer._Run,
        "_save_weights",
        lambda self, path, **extra: (saved.append((path.name, extra)), save(self, path, **extra)),
    )
    result = train(tiny_depth_recipe(root, train__validate_every=2), tmp_path, progress=False)
    log = [record for record in read_log(result.history) if "validation_rel" in record]
    assert [(record["iteration"], record["validation_rel"]) for record in log] == [
        (2, 0.9),
        (4, 0.3),
        (6, 0.5),
        (8, 0.4),
    ]
    best = [extra for name, extra in saved if name == "best.safetensors"]
    assert best == [{"rel": "0.9"}, {"rel": "0.3"}]
    with safe_open(result.best, "pt") as file:
        assert (file.metadata()["rel"], file.metadata()["iteration"]) == ("0.3", "4")
    assert any((load_file(result.best)[k] != v).any() for k, v in load_file(result.checkpoint).items())


def test_validation_measures_what_evaluation_does(root, tmp_path):
    recipe = tiny_depth_recipe(root, train__iterations=2, train__validate_every=2)
    result = train(recipe, tmp_path, progress=False)
    (found,) = [record["validation_rel"] for record in read_log(result.history) if "validation_rel" in record]
    model = build_model(recipe.model)
    load_checkpoint(model, result.best)
    dataset = build_dataset(recipe.data, "val", train=False, mean=model.mean, std=model.std)
    plain = override(recipe, {"evaluation.flip": False, "evaluation.steps": (3,)}).evaluation
    assert evaluate_model(model, dataset, plain, progress=False).summary(3).mean == pytest.approx(found, rel=1e-6)


def test_cosine_curve_ends():
    config = TrainConfig(
        iterations=1000, warmup_iterations=0, learning_rate=2.0, curve="cosine", min_rate_ratio=0.25, power=9.0
    )
    assert learning_rate(config, 0) == 2.0
    assert learning_rate(config, 500) == pytest.approx(1.25)  # half way between 2 and 0.5
    assert learning_rate(config, 1000) == pytest.approx(0.5)
    rates = [learning_rate(config, i) for i in range(1001)]
    assert rates == sorted(rates, reverse=True)


def test_cosine_curve_with_warm_up():
    config = TrainConfig(
        iterations=100, warmup_iterations=50, warmup_ratio=0.1, learning_rate=1.0, curve="cosine", min_rate_ratio=0.0
    )
    assert learning_rate(config, 0) == pytest.approx(0.1)
    assert learning_rate(config, 25) == pytest.approx(0.55 * (1 + math.cos(math.pi / 4)) / 2)
    assert learning_rate(config, 50) == pytest.approx(0.5)  # no step where the warm-up ends
    assert abs(learning_rate(config, 50) - learning_rate(config, 49)) < 0.02


def test_no_iterations_are_refused(root, tmp_path):
    with pytest.raises(ConfigError, match="iterations must be at least 1 .*; got 0"):
        train(tiny_depth_recipe(root, train__iterations=0), tmp_path, progress=False)


def test_data_of_another_task_is_refused(root, images, tmp_path):
    with pytest.raises(ConfigError, match="model.task is depth, but dataset folder has label maps"):
        train(tiny_depth_recipe(images, data__dataset="folder"), tmp_path, progress=False)
    with pytest.raises(ConfigError, match="model.task is segmentation, but dataset depth_folder has depth maps"):
        train(tiny_recipe(root, data__dataset="depth_folder"), tmp_path, progress=False)


def test_validation_without_a_protocol_is_refused(root, tmp_path):
    recipe = tiny_depth_recipe(root, evaluation__protocol=None, train__validate_every=4)
    with pytest.raises(ConfigError, match="evaluation.protocol must be one of"):
        train(recipe, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()  # found before the first iteration


def test_a_rate_that_ends_below_zero_is_refused(root, tmp_path):
    with pytest.raises(ConfigError, match="min_rate_ratio must be at least 0 .*; got -0.1"):
        train(tiny_depth_recipe(root, train__min_rate_ratio=-0.1), tmp_path, progress=False)
