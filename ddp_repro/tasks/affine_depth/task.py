"""Affine-invariant depth as a task of the house."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ddp_repro.data.survey import Survey
from ddp_repro.protocols.task import Classes, TaskDataset, Writer
from ddp_repro.settings.recipe import DataConfig, EvalConfig, Recipe
from ddp_repro.tasks.affine_depth import predict, score
from ddp_repro.tasks.affine_depth.protocols import BenchmarkErrors, protocol_named
from ddp_repro.tasks.depth import made_up
from ddp_repro.tasks.depth.dataset import DepthDataset
from ddp_repro.tasks.depth.survey import survey_depth
from ddp_repro.tasks.depth.task import TASK as METRIC_DEPTH
from ddp_repro.tasks.picture_task import PictureTask


class AffineDepth(PictureTask):
    """Depth or disparity up to a scale and a shift.  Its datasets are those of metric depth."""

    name = "affine_depth"
    asked_as = "depth"
    blends = False  # every window would have a scale and a shift of its own
    truth = "depth"
    datasets = ()
    score_type = score.AffineDepthScore
    measures = score.MEASURES
    made_up_batch = staticmethod(made_up.made_up_batch)
    estimator = predict.AffineDepthEstimator
    tally_type = BenchmarkErrors
    predict = staticmethod(predict.estimate)

    def open(
        self, data: DataConfig, split: str, *, train: bool, mean: Sequence[float], std: Sequence[float],
        limit: int | None,
    ) -> TaskDataset:  # fmt: skip
        return METRIC_DEPTH.open(data, split, train=train, mean=mean, std=std, limit=limit)

    def survey(self, dataset: DepthDataset, recipe: Recipe) -> Survey:
        protocol = recipe.evaluation.protocol
        cap = None if protocol is None else protocol_named(protocol).max_depth
        known = cap if cap is not None and math.isfinite(cap) else None
        return survey_depth(dataset.spec, dataset.samples, dataset.data.train_split, known)

    def check_evaluation(self, evaluation: EvalConfig) -> None:
        super().check_evaluation(evaluation)
        protocol_named(evaluation.protocol)

    def tally(self, model: Any, evaluation: EvalConfig) -> Any:
        return self.tally_type(protocol_named(evaluation.protocol), model.space)

    def score(self, steps: int, seed: int | None, tally: Any) -> Any:
        return score.score(steps, seed, tally)

    def writer(self, model: Any, classes: Classes) -> Writer:
        from ddp_repro.tasks.affine_depth.pictures import save_maps

        return save_maps


TASK = AffineDepth()
