"""Weights that can be had: finished trainings under the results, and what papers' authors have published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.errors import CheckpointError, ConfigError
from ddp_repro.settings.overrides import from_dict
from ddp_repro.settings.presets import PRESETS
from ddp_repro.settings.recipe import Recipe
from ddp_repro.store.paths import resolve
from ddp_repro.workbook.catalogue import paper_of, recipes_of

if TYPE_CHECKING:
    from ddp_repro.interop.checkpoints import LoadReport
    from ddp_repro.protocols.method import Method
    from ddp_repro.protocols.task import Classes


@dataclass(frozen=True, repr=False)
class ModelWeights:
    """Weights of a model, and where they are.

    Attributes:
        name: of the recipe.
        task: the word that users have for it: ``segmentation``, ``depth``, ``normals``, …
        preset, data: of the recipe: what its numbers may claim, and the data set that it is trained on.
        source: ``trained`` here (or a file that came with the repository), or ``official``: the authors'.
        place: the file, or where it is downloaded from.
        at_hand: whether it can be loaded without a download.
    """

    name: str
    task: str
    preset: str
    data: str
    source: Literal["trained", "official"]
    place: str
    at_hand: bool
    recipe: Recipe = field(compare=False)

    def __repr__(self) -> str:
        there = "" if self.at_hand else " (not downloaded)"
        return f"{self.name}: {self.task}, {self.data}; {self.source}: {self.place}{there}"

    def checkpoint(self) -> Path:
        """Return the file, downloaded once where need be.

        Raises:
            CheckpointError: it cannot be had.
        """
        return Path(self.place) if self.source == "trained" else paper_of(self.recipe).official_checkpoint(self.name)


def list_models(preset: str | None = None, output: str | Path = "results") -> list[ModelWeights]:
    """Return the weights that can be had, of one preset or of all: those at hand first, real images before synthetic.

    Args:
        output: root of the results that are searched.

    Raises:
        ConfigError: there is no such preset.
    """
    places = [preset] if preset else [*reversed(PRESETS)]
    trained = [weights for place in places for weights in _trained(place, output)]
    official = [weights for place in places for weights in _official(place)]
    return sorted([*trained, *official], key=lambda weights: not weights.at_hand)


class LoadedModel(NamedTuple):
    """A model with its weights, in evaluation mode, the classes that it tells apart, and what was used of the file."""

    model: Method
    classes: Classes
    report: LoadReport


def load_model(recipe: Recipe, weights: str | Path, device: str = "cpu") -> LoadedModel:
    """Build a recipe's model and fill it with weights.

    Args:
        weights: a file, or ``official``.

    Raises:
        CheckpointError: weights that do not fit, or cannot be had.
    """
    from ddp_repro.interop import load_checkpoint
    from ddp_repro.workbook.runs.bounds import error_bounds

    model = recipe.model.build()
    weights = paper_of(recipe).official_checkpoint(recipe.name) if weights == "official" else weights
    report = load_checkpoint(model, weights)
    model.error_bounds = error_bounds(recipe, Path(weights))
    classes = report.classes or task_named(recipe.model.task).classes(recipe.data)
    return LoadedModel(model.to(device).eval(), classes, report)


def weights_in(path: Path) -> ModelWeights:
    """Return what a file of a finished training says of itself.

    Raises:
        CheckpointError: it cannot be read, or does not say which recipe it belongs to.
    """
    from ddp_repro.interop.weight_files import read_metadata

    stored = read_metadata(path).get("recipe")
    if stored is None:
        raise CheckpointError(f"{path} does not say which recipe it belongs to; want weights that train has written")
    try:
        recipe = from_dict(Recipe, json.loads(stored))
    except (ConfigError, ValueError) as error:
        raise CheckpointError(f"{path}: the recipe inside cannot be read ({error})") from error
    return _weights(recipe, "trained", str(path), at_hand=True)


def _trained(preset: str, output: str | Path) -> Iterator[ModelWeights]:
    """Yield what is readable; what is damaged is reported where it is asked for by name."""
    folder = resolve(output) / preset
    trained = {path.parent.name: path for path in (folder / "runs").glob("*/model.safetensors")}
    kept = {path.stem: path for path in (folder / "weights").glob("*.safetensors")}
    for _, path in sorted((kept | trained).items()):
        try:
            yield weights_in(path)
        except CheckpointError:
            continue


def _official(preset: str) -> Iterator[ModelWeights]:
    for name, recipe in recipes_of(preset).items():
        paper = paper_of(recipe)
        if name in paper.released and recipe.weights_of is None:
            place, at_hand = paper.official_place(name)
            yield _weights(recipe, "official", place, at_hand)


def _weights(recipe: Recipe, source: Literal["trained", "official"], place: str, at_hand: bool) -> ModelWeights:
    task = task_named(recipe.model.task).asked_as
    return ModelWeights(recipe.name, task, recipe.preset, recipe.data.dataset, source, place, at_hand, recipe)
