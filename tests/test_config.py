import contextlib
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.overrides import from_dict, override, parse_overrides, to_dict
from ddp_repro.settings.presets import PRESETS
from ddp_repro.settings.recipe import Recipe
from ddp_repro.workbook.catalogue import recipe, recipe_names

ALL = [(preset, name) for preset in PRESETS for name in recipe_names(preset)]


@pytest.mark.parametrize(("preset", "name"), ALL)
def test_recipes_survive_json(preset: str, name: str) -> None:
    import json

    chosen = recipe(name, preset)
    assert chosen.preset == preset and chosen.name == name
    assert from_dict(Recipe, json.loads(json.dumps(to_dict(chosen)))) == chosen


def test_names_are_unique() -> None:
    names = [name for _, name in ALL]
    assert len(names) == len(set(names))


def test_command_line_values_take_the_declared_types() -> None:
    words = [
        "train.learning_rate=1e-4", "evaluation.steps=1,3,10", "train.clip_norm=none", "data.photometric=false",
        "model.layers=2", "data.crop_size=(96, 128)", "evaluation.scales=0.5", "data.root=my data/ü",
    ]  # fmt: skip
    changed = override(recipe("ade20k_swin_t"), parse_overrides(words))
    assert changed.train.learning_rate == 1e-4 and changed.train.clip_norm is None
    assert changed.evaluation.steps == (1, 3, 10) and changed.evaluation.scales == (0.5,)
    assert changed.data.photometric is False and changed.data.crop_size == (96, 128)
    assert changed.model.layers == 2 and changed.data.root == "my data/ü"


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("train.iteration=5", "unknown field 'train.iteration'"),
        ("iterations=5", "unknown field 'iterations'"),
        ("train.iterations=many", "train.iterations must be of type int"),
        ("train.iterations=1e5", "train.iterations must be of type int"),
        ("train.iterations=true", "train.iterations must be of type int"),
        ("train=5", "'train' is a group"),
        ("train.seed.x=5", "seed has no fields"),
        ("model.encoding=binary", "must be one of embedding, onehot, analog_bits"),
        ("data.photometric=1", "write true or false"),
        ("data.crop_size=5", "takes 2 values"),
        ("evaluation.steps=", "one or more values"),
        ("train.learning_rate", "not of the form field=value"),
    ],
)
def test_mistyped_overrides(word: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        override(recipe("ade20k_mini"), parse_overrides([word]))


@pytest.mark.parametrize("value", ["1e-4", True, None, [1]])
def test_python_values_are_checked_too(value: object) -> None:
    if value == "1e-4":  # a string is read like a command-line word
        assert override(recipe("ade20k_mini"), {"train.learning_rate": value}).train.learning_rate == 1e-4
        return
    with pytest.raises(ConfigError, match=r"train\.learning_rate"):
        override(recipe("ade20k_mini"), {"train.learning_rate": value})


def test_unknown_recipe_suggests_names() -> None:
    with pytest.raises(ConfigError, match="did you mean ade20k_swin_"):
        recipe("ade20k_swint")
    with pytest.raises(ConfigError, match="no preset 'tiny'"):
        recipe_names("tiny")


def test_unknown_fields_in_a_stored_recipe() -> None:
    stored = to_dict(recipe("ade20k_mini"))
    stored["model"]["colour"] = "blue"
    with pytest.raises(ConfigError, match="ModelConfig has no field 'colour'"):
        from_dict(Recipe, stored)


@given(st.text(max_size=20))
def test_any_override_word_is_understood_or_refused(word: str) -> None:
    chosen = recipe("ade20k_mini")
    with contextlib.suppress(ConfigError):
        assert dataclasses.is_dataclass(override(chosen, parse_overrides([word])))
