"""Frozen parts stay as they are, cost no optimiser state, and are named when they do not exist."""

import pytest
import torch
from safetensors.torch import load_file

from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import TrainConfig
from ddp_repro.training import step, train
from ddp_repro.training.frozen import check_frozen, freeze, set_training_mode
from tests.training.processes import exit_codes, start
from tests.training.tiny import tiny_recipe

pytestmark = pytest.mark.numerics

FROZEN = {"train__frozen": "backbone", "train__iterations": 3}


def initial(recipe):
    torch.manual_seed(recipe.train.seed)
    return recipe.model.build().state_dict()


def changed(recipe, path):
    before, after = initial(recipe), load_file(path)
    return {name for name, value in after.items() if not torch.equal(value, before[name])}


def test_nothing_of_a_frozen_part_changes(images, tmp_path):
    recipe = tiny_recipe(images, **FROZEN)
    moved = changed(recipe, train(recipe, tmp_path, progress=False).checkpoint)
    parameters = {name for name, _ in recipe.model.build().named_parameters() if not name.startswith("backbone.")}
    assert parameters <= moved
    assert not {name for name in moved if name.startswith("backbone.")}


def test_statistics_move_in_training_mode(images, tmp_path):
    recipe = tiny_recipe(images, train__frozen_mode="training", **FROZEN)
    moved = {name for name in changed(recipe, train(recipe, tmp_path, progress=False).checkpoint)
             if name.startswith("backbone.")}  # fmt: skip
    assert moved and {name.rpartition(".")[2] for name in moved} == {
        "running_mean", "running_var", "num_batches_tracked"
    }  # fmt: skip


def test_frozen_parts_have_no_optimiser_state(images, tmp_path, monkeypatch):
    held = []

    def observe(self, iteration, *arguments):
        held.extend(parameter for group in self.optimizer.param_groups for parameter in group["params"])
        backbone = dict(self.model.backbone.named_parameters())
        assert not self.model.backbone.training and self.model.decoder.training
        assert not any(value.requires_grad for value in backbone.values())
        assert not {id(each) for each in held} & {id(each) for each in backbone.values()}
        return original(self, iteration, *arguments)

    original = step.Step.__call__
    monkeypatch.setattr(step.Step, "__call__", observe)
    train(tiny_recipe(images, train__validate_every=1, **FROZEN), tmp_path, progress=False)
    assert held


def test_two_processes_train_like_one(images, tmp_path):
    """Batch norms in evaluation mode keep their statistics on every process, and normalise by them."""
    changes = {**FROZEN, "train__learning_rate": 1e-4, "data__crop_size": "96,96"}
    alone = train(tiny_recipe(images, **changes), tmp_path / "alone", progress=False)
    assert exit_codes(start(images, tmp_path / "two", count=2, **changes)) == [0, 0]
    one, two = load_file(alone.checkpoint), load_file(tmp_path / "two" / "model.safetensors")
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_a_part_of_a_part_may_be_frozen():
    model, config = tiny_recipe("images").model.build(), TrainConfig(frozen=("decoder.classifier", "neck"))
    freeze(model, config)
    set_training_mode(model, config)
    held = {name for name, value in model.named_parameters() if not value.requires_grad}
    assert held == {n for n, _ in model.named_parameters() if n.startswith(("decoder.classifier.", "neck."))}
    assert not model.decoder.classifier.training and not model.neck.training and model.decoder.training


@pytest.mark.parametrize("name", ["back", "backbone.", "segmentor", "decoder.classifier.weight"])
def test_a_part_that_does_not_exist_is_named(images, tmp_path, name):
    with pytest.raises(ConfigError, match=f"has no module '{name}'; its parts are backbone, "):
        train(tiny_recipe(images, train__frozen=name), tmp_path, progress=False)


def test_a_model_with_nothing_to_train_is_refused():
    model = tiny_recipe("images").model.build()
    parts = tuple(name for name, _ in model.named_children())
    with pytest.raises(ConfigError, match=r"nothing is left to train: .* frozen by train\.frozen=backbone,"):
        check_frozen(model, TrainConfig(frozen=parts))
    with pytest.raises(ConfigError, match="nothing is left to train"):
        check_frozen(model.requires_grad_(False), TrainConfig())
