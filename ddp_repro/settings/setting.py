"""Settings that state their range: each field says beside it which values it takes and which results it decides.

``setting(default, decides=…, at_least=…)`` declares a field of a :class:`Settings` class; the values are checked
whenever such an object is made, by a recipe's author, an override or a stored file alike.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import numbers
import os
import re
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ddp_repro.settings.errors import ConfigError

Decides = Literal["weights", "scores", "nothing"]
"""The results that a setting decides: trained weights (and thus scores), scores alone, or neither (speed, places)."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """The values a setting takes; of a tuple, each of its items.

    Attributes:
        multiple_of: of the integer(s).
        order: how the items of a tuple follow each other: ``<``, ``<=``; None: in any way.
        distinct: whether the items of a tuple must differ.
        matches: pattern of a whole text; by default it is not empty, and none holds control characters.
    """

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    multiple_of: int | None = None
    order: Literal["<", "<="] | None = None
    distinct: bool = False
    matches: str = r".+"

    def __str__(self) -> str:
        limits = {"at least": self.at_least, "greater than": self.above, "at most": self.at_most, "below": self.below}
        limits |= {"a multiple of": self.multiple_of}
        shown = {name: f"{limit:g}" if isinstance(limit, float) else limit for name, limit in limits.items()}
        return " and ".join(f"{name} {limit}" for name, limit in shown.items() if limit is not None)

    def check(self, value: Any, key: str) -> None:
        """Refuse a value of the right type that is out of range.

        Raises:
            ConfigError: names the setting ``key``, the value and the range.
        """
        items = value if isinstance(value, tuple) else (value,)
        for item in items:
            self._check_item(item, key, value)
        if self.distinct and len(set(items)) < len(items):
            raise ConfigError(f"{key} must be one or more different values; got {value}")
        pairs = list(itertools.pairwise(items))
        if self.order and not all(a < b if self.order == "<" else a <= b for a, b in pairs):
            raise ConfigError(f"{key} must be {f' {self.order} '.join('xyz'[: len(items)])}; got {value}")

    def _check_item(self, item: Any, key: str, value: Any) -> None:
        if item is None or isinstance(item, bool):
            return
        if isinstance(item, str):
            if not re.fullmatch(self.matches, item) or not item.isprintable():
                raise ConfigError(f"{key} must be a printable text of the form {self.matches}; got {value!r}")
            return
        if not math.isfinite(item):
            raise ConfigError(f"{key} must be finite{f' and {self}' if str(self) else ''}; got {value}")
        inside = (
            (self.at_least is None or item >= self.at_least)
            and (self.above is None or item > self.above)
            and (self.at_most is None or item <= self.at_most)
            and (self.below is None or item < self.below)
            and (self.multiple_of is None or item % self.multiple_of == 0)
        )
        if not inside:
            raise ConfigError(f"{key} must be {self}; got {value}")


def setting(
    default: Any = dataclasses.MISSING,
    *,
    decides: Decides,
    loose: bool = False,
    factory: Callable[[], Any] | Any = dataclasses.MISSING,
    **limits: Any,
) -> Any:
    """Declare a field of a :class:`Settings` class.

    Args:
        decides: the results that it decides, see :data:`Decides`.
        loose: although it decides trained weights, a model of another value may load them: regularisation, or what
            the tensors' shapes say themselves.
        factory: makes the default, in place of ``default``.
        limits: of :class:`Range`.
    """
    metadata = {"decides": decides, "loose": loose, "range": Range(**limits)}
    return field(default=default, default_factory=factory, metadata=metadata)


class Settings:
    """Base of the frozen dataclasses of settings; an object of one is within its ranges, or does not exist.

    Attributes:
        kind: what stored settings are called where a field may hold several classes.
    """

    kind: ClassVar[str] = ""
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]  # every class below is a dataclass

    def __post_init__(self) -> None:
        hints = hints_of(type(self))
        for each in dataclasses.fields(self):
            value = checked(type(self), each.name, convert(getattr(self, each.name), hints[each.name], each.name))
            object.__setattr__(self, each.name, value)  # in its normal form: tuples for lists, floats for integers
        self.check()

    def check(self) -> None:
        """Refuse values that are right by themselves but cannot work together.

        Raises:
            ConfigError: says which setting has to change.
        """


@functools.cache
def hints_of(settings: type[Settings]) -> dict[str, Any]:
    """Return the types of a settings class by field (class variables left out)."""
    names = {each.name for each in dataclasses.fields(settings)}
    return {name: hint for name, hint in typing.get_type_hints(settings).items() if name in names}


@functools.cache
def _ranges_of(settings: type[Settings]) -> dict[str, Range]:
    return {each.name: each.metadata["range"] for each in dataclasses.fields(settings)}


def checked(settings: type[Settings], name: str, value: Any, key: str | None = None) -> Any:
    """Return a field's value of the right type if it is in range.

    Raises:
        ConfigError: names the setting, as ``key`` if given, the value and the range.
    """
    if not isinstance(value, Settings):
        _ranges_of(settings)[name].check(value, key or name)
    return value


def convert(value: Any, hint: Any, key: str, *, typed: bool = False) -> Any:
    """Return ``value`` as the declared type ``hint`` has it.

    Args:
        key: name of the setting, for messages.
        typed: whether texts are as typed on a command line: ``"1e-4"``, ``"1,3,10"``, ``"none"``.

    Raises:
        ConfigError: the value does not fit.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    classes = [kind for kind in (*arguments, hint) if isinstance(kind, type) and issubclass(kind, Settings)]
    if classes:
        if not isinstance(value, tuple(classes)):
            raise ConfigError(f"{key} must be {' or '.join(c.__name__ for c in classes)}; got {value!r}")
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None or (typed and isinstance(value, str) and value.lower() == "none"):
            return None
        return convert(value, next(a for a in arguments if a is not type(None)), key, typed=typed)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise ConfigError(f"{key} must be one of {', '.join(map(str, arguments))}; got {value!r}")
        return value
    if origin is tuple:
        return _convert_tuple(value, arguments, key, typed)
    return _convert_scalar(value, hint, key, typed)


def _convert_tuple(value: Any, arguments: tuple, key: str, typed: bool) -> tuple:
    split = typed and isinstance(value, str)
    items = [v for v in value.strip("()[] ").split(",") if v.strip()] if split else value
    if not isinstance(items, (list, tuple)):
        items = [items]
    variadic = len(arguments) == 2 and arguments[1] is Ellipsis
    if not items or (not variadic and len(items) != len(arguments)):
        raise ConfigError(f"{key} takes {'one or more' if variadic else len(arguments)} values; got {value!r}")
    hints = [arguments[0]] * len(items) if variadic else arguments
    return tuple(convert(v.strip() if split else v, h, key, typed=typed) for v, h in zip(items, hints, strict=True))


def _convert_scalar(value: Any, hint: Any, key: str, typed: bool) -> Any:
    expected = f"{key} must be of type {hint.__name__}; got {value!r}"
    if hint is bool:
        answers = {"true": True, "false": False}
        if typed and isinstance(value, str) and value.lower() in answers:
            return answers[value.lower()]
        if not isinstance(value, bool):
            raise ConfigError(f"{expected} (write true or false)")
        return value
    if hint is str:
        if not isinstance(value, (str, os.PathLike)):
            raise ConfigError(expected)
        return str(value)
    number = {int: numbers.Integral}.get(hint, numbers.Real)
    accepted: tuple[type, ...] = (number, str) if typed else (number,)
    if isinstance(value, bool) or not isinstance(value, accepted):
        raise ConfigError(expected)
    try:
        return hint(value.strip() if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        raise ConfigError(expected) from None
