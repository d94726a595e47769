"""A model that lacks a part is refused by that part's name, before anything is done with it."""

import pytest
from torch import nn

from ddp_repro.papers.ddp.build import build_model
from ddp_repro.protocols.method import Method, check_method
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import EvalConfig
from ddp_repro.training import check_trainable, train
from tests.models.bev.test_model import CONFIGS
from tests.training.tiny import tiny_recipe

PARTS = ("config", "mean", "std", "has_noise", "has_steps", "encode", "sample", "training_loss")


class Bare(nn.Module):
    """A model of a user who forgot something."""

    mean, std, config, has_noise, has_steps = (0.0,) * 3, (1.0,) * 3, None, False, False

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def encode(self, batch: dict) -> None: ...

    def sample(self, *, features: object) -> None: ...


def test_the_protocol_is_what_is_checked():
    assert set(PARTS) == {*Method.__annotations__, *(name for name in vars(Method) if name in PARTS)}
    with pytest.raises(ConfigError) as training:
        check_method(object(), "training")
    with pytest.raises(ConfigError) as evaluation:
        check_method(object(), "evaluation")
    assert set(PARTS) == {name for name in PARTS if name in str(training.value) + str(evaluation.value)}


@pytest.mark.parametrize("changes", [{}, {"model__diffusion": False}, {"model__task": "depth"}])
def test_the_papers_models_have_all_parts(changes):
    model = tiny_recipe("images", **changes).model.build()
    check_method(model, "training")
    check_method(model, "evaluation")
    assert model.has_noise == model.has_steps == ("model__diffusion" not in changes)


def test_models_of_maps_from_above_have_all_parts():
    model = build_model(CONFIGS["camera"])
    check_method(model, "training")
    check_method(model, "evaluation")


def test_a_training_names_what_is_missing(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="a Bare cannot be used for training: it lacks training_loss$"):
        check_trainable(Bare(), tiny_recipe(tmp_path).train)
    recipe = tiny_recipe(tmp_path, train__self_aligned="same_noise")
    with pytest.raises(ConfigError, match="lacks training_loss, self_aligned_loss$"):
        check_trainable(Bare(), recipe.train)
    monkeypatch.setattr(type(recipe.model), "build", lambda config: Bare())
    with pytest.raises(ConfigError, match="lacks training_loss, self_aligned_loss$"):
        train(recipe, tmp_path / "run", progress=False)


def test_an_evaluation_names_what_is_missing(monkeypatch):
    from ddp_repro.evaluation.evaluate import evaluate_model

    monkeypatch.delattr(Bare, "sample")
    monkeypatch.delattr(Bare, "has_noise")
    with pytest.raises(ConfigError, match="a Bare cannot be used for evaluation: it lacks has_noise, sample$"):
        evaluate_model(Bare(), [], EvalConfig(), progress=False)
