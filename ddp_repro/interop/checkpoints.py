"""Loading a checkpoint into a model: ours or the authors', told apart by the keys, and always strict."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from ddp_repro.interop.partial import WHOLE_MODEL, complete, is_partial
from ddp_repro.interop.weight_files import StateDict, read_state_dict, refuse_not_finite, save_weights
from ddp_repro.protocols.task import Classes
from ddp_repro.settings.errors import CheckpointError, ConfigError
from ddp_repro.settings.overrides import is_loose, to_dict

__all__ = [
    "CheckpointError", "LoadReport", "check_part", "load_checkpoint", "load_part", "module_named", "read_state_dict",
    "save_weights", "window_size_of",
]  # fmt: skip

_CLASS_KEY = "decoder.classifier.weight"
_SHOWN = 5


@dataclass(frozen=True)
class LoadReport:
    """What became of a checkpoint's tensors; names as in the model, ``ignored`` as in the file.

    Loading is strict, so ``missing`` and ``unexpected`` are empty in every report that is returned.
    """

    used: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    ignored: tuple[str, ...]  # tensors of the official code that hold nothing learned, e.g. relative_position_index
    origin: Literal["ddp_repro", "official"]
    classes: Classes | None = None  # that the file describes; None: it does not say

    def __str__(self) -> str:
        return (
            f"{self.origin} checkpoint: used {len(self.used)} tensors, ignored {len(self.ignored)}, "
            f"missing {len(self.missing)}, unexpected {len(self.unexpected)}"
        )


def load_checkpoint(model: nn.Module, source: Path | str | Mapping[str, Tensor]) -> LoadReport:
    """Load ``source`` (a file or a state dict) into ``model``; no weight changes if anything does not fit.

    A file of the trained tensors alone (``train.save=trainable``) is completed from the files that it names.

    Raises:
        CheckpointError: the file cannot be read, a number in it is not finite, a tensor is missing, unexpected or of
            another shape, or the model's settings differ from those that the checkpoint was trained with.
    """
    if isinstance(source, Mapping):
        state_dict, metadata, name = dict(source), {}, "state dict"
        refuse_not_finite(state_dict, name)
    else:
        (state_dict, metadata), name = read_state_dict(source), str(source)
    if is_partial(metadata):
        state_dict = complete(state_dict, metadata, Path(name), model, _read_part)
    return _load(model, state_dict, metadata, name)


def load_part(model: nn.Module, part: str, source: Path | str) -> LoadReport:
    """Load a part of ``model`` from a file; as strict as :func:`load_checkpoint`, which see.

    The file holds the part alone, or a model with a part of that name.

    Args:
        part: name of a module of the model.

    Raises:
        ConfigError: the model has no such module.
        CheckpointError: as for :func:`load_checkpoint`.
    """
    module = module_named(model, part)
    state_dict, metadata = _read_whole(source, part)
    return _load(module, *_inside(part, state_dict, metadata), f"{source} (for {part})")


def check_part(model: nn.Module, part: str, state_dict: Mapping[str, Tensor], name: str) -> None:
    """Refuse tensors, of which only names and shapes count, that :func:`load_part` would refuse.

    Raises:
        ConfigError: the model has no such module.
        CheckpointError: what does not fit.
    """
    module = module_named(model, part)
    tensors, _ = _inside(part, dict(state_dict), {})
    _refuse_misfit(tensors, module, _compare(tensors, module, (), "ddp_repro", None), [], f"{name} (for {part})")


def module_named(model: nn.Module, part: str) -> nn.Module:
    """Return a module of a model by its name.

    Raises:
        ConfigError: there is none; names the model's parts.
    """
    modules = dict(model.named_modules())
    if part not in modules:
        parts = ", ".join(name for name, _ in model.named_children())
        raise ConfigError(f"a {type(model).__name__} has no module {part!r}; its parts are {parts}")
    return modules[part]


def _inside(part: str, state_dict: StateDict, metadata: dict[str, Any]) -> tuple[StateDict, dict[str, Any]]:
    """Return a part's tensors under its own names; the settings of a whole model do not describe its parts."""
    within = {key: tensor for key, tensor in state_dict.items() if key.startswith(f"{part}.")}
    if not within:
        return state_dict, metadata
    return {key.removeprefix(f"{part}."): tensor for key, tensor in within.items()}, {}


def _read_whole(source: Path | str, part: str) -> tuple[StateDict, dict[str, Any]]:
    state_dict, metadata = read_state_dict(source)
    if is_partial(metadata):
        raise CheckpointError(
            f"{source} holds the trained tensors alone, which is not enough to take its {part} from: train it with "
            "train.save=all"
        )
    return state_dict, metadata


def _read_part(model: nn.Module, part: str, path: Path) -> StateDict:
    """Read a part's tensors, or a whole model's, in a file of any dialect, under the names of the model."""
    if part == WHOLE_MODEL:
        tensors, metadata = read_state_dict(path)
        if is_partial(metadata):
            tensors = complete(tensors, metadata, path, model, _read_part)
        return _translated(tensors, model)[0]
    tensors, _ = _inside(part, *_read_whole(path, part))
    return {f"{part}.{name}": each for name, each in _translated(tensors, module_named(model, part))[0].items()}


def _translated(
    state_dict: StateDict, model: nn.Module
) -> tuple[StateDict, list[str], Literal["ddp_repro", "official"]]:
    """Tensors under the model's names, those that are rightly left out, and whose the format is."""
    dialect = next((each for each in getattr(model, "dialects", ()) if each.is_official(state_dict)), None)
    if dialect is None:
        return state_dict, [], "ddp_repro"
    return *dialect.translate(state_dict, model), "official"


def _load(model: nn.Module, state_dict: StateDict, metadata: dict[str, Any], name: str) -> LoadReport:
    state_dict, ignored, origin = _translated(state_dict, model)
    differences = _setting_differences(metadata, model, name)
    report = _compare(state_dict, model, tuple(ignored), origin, _classes(metadata, name))
    _refuse_misfit(state_dict, model, report, differences, name)
    model.load_state_dict(state_dict, strict=True)
    return report


def window_size_of(state_dict: Mapping[str, Tensor]) -> int | None:
    """Window size of the Swin encoder in a state dict (ours or official), or None without one.

    A relative position table has (2w - 1)² rows: 169 for window 7, 529 for window 12.
    """
    tables = [tensor for name, tensor in state_dict.items() if name.endswith("relative_position_bias_table")]
    return (round(tables[0].shape[0] ** 0.5) + 1) // 2 if tables else None


def _compare(
    state_dict: StateDict,
    model: nn.Module,
    ignored: tuple[str, ...],
    origin: Literal["ddp_repro", "official"],
    classes: Classes | None = None,
) -> LoadReport:
    expected = model.state_dict().keys()
    return LoadReport(
        used=tuple(key for key in expected if key in state_dict),
        missing=tuple(key for key in expected if key not in state_dict),
        unexpected=tuple(key for key in state_dict if key not in expected),
        ignored=ignored,
        origin=origin,
        classes=classes,
    )


def _refuse_misfit(
    state_dict: StateDict, model: nn.Module, report: LoadReport, differences: list[str], name: str
) -> None:
    expected = model.state_dict()
    misshaped = [
        f"{key} (checkpoint {tuple(state_dict[key].shape)}, model {tuple(expected[key].shape)})"
        for key in report.used
        if state_dict[key].shape != expected[key].shape
    ]
    problems = differences + _window_problem(state_dict, expected) + _class_problem(state_dict, expected)
    lists = {"missing": report.missing, "unexpected": report.unexpected, "of another shape": misshaped}
    problems += [f"{len(keys)} tensor(s) {what}: {_some(keys)}" for what, keys in lists.items() if keys]
    if not problems:
        return
    if not report.used:
        problems.insert(0, "no tensor has a name of this model")
    raise CheckpointError(
        f"{name} does not fit the model: {'; '.join(problems)}. Build the model by the checkpoint's recipe"
    )


def _class_problem(state_dict: StateDict, expected: Mapping[str, Tensor]) -> list[str]:
    """Return the most frequent misfit, in words: a checkpoint of another dataset."""
    theirs, ours = state_dict.get(_CLASS_KEY), expected.get(_CLASS_KEY)
    if theirs is None or ours is None or len(theirs) == len(ours):
        return []
    return [f"checkpoint has {len(theirs)} classes, model {len(ours)}"]


def _window_problem(state_dict: StateDict, expected: Mapping[str, Tensor]) -> list[str]:
    theirs, ours = window_size_of(state_dict), window_size_of(expected)
    if theirs == ours or None in (theirs, ours):
        return []
    return [f"checkpoint has Swin windows of {theirs}, model {ours} (set model.window_size={theirs})"]


def _setting_differences(metadata: Mapping[str, Any], model: nn.Module, name: str) -> list[str]:
    """Return the settings of the recipe inside our own checkpoints that differ from the model's."""
    config = getattr(model, "config", None)
    if not dataclasses.is_dataclass(config) or "recipe" not in metadata:
        return []
    try:
        trained = json.loads(metadata["recipe"])["model"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{name}: the recipe inside the checkpoint is damaged ({error!r})") from error
    return [
        f"model.{key} is {trained[key]!r} in the checkpoint, {value!r} in the model"
        for key, value in to_dict(config).items()
        if key in trained and not is_loose(f"model.{key}") and trained[key] != value
    ]


def _classes(metadata: Mapping[str, Any], name: str) -> Classes | None:
    """Names and colours of the classes, as our own trainings write them."""
    if "classes" not in metadata:
        return None
    try:
        values = json.loads(metadata["classes"])
        return Classes(
            tuple(map(str, values["names"])), tuple((int(r), int(g), int(b)) for r, g, b in values["colors"])
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{name}: the classes inside the checkpoint are damaged ({error!r})") from error


def _some(keys: list[str] | tuple[str, ...]) -> str:
    return ", ".join(keys[:_SHOWN]) + (f", … ({len(keys) - _SHOWN} more)" if len(keys) > _SHOWN else "")
