"""BEV recipes are trained by the same trainer: clouds in lists, the one-cycle curve, validation by mIoU."""

from __future__ import annotations

import pytest
from safetensors import safe_open

from ddp_repro.papers.ddp.build import build_model
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.overrides import from_dict, override, to_dict
from ddp_repro.settings.recipe import EvalConfig, Recipe, TrainConfig
from ddp_repro.training import train, trainer
from ddp_repro.training.curves import betas
from ddp_repro.training.log import read_log
from ddp_repro.training.one_cycle import one_cycle_beta1, one_cycle_rate
from ddp_repro.training.optimizer import parameter_groups
from tests.evaluation.tiny_bev import DATA, TinyBEV
from tests.models.bev.test_model import CONFIGS

pytestmark = pytest.mark.numerics

TRAIN = TrainConfig(
    iterations=4, batch_size=2, device_batch_size=2, learning_rate=1e-4, warmup_iterations=0, curve="one_cycle",
    clip_norm=35.0, backbone_weights=None, workers=0, log_every=1, checkpoint_every=100, validate_every=4,
)  # fmt: skip


def tiny_bev_recipe(sensors: str) -> Recipe:
    return Recipe(
        name="tiny", preset="mini", model=CONFIGS[sensors], data=DATA, train=TRAIN,
        evaluation=EvalConfig(steps=(1,), seeds=(0,), batch_size=2),
    )  # fmt: skip


@pytest.mark.parametrize("sensors", CONFIGS)
def test_trains_and_validates(sensors, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "build_dataset", lambda *_, **__: TinyBEV())
    recipe = tiny_bev_recipe(sensors)
    result = train(recipe, tmp_path, progress=False)
    log = read_log(result.history)
    rates = [record["learning_rate"] for record in log if "learning_rate" in record]
    assert rates == pytest.approx([one_cycle_rate(1e-4, iteration, 4) for iteration in range(4)])
    assert {*recipe.model.classes, "loss", "grad_norm"} <= log[0].keys()
    written = result.checkpoint.stat().st_mtime_ns
    again = train(recipe, tmp_path, progress=False)
    assert again.checkpoint.stat().st_mtime_ns == written  # found finished, not trained again
    (validated,) = [record for record in log if "validation_miou" in record]
    with safe_open(result.best, "pt") as file:
        assert float(file.metadata()["miou"]) == validated["validation_miou"]


def test_momentum_follows_the_cycle():
    assert betas(TRAIN, 0) == (0.9, 0.999)
    assert betas(TRAIN, 1) == pytest.approx((one_cycle_beta1(0.9, 1, 4), 0.999))
    assert betas(TRAIN, 1)[0] == pytest.approx(0.9 * 0.85 / 0.95)  # the peak of the rate
    assert betas(override(TRAIN, {"curve": "cosine"}), 1) == (0.9, 0.999)


def test_warm_up_does_not_go_with_the_cycle():
    with pytest.raises(ConfigError, match="warmup_iterations=0"):
        override(tiny_bev_recipe("camera"), {"train.warmup_iterations": 2})


def test_norms_and_biases_are_decayed():
    model = build_model(CONFIGS["camera"])
    (decayed,) = parameter_groups(model, TRAIN)
    assert decayed["weight_decay"] == 0.01 and len(decayed["params"]) == len(list(model.parameters()))


def test_recipe_survives_json_and_overrides():
    recipe = tiny_bev_recipe("fusion")
    assert from_dict(Recipe, to_dict(recipe)) == recipe
    changed = override(recipe, {"model.noise_samples": "3", "data.sweeps": "4"})
    assert (changed.model.noise_samples, changed.data.sweeps) == (3, 4)
    with pytest.raises(ConfigError, match="BEVConfig has"):
        override(recipe, {"model.num_classes": 3})
