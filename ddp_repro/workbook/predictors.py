"""Which model predicts a picture when a user names the question alone: one that was trained here, or a released one."""

from __future__ import annotations

from ddp_repro.protocols.registry import task_named, tasks
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.presets import PRESETS
from ddp_repro.settings.recipe import Recipe
from ddp_repro.workbook.catalogue import paper_named, recipes_of
from ddp_repro.workbook.runs.weights import weights_at_hand

OFFICIAL = "official"


def answers(recipe: Recipe, question: str) -> bool:
    """Return whether a recipe's model is for a task of this name, or one that is asked for by this word."""
    return question in (recipe.model.task, task_named(recipe.model.task).asked_as)


def predictor_for(question: str, method: str | None = None) -> tuple[Recipe, str | None]:
    """Return the recipe that answers a question about a picture, and ``official`` where its weights are the authors'.

    Finished trainings come first, and weights that came with the repository, on real images before synthetic ones; of
    a named method, then its released models.

    Args:
        question: a task, or the word that users have for it: ``segmentation``, ``depth``, ``normals``, ``foreground``,
            ``matte``.
        method: a paper; None: a diffusion model of any.

    Raises:
        ConfigError: no such task or method, or it has no such model; or none has been trained here.
    """
    paper = paper_named(method) if method else None
    candidates = _candidates(question)
    if not candidates:
        raise ConfigError(f"no model answers {question!r} about a picture; asked can be {', '.join(_questions())}")
    suitable = [recipe for recipe in candidates if paper is None or recipe.model.paper == paper.name]
    if paper is None:
        suitable = [recipe for recipe in suitable if recipe.model.diffusion]
    elif not suitable:
        raise ConfigError(f"{method} has no model for {question}; it has some for {', '.join(_questions(paper.name))}")
    for recipe in suitable:
        if weights_at_hand(recipe.name, recipe.preset):
            return recipe, None
    if paper is not None and (released := [recipe for recipe in suitable if recipe.name in paper.released]):
        return released[0], OFFICIAL
    names = ", ".join(recipe.name for recipe in suitable)
    raise ConfigError(f"no model for {question} has been trained here: `ddp-repro train RECIPE` with one of {names}")


def _questions(paper: str | None = None) -> list[str]:
    """Return the words for what models of a paper, or of any, say about a picture."""
    known = [recipe for task in tasks() for recipe in _candidates(task.name)]
    return sorted({task_named(r.model.task).asked_as for r in known if paper in (None, r.model.paper)})


def _candidates(question: str) -> list[Recipe]:
    """Return the recipes with weights of their own that answer a question of a picture, the paper's sizes first."""
    recipes = [recipe for preset in reversed(PRESETS) for recipe in recipes_of(preset).values()]
    return [
        r for r in recipes
        if answers(r, question) and r.weights_of is None and r.model.predicts
        and task_named(r.model.task).predict is not None
    ]  # fmt: skip
