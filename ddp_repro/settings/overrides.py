"""Strict dotted overrides of settings, and their form in files."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal, TypeVar

from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.kinds import UNNAMED, KindSettings
from ddp_repro.settings.recipe import Recipe

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
    """Return the settings as plain JSON values: tuples become lists, and a ``kind`` is said where there are several."""
    if isinstance(config, tuple):
        return list(config)
    if not dataclasses.is_dataclass(config):
        return config
    kind = {"kind": config.kind} if isinstance(config, KindSettings) else {}
    return kind | {f.name: to_dict(getattr(config, f.name)) for f in dataclasses.fields(config)}


def defaults_of(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the default settings, as plain values, of a recipe of the same kinds as ``recipe`` (:func:`to_dict`'s
    form).

    They are what a setting had before it existed: a stored recipe may be older than a field.
    """
    hints = _hints(Recipe)
    groups = {name: kind() for name, hint in hints.items() if (kind := _group_of(hint, recipe.get(name), name))}
    return to_dict(Recipe(name="", **groups))


def from_dict(kind: type[ConfigT], values: dict[str, Any]) -> ConfigT:
    """Rebuild a settings object from :func:`to_dict`'s form.

    Raises:
        ConfigError: an unknown field or a value of the wrong type.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{kind.__name__} takes a mapping of fields, got {type(values).__name__}")
    hints = _hints(kind)
    converted = {}
    for name, value in values.items():
        if name == "kind" and issubclass(kind, KindSettings):
            continue
        if name not in hints:
            raise ConfigError(f"{kind.__name__} has no field {name!r}; it has: {', '.join(hints)}")
        group = _group_of(hints[name], value, name)
        converted[name] = from_dict(group, value) if group else _convert(value, hints[name], name)
    return kind(**converted)


def _hints(kind: type) -> dict[str, Any]:
    """Return the types of a settings class's fields, resolved."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _group_of(hint: Any, value: Any, name: str) -> type | None:
    """The settings class of a field: the declared one, or that of the stored kind.

    What was stored before kinds were is of the one that shares most fields with it.
    """
    if not isinstance(hint, type):
        return None
    if not issubclass(hint, KindSettings):
        return hint if dataclasses.is_dataclass(hint) else None
    if isinstance(value, dict) and "kind" in value:
        return hint.named(value["kind"])
    given = set(value) if isinstance(value, dict) else set()
    return max(map(hint.named, UNNAMED[name]), key=lambda kind: len(given & set(_hints(kind))))


def _override_one(config: Any, path: list[str], value: Any, key: str) -> Any:
    hints = _hints(type(config))
    name, rest = path[0], path[1:]
    if name not in hints:
        raise ConfigError(f"unknown field {key!r}: {type(config).__name__} has {', '.join(hints)}")
    current = getattr(config, name)
    if rest:
        if not dataclasses.is_dataclass(current):
            raise ConfigError(f"unknown field {key!r}: {name} has no fields of its own")
        return dataclasses.replace(config, **{name: _override_one(current, rest, value, key)})
    if dataclasses.is_dataclass(current) and not isinstance(value, type(current)):
        raise ConfigError(f"{key!r} is a group; set one of {', '.join(_hints(type(current)))}")
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
