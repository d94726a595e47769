"""What tasks whose samples are a picture and a map of it have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ddp_repro.evaluation.measure import json_ready
from ddp_repro.evaluation.views import Predictor, View, ViewedImage
from ddp_repro.protocols.method import Method
from ddp_repro.protocols.task import Classes, Tally, Task
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.kinds import DataSettings
from ddp_repro.settings.recipe import EvalConfig, Recipe, refuse_boundaries


class PictureTask(Task):
    """Base of tasks whose samples are a picture and a map of it, without classes unless they say so.

    Attributes:
        estimator: (model, pictures, views, how views are averaged) -> what predicts them.
        tally_type: makes an empty tally whose measures are the fields of ``score_type``.
    """

    estimator: Callable[..., Predictor]
    tally_type: Callable[..., Tally]
    saves_predictions = False
    flips_by_default = False
    not_from_a_picture = ""
    blends = True
    constant = None
    evaluate = None
    look_again = None
    bounded_by = None

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

    def tally(self, model: Any, evaluation: EvalConfig) -> Any:
        """Return an empty tally."""
        return self.tally_type()

    def score(self, steps: int, seed: int | None, tally: Any) -> Any:
        """Return the scores of a run."""
        return self.score_type(steps=steps, seed=seed, **json_ready(tally.to_dict()))

    def predictor(
        self, model: Method, images: Sequence[ViewedImage], views: Sequence[View], view_average: str
    ) -> Predictor:
        """Return what predicts a batch of pictures."""
        return self.estimator(model, images, views, view_average)
