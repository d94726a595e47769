"""Depth as a task of the house."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ddp_repro.data.roots import checked_root
from ddp_repro.protocols.task import Classes, Writer
from ddp_repro.settings.recipe import DataConfig, EvalConfig
from ddp_repro.tasks.depth import constant as constants
from ddp_repro.tasks.depth import dataset as datasets
from ddp_repro.tasks.depth import made_up, predict, score, survey
from ddp_repro.tasks.depth.metrics import DepthErrors
from ddp_repro.tasks.depth.protocols import protocol_named
from ddp_repro.tasks.picture_task import PictureTask


class Depth(PictureTask):
    """Metres for every pixel."""

    name = "depth"
    asked_as = "depth"
    truth = "depth"
    datasets = datasets.NAMES
    score_type = score.DepthScore
    measures = score.MEASURES
    flips_by_default = True
    constant = constants.MEAN_DEPTH
    estimator = predict.DepthEstimator
    tally_type = DepthErrors
    look_again = staticmethod(predict.look_again)
    bounded_by = "depth_uncertainty"
    predict = staticmethod(predict.estimate_depth)
    made_up_batch = staticmethod(made_up.made_up_batch)

    def open(
        self, data: DataConfig, split: str, *, train: bool, mean: Sequence[float], std: Sequence[float],
        limit: int | None,
    ) -> datasets.DepthDataset:  # fmt: skip
        root = checked_root(data, limit, public=data.dataset in datasets.DEPTH_SPECS)
        spec = datasets.depth_spec(data.dataset, root)
        return datasets.open_split(spec, root, data, split, limit, train=train, mean=mean, std=std)

    def check_evaluation(self, evaluation: EvalConfig) -> None:
        super().check_evaluation(evaluation)
        protocol_named(evaluation.protocol)

    def tally(self, model: Any, evaluation: EvalConfig) -> Any:
        return self.tally_type(protocol_named(evaluation.protocol))

    def score(self, steps: int, seed: int | None, tally: Any) -> Any:
        return score.score(steps, seed, tally)

    def survey(self, dataset: Any, recipe: Any) -> Any:
        return survey.survey(dataset, recipe)

    def writer(self, model: Any, classes: Classes) -> Writer:
        from ddp_repro.tasks.depth.pictures import save_depth

        limit = model.max_depth
        return lambda prediction, pixels, folder, name: save_depth(prediction, limit, folder, name)


TASK = Depth()
