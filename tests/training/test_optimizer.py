"""Learning rates and weight-decay groups against those of the released configurations."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.released import rename
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings.recipe import TrainConfig
from ddp_repro.training.curves import learning_rate
from ddp_repro.training.optimizer import build_optimizer
from ddp_repro.workbook.catalogue import recipe

GOLDEN = Path(__file__).parents[1] / "golden"
CURVES = json.loads((GOLDEN / "ddp/lr_curves.json").read_text())
RECIPES = {
    "ade_swin_t": "ade20k_swin_t",
    "city_convnext_t": "cityscapes_convnext_t",
    "city_convnext_t_aligned": "cityscapes_convnext_t_aligned",
    "kitti_swin_t": "kitti_swin_t",
    "nyu_swin_t": "nyu_swin_t",
}


@pytest.mark.parametrize("name", RECIPES)
def test_learning_rate_is_the_official_one(name):
    config = recipe(RECIPES[name], "paper").train
    for iteration, expected in CURVES[name]["lr"].items():
        assert learning_rate(config, int(iteration)) == pytest.approx(expected, rel=1e-9)


def test_learning_rate_without_warm_up():
    config = TrainConfig(iterations=10, warmup_iterations=0, learning_rate=1.0)
    assert [learning_rate(config, i) for i in (0, 5, 9)] == pytest.approx([1, 0.5, 0.1])


@pytest.mark.parametrize(
    ("name", "parameters", "undecayed"),
    [("ade_swin_t", 327, 64), ("city_convnext_t", 336, 44), ("kitti_swin_t", 304, 100)],
)
def test_weight_decay_groups_are_the_official_ones(name, parameters, undecayed):
    official = json.loads((GOLDEN / f"manifests/optim_{name}.json").read_text())["param_lr_wd"]
    config = dataclasses.replace(recipe(RECIPES[name], "paper").model, time_conditioned=not name.startswith("kitti"))
    with torch.device("meta"):
        model = build_model(config)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    optimizer = build_optimizer(model, TrainConfig())
    decay = {names[id(p)]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    expected = {rename(key): value for key, (_, value) in official.items()}
    # the released depth decoder ignores the time; its embedding gets no gradient, and ours has none
    assert decay == {key: value for key, value in expected.items() if key in decay}
    assert {key.partition(".")[0] for key in expected.keys() - decay.keys()} <= {"time_embedding"}
    assert (len(decay), list(decay.values()).count(0)) == (parameters, undecayed)


def test_frozen_parameters_are_left_out():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    model.config = ModelConfig()
    model[0].requires_grad_(False)
    optimizer = build_optimizer(model, TrainConfig())
    assert [len(group["params"]) for group in optimizer.param_groups] == [2]


def test_the_recipe_chooses_optimiser_and_betas():
    model = torch.nn.Linear(2, 2)
    adam = build_optimizer(model, TrainConfig(optimizer="adam", betas=(0.8, 0.96), weight_decay=0))
    assert type(adam) is torch.optim.Adam
    assert adam.param_groups[0]["betas"] == (0.8, 0.96)
    assert type(build_optimizer(model, TrainConfig())) is torch.optim.AdamW
