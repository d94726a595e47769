"""Recipes made from recipes: each cell of Table 5 differs from the plain one in exactly one setting."""

import dataclasses
from pathlib import Path

import pytest

from ddp_repro.papers.ddp.recipes.registry import main_model
from ddp_repro.papers.ddp.recipes.segmentation import ABLATED, ablation_base
from ddp_repro.papers.ddp.recipes.variants import ABLATIONS, ablation, ablations, cells
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.overrides import override, to_dict
from ddp_repro.settings.sources import is_recipe_name
from ddp_repro.settings.training_seeds import seeded, split_seed
from ddp_repro.workbook.catalogue import recipe, recipe_names

LABELS = {"name", "table", "row"}


def settings(chosen):
    values = to_dict(chosen)
    groups = {k: v for k, v in values.items() if isinstance(v, dict)}
    return {f"{g}.{k}": str(v) for g, group in groups.items() for k, v in group.items()}


def changed(one, other):
    before, after = settings(one), settings(other)
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize("preset", ABLATED)
@pytest.mark.parametrize("table", ABLATIONS)
def test_a_cell_differs_in_exactly_the_ablated_setting(preset, table):
    plain = ablation_base(preset)
    found = cells(plain, table)
    assert sum(cell == plain for cell in found.values()) == 1
    for value, cell in found.items():
        assert settings(cell)[ABLATIONS[table][0]] == str(value)
        if cell != plain:
            assert changed(plain, cell) == {ABLATIONS[table][0]}
            assert cell.table == table
            assert recipe(cell.name, preset) == cell


@pytest.mark.parametrize("preset", ABLATED)
def test_every_cell_has_a_place_of_its_own(preset):
    made = ablations(ablation_base(preset))
    assert len(made) == {"mini": 10, "camvid": 9, "paper": 11}[preset]
    assert len({cell.name for cell in made}) == len(made)


def test_names_and_values_are_the_papers():
    assert recipe("ade20k_swin_t_scale_0.1").model.scale == 0.1
    assert recipe("ade20k_swin_t_layers_12").model.layers == 12
    assert recipe("camvid_map_encoding_onehot").model.encoding == "onehot"
    assert list(cells(ablation_base("mini"), "ddp_table5d")) == [1, 2, 3, 6]
    assert list(cells(ablation_base("camvid"), "ddp_table5b")) == [0.01, 0.1, 0.3, 1.0]
    assert ablation(recipe("ade20k_swin_t"), "model.scale", 0.01) == recipe("ade20k_swin_t")


def test_unknown_part():
    with pytest.raises(ConfigError, match="'ddp_table5e' has no trained ablations"):
        cells(ablation_base("mini"), "ddp_table5e")


@pytest.mark.parametrize(("name", "preset"), [("cityscapes_mini", "mini"), ("camvid_map", "camvid")])
def test_second_stages_start_from_the_plain_weights(name, preset):
    plain = recipe(name, preset)
    for end, variant in (("_aligned", "same_noise"), ("_aligned_fresh", "fresh_noise")):
        stage = recipe(name + end, preset)
        assert stage.train.initialize_from == name
        assert is_recipe_name(stage.train.initialize_from)
        assert stage.train.self_aligned == variant
        assert stage.model == plain.model
        assert stage.train.iterations < plain.train.iterations


def test_released_stage_keeps_the_released_settings():
    stage = recipe("cityscapes_convnext_t_aligned").train
    assert (stage.iterations, stage.learning_rate, stage.warmup_iterations) == (5000, 6e-6, 1500)
    assert recipe("cityscapes_convnext_t_aligned_fresh").train == dataclasses.replace(stage, self_aligned="fresh_noise")


def test_training_seeds_are_runs_of_their_own():
    stage = recipe("cityscapes_mini_aligned-seed2")
    assert (stage.name, stage.train.seed) == ("cityscapes_mini_aligned-seed2", 2)
    assert recipe(stage.train.initialize_from).train.seed == 2
    assert changed(recipe("ade20k_mini"), recipe("ade20k_mini-seed1")) == {"train.seed"}
    assert seeded(recipe("ade20k_mini"), 0) == recipe("ade20k_mini")
    assert split_seed("ade20k_mini_small_scale_0.1-seed12") == ("ade20k_mini_small_scale_0.1", 12)
    from_file = override(stage, {"train.initialize_from": "some/weights.safetensors", "train.seed": 0})
    assert seeded(from_file, 1).train.initialize_from == "some/weights.safetensors"
    assert split_seed("a-seedling") == ("a-seedling", None)
    with pytest.raises(ConfigError, match="no recipe 'nothing'"):
        recipe("nothing-seed1")


@pytest.mark.parametrize("preset", ABLATED)
def test_names_are_fit_for_folders(preset):
    names = recipe_names(preset)
    assert len(set(names)) == len(names)
    assert all(Path(name).name == name for name in names)
    assert main_model(preset) in names
