"""Map segmentation in bird's-eye view as a task of the house."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ddp_repro.protocols.method import Method
from ddp_repro.protocols.task import Classes, Task, Writer
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import EvalConfig, Recipe, refuse_boundaries
from ddp_repro.tasks.bev import constant as constants
from ddp_repro.tasks.bev import evaluate, made_up, score
from ddp_repro.tasks.bev.metrics import ThresholdCounts
from ddp_repro.tasks.bev.settings import MAP_CLASSES, BEVDataConfig

# Settings of a BEV model that its samples must have too.
SHARED = ("image_size", "map_range", "map_cell")


class BEV(Task):
    """Classes that may overlap, for every cell of the ground around a car."""

    name = "bev"
    asked_as = "bev"
    truth = "masks"
    datasets = ("nuscenes",)
    score_type = score.BEVScore
    measures = score.MEASURES
    saves_predictions = False
    flips_by_default = False
    not_from_a_picture = "a BEV model sees six cameras at once, not single pictures"
    constant = constants.CONSTANT_MAP
    evaluate = staticmethod(evaluate.evaluate_bev)
    predict = None
    look_again = None
    bounded_by = None
    blends = False
    made_up_batch = staticmethod(made_up.made_up_batch)

    def open(
        self, data: BEVDataConfig, split: str, *, train: bool, mean: Sequence[float], std: Sequence[float],
        limit: int | None,
    ) -> Any:  # fmt: skip
        from ddp_repro.tasks.bev.dataset import NuScenesBEV  # needs shapely, which comes with the extra `bev`

        return NuScenesBEV(data, split, train=train, mean=mean, std=std, limit=limit)

    def complete(self, recipe: Recipe) -> Recipe:
        return recipe

    def check(self, model: Any, dataset: Any) -> None:
        if dataset.truth != self.truth:
            raise ConfigError(f"model.task is {model.task}, but dataset {dataset.name} has {dataset.truth} maps")
        if model.classes != dataset.class_names:
            raise ConfigError(f"model.classes is {model.classes}, but {dataset.name} has {dataset.class_names}")
        for name in SHARED:
            ours, theirs = getattr(model, name), getattr(dataset.data, name)
            if ours != theirs:
                raise ConfigError(f"model.{name} is {ours}, but data.{name} is {theirs}; expected equal values")
        if model.sensors == "fusion" and not dataset.data.lidar:
            raise ConfigError("model.sensors is fusion, but data.lidar is false; a fusion model needs points")

    def survey(self, dataset: Any, recipe: Recipe) -> None:
        """Return nothing: masks are drawn from nuScenes' own map."""

    def check_evaluation(self, evaluation: EvalConfig) -> None:
        refuse_boundaries(evaluation, self.name)  # evaluate_bev refuses several views

    def tally(self, model: Any, evaluation: EvalConfig) -> ThresholdCounts:
        return ThresholdCounts(model.num_classes)

    def score(self, steps: int, seed: int | None, tally: Any) -> Any:
        return score.bev_score(steps, seed, tally)

    def predictor(self, model: Method, images: Sequence[Any], views: Sequence[Any], view_average: str) -> Any:
        raise ConfigError(self.not_from_a_picture)

    def classes(self, data: BEVDataConfig) -> Classes:
        return Classes(MAP_CLASSES)

    def writer(self, model: Any, classes: Classes) -> Writer:
        raise ConfigError(self.not_from_a_picture)


TASK = BEV()
