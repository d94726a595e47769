"""Strict dotted overrides of settings, their form in files, and what each of them decides."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.kinds import UNNAMED, KindSettings
from ddp_repro.settings.recipe import Recipe
from ddp_repro.settings.setting import Decides, Settings, checked, convert, hints_of

ConfigT = TypeVar("ConfigT", bound=Settings)


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
        if _has_kinds(hint):
            values[name] = {"kind": getattr(config, name).kind, **values[name]}
    return values


def defaults_of(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the default settings, as plain values, of a recipe of the same kinds as ``recipe`` (a stored one).

    They are what a setting had before it existed: a stored recipe may be older than a field.
    """
    hints = hints_of(Recipe).items()
    groups: dict[str, Any] = {name: kind() for name, hint in hints if (kind := _class_of(hint, recipe.get(name), name))}
    return {**to_dict(Recipe(name="unnamed", **groups)), "name": ""}


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
        group = _class_of(hints[name], value, name)
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
    return differing_settings(deciding(before, *results), deciding(now, *results))


def deciding(recipe: Mapping[str, Any], *results: Decides) -> dict[str, Any]:
    """Return the settings of a stored recipe that decide any of ``results``, by dotted path, and its groups' kinds."""
    kinds = {
        f"{name}.kind": cast(type[Settings], _class_of(hint, recipe.get(name), name)).kind
        for name, hint in _groups_with_kinds()
    }
    return kinds | {name: value for name, value in flatten(recipe).items() if decides(name) in results}


def differing_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in words which settings by dotted path differ; one that only one side has is its default on the other."""
    given = {name: {"kind": before[f"{name}.kind"]} for name, _ in _groups_with_kinds() if f"{name}.kind" in before}
    defaults = flatten(defaults_of(given)) if given else {}
    pairs = {
        name: (before.get(name, defaults.get(name)), now.get(name, defaults.get(name))) for name in {**before, **now}
    }
    return [f"{name} was {a!r}, is {b!r}" for name, (a, b) in pairs.items() if a != b]


def _groups_with_kinds() -> list[tuple[str, Any]]:
    return [(name, hint) for name, hint in hints_of(Recipe).items() if _has_kinds(hint)]


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


def _fields(path: str) -> tuple[dataclasses.Field, ...]:
    """Return the fields at a dotted path of a recipe: one for every known class of its group that has it."""
    group, _, name = path.rpartition(".")
    hint = hints_of(Recipe).get(group) if group else Recipe
    return tuple(each for kind in _classes(hint) for each in dataclasses.fields(kind) if each.name == name)


def _has_kinds(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, KindSettings)


def _classes(hint: Any) -> tuple[type[Settings], ...]:
    """Return the settings classes that a field may hold, as far as known by now; none: the field is no group."""
    if not (isinstance(hint, type) and issubclass(hint, Settings)):
        return ()
    return tuple(hint.known()) if issubclass(hint, KindSettings) else (hint,)


def _class_of(hint: Any, value: Any, name: str) -> type[Settings] | None:
    """Return the settings class of a group's stored values, by their kind; None for a field that is no group.

    Records from before the kinds were stored say it by their fields: it is the class that shares most of them.
    """
    if not _has_kinds(hint):
        return next(iter(_classes(hint)), None)
    given = value if isinstance(value, dict) else {}
    if "kind" in given:
        return hint.named(given["kind"])
    return max(map(hint.named, UNNAMED[name]), key=lambda kind: len(given.keys() & hints_of(kind).keys()))


def _override(config: Any, changes: list[tuple[list[str], Any, str]]) -> Any:
    hints, replaced, nested = hints_of(type(config)), {}, {}
    for (name, *rest), value, key in changes:
        if name not in hints:
            raise ConfigError(f"unknown field {key!r}: {type(config).__name__} has {', '.join(hints)}")
        is_group = isinstance(hints[name], type) and issubclass(hints[name], Settings)
        group = getattr(config, name) if is_group else None
        if rest and group is None:
            raise ConfigError(f"unknown field {key!r}: {name} has no fields of its own")
        if rest:
            nested.setdefault(name, []).append((rest, value, key))
        elif group is not None and not isinstance(value, hints[name]):
            raise ConfigError(f"{key!r} is a group; set one of {', '.join(hints_of(type(group)))}")
        else:
            replaced[name] = checked(type(config), name, convert(value, hints[name], key, typed=True), key)
    for name, inner in nested.items():
        replaced[name] = _override(replaced.get(name, getattr(config, name)), inner)
    return dataclasses.replace(config, **replaced)
