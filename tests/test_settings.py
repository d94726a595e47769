"""Every field of every settings class takes what is in its range, and refuses anything else by name."""

import dataclasses
import json
import math
import typing
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ddp_repro.papers.ddp.bev.settings import NUSCENES_FUSION, BEVConfig
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings import overrides as config
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.overrides import changed_settings, decides, from_dict, is_loose, override, to_dict
from ddp_repro.settings.recipe import DataConfig, EvalConfig, GatheredData, MixedData, Recipe, TrainConfig
from ddp_repro.settings.setting import hints_of
from ddp_repro.settings.training_seeds import split_seed
from ddp_repro.tasks.bev.settings import BEVDataConfig
from ddp_repro.workbook.catalogue import recipe

TINY = ModelConfig(
    backbone="test_efficientnet", drop_path_rate=0.0, num_classes=3, channels=8, layers=1, heads=2, points=1,
    feedforward_channels=8,
)  # fmt: skip
OBJECTS = {
    "model": TINY,
    "depth": override(TINY, {"task": "depth", "schedule": "gamma"}),
    "camera": recipe("nuscenes_mini_camera").model,
    "fusion": NUSCENES_FUSION,
    "data": DataConfig(),
    "mixed_data": MixedData(),
    "gathered_data": GatheredData(),
    "bev_data": BEVDataConfig(),
    "train": TrainConfig(),
    "evaluation": EvalConfig(),
    "recipe": Recipe(name="any", model=ModelConfig()),
}
VALUES = (
    0,
    -1,
    math.nan,
    math.inf,
    -math.inf,
    10**30,
    1e300,
    1,
    16,
    0.5,
    5,
    "",
    "\0",
    "nan",
    None,
    True,
    [],
    {},
    object(),
    [[]],
)
T = typing.TypeVar("T")
LARGEST_WIDTH = 64  # of a model that a test builds
FIELDS = [(name, field.name) for name, each in OBJECTS.items() for field in dataclasses.fields(each)]


def attempt(make: Callable[[], T]) -> tuple[T | None, str]:
    """What was made, or None and the words of a ConfigError; any other exception goes on."""
    try:
        return make(), ""
    except ConfigError as error:
        return None, str(error)


def attempts(current: object) -> list[object]:
    """Values of any kind, and for a tuple also tuples of its length."""
    length = len(current) if isinstance(current, tuple) else 0
    return [*VALUES, *((value,) * length for value in VALUES if length)]


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_any_value_is_taken_or_refused_by_name(name: str, field: str) -> None:
    settings, taken = OBJECTS[name], 0
    for value in attempts(getattr(settings, field)):
        for change in (
            lambda v: dataclasses.replace(settings, **{field: v}),
            lambda v: override(settings, {field: v}),
            lambda v: from_dict(type(settings), {**to_dict(settings), field: v}),
        ):
            changed, refusal = attempt(lambda: change(value))  # noqa: B023 - called at once
            if changed is None:
                assert any(each.name in refusal for each in dataclasses.fields(settings)), refusal
                continue
            taken += 1
            assert from_dict(type(settings), json.loads(json.dumps(to_dict(changed), allow_nan=False))) == changed
            assert hash(changed) is not None
    assert taken or field in ("window_size", "task", "dataset") or not isinstance(getattr(settings, field), int)


@pytest.mark.parametrize(("task", "field"), [(t, f.name) for t in ("model", "depth") for f in dataclasses.fields(TINY)])
def test_a_model_in_range_builds_and_runs(task: str, field: str) -> None:
    """Or says by a ConfigError why the network cannot have this value, e.g. a ResNet a window."""
    settings = OBJECTS[task]
    for value in (*VALUES, 4, 8, 1e-6):
        changed, _ = attempt(lambda: override(settings, {field: value}))  # noqa: B023
        if changed is None or (isinstance(value, int) and value > LARGEST_WIDTH):
            continue
        model, refusal = attempt(lambda: build_model(changed))  # noqa: B023
        if model is None:
            undecided = field == "num_classes" and changed.num_classes is None
            assert undecided or field in ("backbone", "window_size", "drop_path_rate"), refusal
            continue
        model.eval()
        options = {"steps": 2, "generator": torch.Generator()} if changed.diffusion else {}
        assert model.sample(torch.zeros(1, 3, 32, 40), **options).isfinite().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.heads": 5}, r"channels \(64\) must be a multiple of heads \(5\)"),
        ({"model.channels": 0}, r"model\.channels must be at least 4 and at most 8192 and a multiple of 4; got 0"),
        ({"model.channels": 3}, r"model\.channels must be .* a multiple of 4; got 3"),
        ({"model.layers": 0}, r"model\.layers must be at least 1 .*; got 0"),
        ({"model.max_depth": 0}, r"model\.max_depth must be greater than 0 .*; got 0"),
        ({"model.min_depth": "nan"}, r"model\.min_depth must be finite .*; got nan"),
        ({"model.min_depth": 5, "model.max_depth": 4}, r"min_depth \(5\.0\) must be below max_depth \(4\.0\)"),
        ({"model.initial_depth": 5, "model.max_depth": 4}, r"initial_depth \(5\.0\) must be below max_depth \(4\.0\)"),
        ({"model.time_difference": -1}, r"model\.time_difference must be at least 0 .*; got -1"),
        ({"train.learning_rate": "inf"}, r"train\.learning_rate must be finite .*; got inf"),
        ({"train.device_batch_size": 4}, r"train\.batch_size=6 cannot be shared equally"),
        ({"data.crop_size": "0,0"}, r"data\.crop_size must be at least 8 .*; got \(0, 0\)"),
        ({"data.ratio_range": "2,1"}, r"data\.ratio_range must be x <= y; got \(2\.0, 1\.0\)"),
        ({"evaluation.seeds": "1,1"}, r"evaluation\.seeds must be one or more different values"),
        ({"name": "../elsewhere"}, r"name must be a printable text"),
    ],
)  # fmt: skip
def test_messages_name_field_value_and_range(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        override(recipe("ade20k_mini"), changes)


def test_settings_that_depend_on_each_other_change_in_any_order() -> None:
    changes = {"heads": 3, "channels": 12}
    for names in (("heads", "channels"), ("channels", "heads")):
        changed = override(TINY, {name: changes[name] for name in names})
        assert (changed.heads, changed.channels) == (3, 12)


def test_python_objects_take_their_normal_form() -> None:
    assert EvalConfig(steps=[1, 3]) == EvalConfig(steps=(1, 3))
    assert json.dumps(to_dict(ModelConfig(max_depth=80))) == json.dumps(to_dict(ModelConfig(max_depth=80.0)))
    assert DataConfig(root=Path("a") / "b").root == "a/b"
    with pytest.raises(ConfigError, match=r"iterations must be of type int; got '5'"):
        TrainConfig(iterations="5")  # a text is a number on a command line only


def test_every_field_says_what_it_decides() -> None:
    paths = [f"{group}.{name}" for group, hint in hints_of(Recipe).items() for kind in config._classes(hint)
             for name in hints_of(kind) if getattr(kind, "paper", "ddp") == "ddp"]  # fmt: skip
    free = {"train.workers", "train.log_every", "train.checkpoint_every", "train.compile", "data.root",
            "train.gradient_checkpointing", "train.save", "data.added_root", "data.roots", "evaluation.batch_size",
            "evaluation.compile", "evaluation.channels_last"}  # fmt: skip
    assert {path for path in paths if decides(path) == "nothing"} == free
    assert {decides(name) for name in ("name", "preset", "table", "row")} == {"nothing"}
    assert all(decides(path) == "scores" for path in paths if path.startswith("evaluation.") and path not in free)
    assert {p for p in paths if p.startswith("model.") and is_loose(p)} == {
        f"model.{name}" for name in ("drop_path_rate", "sampler", "time_difference", "average_steps", "window_size",
                                     "noise_samples", "max_voxels", "norm_momentum")
    }  # fmt: skip
    assert decides("model.of_another_version") == "weights"
    for name in ("sensors", "data", "model"):  # of two classes of one field, the stronger counts
        assert decides(f"model.{name}") == "weights"


def test_stored_groups_name_their_kind() -> None:
    for name in ("ade20k_mini", "nuscenes_mini_camera"):
        chosen = recipe(name)
        stored = to_dict(chosen)
        assert stored["model"]["kind"] == chosen.model.kind and stored["data"]["kind"] == chosen.data.kind
        old = {key: {k: v for k, v in value.items() if k != "kind"} if isinstance(value, dict) else value
               for key, value in stored.items()}  # fmt: skip
        assert from_dict(Recipe, stored) == from_dict(Recipe, old) == chosen
        assert changed_settings(old, stored, *typing.get_args(config.Decides)) == []
        sparse = {"name": "sparse", "model": {"kind": chosen.model.kind}, "data": {"kind": chosen.data.kind}}
        assert type(from_dict(Recipe, sparse).model) is type(chosen.model)
    assert isinstance(recipe("nuscenes_mini_camera").model, BEVConfig)
    with pytest.raises(ConfigError, match=r"unknown kind of settings 'ddps'; known: .*papers\.ddp"):
        from_dict(Recipe, {"name": "x", "model": {"kind": "ddps"}})
    with pytest.raises(ConfigError, match=r"Recipe: .*'name'"):
        from_dict(Recipe, {})


def test_committed_records_are_read() -> None:
    """They are older than the kinds, and than some settings."""
    paths = sorted((Path(__file__).parents[1] / "results").glob("*/runs/*/record.json"))
    assert paths
    for path in paths:
        stored = json.loads(path.read_text(encoding="utf-8"))["recipe"]
        settings = from_dict(Recipe, stored)
        known = recipe(split_seed(settings.name)[0], settings.preset)
        assert type(settings.model) is type(known.model) and type(settings.data) is type(known.data)
        assert changed_settings(stored, to_dict(settings), "weights", "scores", "nothing") == []


@pytest.mark.parametrize("name", ["camera", "fusion"])
def test_a_bev_model_in_range_builds(name: str) -> None:
    settings = recipe(f"nuscenes_mini_{name}").model
    built = 0
    for field in dataclasses.fields(settings):
        current = getattr(settings, field.name)
        for value in (1, 0.5, 16, None, *((v,) * len(current) for v in (1, 8, 0.5) if isinstance(current, tuple))):
            changed, _ = attempt(lambda: override(settings, {field.name: value}))  # noqa: B023
            if changed is None or changed == settings or field.name in ("backbone", "classes"):
                continue
            model, refusal = attempt(lambda: build_model(changed))  # noqa: B023
            built += model is not None
            assert model is not None or field.name in ("window_size", "drop_path_rate", "lidar_height", "voxel_size"), (
                f"{field.name}={value}: {refusal}"
            )
    assert built > 20
