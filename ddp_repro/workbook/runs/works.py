"""What trained weights, their scores and what is measured on them depend on: :class:`ddp_repro.store.work.Work`."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from torch import nn

from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.overrides import deciding, to_dict, training_depends_on
from ddp_repro.settings.recipe import Recipe
from ddp_repro.store.source import code_hash, modules_of, normal_form, text_hash
from ddp_repro.store.work import LazyProbe, Probe, Work
from ddp_repro.tasks.probe import probe_scores, probe_weights
from ddp_repro.training.curves import learning_rate
from ddp_repro.training.optimizer import build_optimizer
from ddp_repro.workbook.runs.provenance import package_version, public_recipe

OURS = "ddp_repro"
PACKAGES = ("torch", "torchvision", "timm", "numpy")  # whose versions are part of the code
EVALUATION = ("ddp_repro.evaluation.evaluate", "ddp_repro.tasks.build", "ddp_repro.interop.checkpoints")
TRAINING = (*EVALUATION, "ddp_repro.training.trainer")
CURVE = (0.0, 0.25, 0.5, 0.75)  # fractions of a training at which its learning rate is looked at
SHOWN = ("model.", "data.")  # settings of a run that count for what is measured on its weights


def weights_work(recipe: Recipe, images: str, sources: Mapping[str, str]) -> Work:
    """Return what a training of ``recipe`` depends on.

    Args:
        images: fingerprint of the training images.
        sources: hash of the weights that each part starts from.
    """
    stored = public_recipe(recipe)
    settings = deciding(stored, *training_depends_on(stored))
    inputs: dict[str, str | None] = {"images": images}
    inputs |= {f"weights that {part or 'it'} starts from": value for part, value in sources.items()}
    code = code_of(recipe, TRAINING)
    take = partial(_probe_training, recipe)
    return Work(settings=settings, inputs=inputs, code=code, probe=_probe("weights", recipe, code, take))


def scores_work(recipe: Recipe, images: str, weights: str) -> Work:
    """Return what the scores of weights (a hash) on images (a fingerprint) depend on, the weights' training apart."""
    settings = deciding(public_recipe(recipe), "weights", "scores")
    return _measured(recipe, settings, {"images": images, "weights": weights})


def analysis_work(recipe: Recipe, images: str, weights: str, measure: Callable[..., Any]) -> Work:
    """Return what an analysis depends on, what was asked of it apart.

    Args:
        measure: the function that makes it; of its own code and of what it calls, there is no probe.
    """
    settings = {n: v for n, v in deciding(public_recipe(recipe), "weights", "scores").items() if n.startswith(SHOWN)}
    own = text_hash(_source(measure) + code_hash(modules_of(measure), without=_modules(recipe, EVALUATION)))
    return _measured(recipe, settings, {"images": images, "weights": weights, "code of the analysis": own})


def constant_work(recipe: Recipe, module: str, training: str, images: str) -> Work:
    """Return what the scores of a constant prediction depend on; it has no probe, being made again in a moment."""
    names = ("data.", "evaluation.protocol", "evaluation.limit", "model.space")
    settings = {n: v for n, v in deciding(public_recipe(recipe), "weights", "scores").items() if n.startswith(names)}
    return Work(
        settings=settings, inputs={"images": images, "training images": training}, code={OURS: code_hash([module])}
    )


def code_of(recipe: Recipe, users: Iterable[str]) -> dict[str, str]:
    """Return the code of a recipe's model, task and data, and of modules that use them; empty if it has no files."""
    try:
        ours = code_hash(_modules(recipe, users))
    except ModuleNotFoundError:  # typed into a notebook: what it does is all that can be compared
        return {}
    return {OURS: ours} | {name: package_version(name) for name in PACKAGES}


def _modules(recipe: Recipe, users: Iterable[str]) -> list[str]:
    task = task_named(recipe.model.task)
    return [*recipe.model.modules(), *(type(part).__module__ for part in (recipe.model, recipe.data, task)), *users]


def _measured(recipe: Recipe, settings: dict[str, Any], inputs: dict[str, str | None]) -> Work:
    code = code_of(recipe, EVALUATION)
    take = partial(probe_scores, recipe.model, recipe.data, recipe.evaluation)
    return Work(settings=settings, inputs=inputs, code=code, probe=_probe("scores", recipe, code, take))


def _probe(of: str, recipe: Recipe, code: dict[str, str], take: Callable[[], Probe]) -> Mapping[str, float | None]:
    """Return a probe of a recipe's small model; none for a task that has nothing to try it on."""
    if task_named(recipe.model.task).made_up_batch is None:
        return {}
    settings = {n: v for n, v in deciding(public_recipe(recipe), "weights", "scores").items() if n[:6] != "model."}
    return LazyProbe([of, code, to_dict(recipe.model.small()), settings], take)


def _probe_training(recipe: Recipe) -> Probe:
    config = recipe.train
    rates = {f"learning rate at {part}": learning_rate(config, int(part * config.iterations)) for part in CURVE}

    def optimizer(network: nn.Module) -> Any:
        return build_optimizer(network, config)

    return probe_weights(recipe.model, recipe.data, config, optimizer) | rates


def _source(function: Callable[..., Any]) -> str:
    try:
        return normal_form(textwrap.dedent(inspect.getsource(function)))
    except OSError:  # typed where no file keeps it
        return ""
