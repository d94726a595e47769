"""What tasks whose samples are a picture and a map of it have in common."""

from __future__ import annotations

from typing import Any

from ddp_repro.protocols.task import Classes, Task
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.kinds import DataSettings
from ddp_repro.settings.recipe import EvalConfig, Recipe, refuse_boundaries


class PictureTask(Task):
    """Base of tasks whose samples are a picture and a map of it, without classes unless they say so."""

    saves_predictions = False
    flips_by_default = False
    not_from_a_picture = ""
    constant = None
    evaluate = None

    def complete(self, recipe: Recipe) -> Recipe:
        """Return the recipe: nothing of it is left to the data set."""
        return recipe

    def survey(self, dataset: Any, recipe: Recipe) -> Any:
        """Survey nothing: there are no classes, and no unit that could be wrong."""
        return

    def check(self, model: Any, dataset: Any) -> None:
        """Refuse a dataset with another truth than the task's.

        Raises:
            ConfigError: says what each of them has.
        """
        if dataset.truth != self.truth:
            raise ConfigError(f"model.task is {model.task}, but dataset {dataset.name} has {dataset.truth} maps")

    def check_evaluation(self, evaluation: EvalConfig) -> None:
        """Refuse boundary scores, which need classes.

        Raises:
            ConfigError: ``evaluation.boundary`` is set.
        """
        refuse_boundaries(evaluation, self.name)

    def classes(self, data: DataSettings) -> Classes:
        """Return no classes."""
        return Classes()
