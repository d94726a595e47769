"""Papers and recipes by name: the one place that knows which papers there are, and imports them when asked."""

from __future__ import annotations

import difflib
import importlib
from functools import cache

from ddp_repro.protocols.paper import Paper
from ddp_repro.protocols.registry import require_parts
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.presets import PRESETS, check_preset
from ddp_repro.settings.recipe import Recipe
from ddp_repro.settings.training_seeds import split_seed

BUILT_IN = ("ddp", "ddps", "genpercept")  # folders of ddp_repro.papers
_REGISTERED: dict[str, Paper] = {}


def register(paper: Paper) -> None:
    """Add a paper of one's own; its recipes, tables and claims are then found by name like the built-in ones.

    Raises:
        ConfigError: it lacks a part, which is named.
    """
    require_parts(paper, Paper)
    _REGISTERED[paper.name] = paper


def paper_names() -> tuple[str, ...]:
    """Return the names of all papers."""
    return (*BUILT_IN, *_REGISTERED)


def paper_named(name: str) -> Paper:
    """Return a paper by name.

    Raises:
        ConfigError: there is no such paper; names those that there are.
    """
    if name in _REGISTERED:
        return _REGISTERED[name]
    if name not in BUILT_IN:
        raise ConfigError(f"no paper {name!r}; papers are {', '.join(paper_names())}")
    return _built_in(name)


def full_name(name: str) -> str:
    """Return the name of a table, figure or notebook with its paper's; version 0.1 knew one paper and left it out."""
    return name if name.partition("_")[0] in paper_names() else f"{BUILT_IN[0]}_{name}"


def paper_of(recipe: Recipe) -> Paper:
    """Return the paper that a recipe's model belongs to."""
    return paper_named(recipe.model.paper)


def recipe_names(preset: str) -> list[str]:
    """Return the names of the recipes of one preset, of all papers.

    Raises:
        ConfigError: there is no such preset.
    """
    return list(recipes_of(preset))


def recipes_of(preset: str) -> dict[str, Recipe]:
    """Return the recipes of one preset by name, of all papers.

    Raises:
        ConfigError: there is no such preset.
    """
    check_preset(preset)
    return {name: recipe for paper in paper_names() for name, recipe in paper_named(paper).recipes(preset).items()}


def recipe(name: str, preset: str | None = None) -> Recipe:
    """Return the recipe called ``name``; without a preset, every preset is searched (names are unique).

    ``<name>-seed<n>`` is the recipe trained from seed n.

    Raises:
        ConfigError: there is no such recipe; close names are suggested.
    """
    places, (base, seed) = [preset] if preset else PRESETS, split_seed(name)
    for place in places:
        check_preset(place)
    # Paper by paper, and no further than need be: a paper's recipes may begin from those of one before it.
    named = (paper_named(paper).recipes(place).get(base) for paper in paper_names() for place in places)
    chosen = next(filter(None, named), None)
    if chosen is None:
        known = [each for place in places for each in recipe_names(place)]
        close = difflib.get_close_matches(base, known, n=3, cutoff=0.4) or known
        raise ConfigError(
            f"no recipe {base!r}{f' in preset {preset}' if preset else ''}; did you mean {', '.join(close)}?"
        )
    return chosen if seed is None else paper_of(chosen).seeded(chosen, seed)


@cache
def _built_in(name: str) -> Paper:
    return importlib.import_module(f"ddp_repro.papers.{name}.paper").PAPER
