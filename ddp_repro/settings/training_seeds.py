"""The same training from another seed: a recipe, and a run, of its own."""

from __future__ import annotations

import dataclasses

from ddp_repro.settings.recipe import Recipe
from ddp_repro.settings.sources import is_recipe_name, weight_sources

SEED_MARK = "-seed"


def seeded(recipe: Recipe, seed: int) -> Recipe:
    """Return the same training from another seed, as a run of its own: ``<name>-seed1``.

    A later stage starts from the weights of the earlier ones of the same seed, in whole or in parts, and weights that
    are only evaluated are those of that seed too; a file stays that file.  The recipe's own seed gives the recipe
    itself.
    """
    if seed == recipe.train.seed:
        return recipe

    def of_seed(name: str) -> str:
        return f"{name}{SEED_MARK}{seed}"

    start, lender = recipe.train.initialize_from, recipe.weights_of
    sources = weight_sources(recipe.train.weights)
    parts = tuple(str(source.at(of_seed(source.place)) if source.recipe else source) for source in sources)
    train = dataclasses.replace(
        recipe.train, seed=seed, initialize_from=of_seed(start) if start and is_recipe_name(start) else start,
        weights=parts or None,
    )  # fmt: skip
    return dataclasses.replace(recipe, name=of_seed(recipe.name), weights_of=lender and of_seed(lender), train=train)


def split_seed(name: str) -> tuple[str, int | None]:
    """Return a run's name without its training seed, and the seed (None: the recipe's own)."""
    base, mark, seed = name.rpartition(SEED_MARK)
    return (base, int(seed)) if mark and seed.isdecimal() else (name, None)
