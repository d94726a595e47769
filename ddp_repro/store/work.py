"""What a result depends on, as one object that is kept beside it: the one rule of what is still current."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ddp_repro.settings.overrides import differing_settings
from ddp_repro.store.atomic import write_atomically

Probe = dict[str, float | None]

COUNTED = "counted"  # begins the names of what is counted in whole pixels, of which rounding may turn a few
# How far a number of a probe may lie from the same code's on another processor, relative and absolute: several times
# what the emulated processors of the tests give.  Gradients pass the kinks of activations.
TOLERANCES = {COUNTED: (2e-2, 2e-2), "gradient": (1e-2, 1e-4), "": (1e-4, 2e-5)}
_remembered: dict[str, Probe] = {}


@dataclass(frozen=True)
class Current:
    """A result that would come out the same now.

    Attributes:
        by_probe: its code is another one, which behaves the same.
    """

    by_probe: bool = False


@dataclass(frozen=True)
class Changed:
    """A result that may come out otherwise now, and why, in words.

    Attributes:
        settings, inputs: which of them are others.
        behaviour: what the code does otherwise: the first number that moved.
    """

    settings: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    behaviour: str = ""

    @property
    def words(self) -> str:
        """All reasons."""
        return "; ".join([*self.settings, *self.inputs, *([self.behaviour] if self.behaviour else [])])


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a result depends on.

    Attributes:
        settings: of those that decide the result, by dotted name.
        inputs: hashes of what went in, by name: images, weights.
        code: what ran, by its origin: the hash of our own (:func:`ddp_repro.store.source.code_hash`) under
            ``ddp_repro``, versions of packages.
        probe: what the code does, in numbers of a small case (:func:`ddp_repro.tasks.probe.probe`); empty where nothing
            stands for it, so that other code counts as other behaviour.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str | None] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)
    probe: Mapping[str, float | None] = field(default_factory=dict)

    def done(self) -> Work:
        """Return it as it is kept beside a result, with a probe that has been taken."""
        return dataclasses.replace(self, probe=dict(self.probe))

    def same(self, now: Work) -> Current | Changed:
        """Return whether the result of this work is that of the work ``now``.

        Numbers of the probe are looked at where the code differs, and nothing else does.
        """
        settings = tuple(differing_settings(self.settings, now.settings))
        inputs = tuple(f"other {name}" for name in differing(self.inputs, now.inputs))
        if settings or inputs:
            return Changed(settings=settings, inputs=inputs)
        if self.code and self.code == now.code:
            return Current()
        if not self.probe:
            return Changed(behaviour=f"other code ({', '.join(differing(self.code, now.code)) or 'not known'})")
        moved = first_moved(self.probe, now.probe)
        return Changed(behaviour=f"the code behaves otherwise: {moved}") if moved else Current(by_probe=True)


class LazyProbe(Mapping[str, float | None]):
    """A probe that is taken when it is looked at, once for equal code.

    Args:
        about: what it depends on, in values that JSON has.
        take: takes it.
    """

    def __init__(self, about: Any, take: Callable[[], Probe]) -> None:
        self.about, self.take = about, take

    @cached_property
    def numbers(self) -> Probe:
        """The numbers, from this process's memory or the user's cache where equal code left them."""
        return remembered(hashlib.sha256(json.dumps(self.about, sort_keys=True).encode()).hexdigest(), self.take)

    def __getitem__(self, name: str) -> float | None:
        return self.numbers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the names whose values differ, those that only one of the two has among them."""
    return [name for name in {**before, **now} if (name in before, before.get(name)) != (name in now, now.get(name))]


def first_moved(before: Mapping[str, float | None], now: Mapping[str, float | None]) -> str | None:
    """Return in words the first number of a probe that is another one now; None where none is.

    They are compared with a tolerance that the same code meets on other processors.
    """
    for name in {**before, **now}:
        a, b = before.get(name), now.get(name)
        if name not in before or name not in now:
            return f"{name} is {'gone' if name in before else 'new'}"
        if (a is None) != (b is None) or (a is not None and b is not None and not _close(name, a, b)):
            return f"{name} was {a}, is {b}"
    return None


def remembered(key: str, take: Callable[[], Probe]) -> Probe:
    """Return the probe of this key, taken once and kept in the user's cache (which nothing needs)."""
    if key not in _remembered:
        path = cache_folder() / "probes" / f"{key}.json"
        try:
            numbers = json.loads(path.read_bytes())
        except (OSError, ValueError):  # not taken yet, or a damaged file
            numbers = take()
            with contextlib.suppress(OSError):  # a home that cannot be written
                write_atomically(path, json.dumps(numbers, allow_nan=False).encode())
        _remembered[key] = numbers
    return _remembered[key]


def cache_folder() -> Path:
    """Return the folder of what this project keeps for the user across clones."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ddp_repro"


def _close(name: str, a: float, b: float) -> bool:
    relative, absolute = next(limits for start, limits in TOLERANCES.items() if name.startswith(start))
    return math.isclose(a, b, rel_tol=relative, abs_tol=absolute)
