"""Surface normals as a task of the house."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ddp_repro.data.roots import checked_root
from ddp_repro.data.spec import checked
from ddp_repro.protocols.task import Classes, Writer
from ddp_repro.settings.recipe import DataConfig
from ddp_repro.tasks.normals import dataset as datasets
from ddp_repro.tasks.normals import made_up, predict, score
from ddp_repro.tasks.normals.metrics import PooledHistogram
from ddp_repro.tasks.picture_task import PictureTask


class Normals(PictureTask):
    """A unit vector out of the surface for every pixel, on axes right, down, ahead."""

    name = "normals"
    asked_as = "normals"
    truth = "normals"
    datasets = datasets.NAMES
    score_type = score.NormalsScore
    measures = score.MEASURES
    estimator = predict.NormalsEstimator
    tally_type = PooledHistogram
    predict = staticmethod(predict.estimate)
    made_up_batch = staticmethod(made_up.made_up_batch)

    def open(
        self, data: DataConfig, split: str, *, train: bool, mean: Sequence[float], std: Sequence[float],
        limit: int | None,
    ) -> datasets.NormalsDataset:  # fmt: skip
        root = checked_root(data, limit, public=True)
        spec = datasets.dataset_spec(data, root)
        samples = checked(spec.list_samples(root, split), root, split, spec.layout)
        return datasets.NormalsDataset(spec.name, samples[:limit], data, train=train, mean=mean, std=std)

    def score(self, steps: int, seed: int | None, tally: Any) -> Any:
        return score.score(steps, seed, tally)

    def writer(self, model: Any, classes: Classes) -> Writer:
        from ddp_repro.tasks.normals.pictures import save_normals

        return save_normals


TASK = Normals()
