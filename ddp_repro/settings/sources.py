"""Where a model, or a part of it (``part=recipe:NAME`` or ``part=path``), gets its initial weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from ddp_repro.settings.errors import ConfigError

_RECIPE = "recipe:"
_WEIGHT_FILES = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True)
class WeightSource:
    """One entry of ``train.weights``.

    Attributes:
        part: name of a module of the model, e.g. ``segmentor`` or ``decoder.classifier``.
        place: path of a weights file, or ``recipe:NAME``: that recipe's finished weights.
    """

    part: str
    place: str

    @property
    def recipe(self) -> str | None:
        """Name of the recipe whose finished weights these are; None: a file."""
        return self.place.removeprefix(_RECIPE) if self.place.startswith(_RECIPE) else None

    def at(self, path: str) -> WeightSource:
        """Return the same source in a file."""
        return dataclasses.replace(self, place=path)

    def __str__(self) -> str:
        return f"{self.part}={self.place}"


def is_recipe_name(start: str | None) -> bool:
    """Return whether ``train.initialize_from`` names a recipe; otherwise it is a path, or None."""
    return start is not None and "/" not in start and Path(start).suffix not in _WEIGHT_FILES


def weight_sources(entries: tuple[str, ...] | None) -> tuple[WeightSource, ...]:
    """Read the entries of ``train.weights``.

    Raises:
        ConfigError: an entry is not of the form, or two of them are for the same module.
    """
    sources = tuple(map(_source, entries or ()))
    for number, source in enumerate(sources):
        for before in sources[:number]:
            if f"{source.part}.".startswith(f"{before.part}.") or f"{before.part}.".startswith(f"{source.part}."):
                raise ConfigError(f"train.weights gives {source.part} two sources: {before} and {source}")
    return sources


def _source(entry: str) -> WeightSource:
    part, equals, place = entry.partition("=")
    if not (part and equals and place.removeprefix(_RECIPE)):
        raise ConfigError(f"train.weights takes part=recipe:NAME or part=path; got {entry!r}")
    return WeightSource(part, place)


def first_stages(start: str | None, entries: tuple[str, ...] | None) -> list[str]:
    """Return the recipes whose finished weights a training starts from.

    Args:
        start: ``train.initialize_from``.
        entries: of ``train.weights``.
    """
    names = [start if is_recipe_name(start) else None, *(source.recipe for source in weight_sources(entries))]
    return list(dict.fromkeys(name for name in names if name))
