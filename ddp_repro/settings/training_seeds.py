"""The same training from another seed: a recipe, and a run, of its own."""

from __future__ import annotations

import dataclasses

from ddp_repro.settings.recipe import Recipe
from ddp_repro.settings.sources import is_recipe_name

SEED_MARK = "-seed"


def seeded(recipe: Recipe, seed: int) -> Recipe:
    """Return the same training from another seed, as a run of its own: ``<name>-seed1``.

    A second stage starts from the plain weights of the same seed, and weights that are only evaluated are those of that
    seed too; a file stays that file, and the sources of parts (``train.weights``: a segmentor, an encoder) stay as they
    are.  The recipe's own seed gives the recipe itself.
    """
    if seed == recipe.train.seed:
        return recipe
    start = recipe.train.initialize_from
    name, stage, lender = (each and f"{each}{SEED_MARK}{seed}" for each in (recipe.name, start, recipe.weights_of))
    train = dataclasses.replace(recipe.train, seed=seed, initialize_from=stage if is_recipe_name(start) else start)
    return dataclasses.replace(recipe, name=name, weights_of=lender, train=train)


def split_seed(name: str) -> tuple[str, int | None]:
    """Return a run's name without its training seed, and the seed (None: the recipe's own)."""
    base, mark, seed = name.rpartition(SEED_MARK)
    return (base, int(seed)) if mark and seed.isdecimal() else (name, None)
