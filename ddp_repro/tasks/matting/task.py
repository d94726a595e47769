"""Image matting as a task of the house."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ddp_repro.data.roots import checked_root
from ddp_repro.data.spec import checked
from ddp_repro.protocols.task import Classes, Writer
from ddp_repro.settings.recipe import DataConfig
from ddp_repro.tasks.matting import dataset as datasets
from ddp_repro.tasks.matting import made_up, predict, score
from ddp_repro.tasks.matting.datasets import p3m
from ddp_repro.tasks.matting.metrics import MattingErrors
from ddp_repro.tasks.picture_task import PictureTask


class Tally(MattingErrors):
    """The measures of maps in [0, 1] that are tensors."""

    def image_statistics(self, prediction: Tensor, truth: Tensor) -> dict[str, NDArray[Any]]:
        """Return what one image adds, without counting it, of two maps (H, W) in [0, 1].

        Raises:
            ValueError: shapes differ, or values that are not finite.
        """
        if not prediction.isfinite().all():
            raise ValueError("the predicted map is not finite")
        image = MattingErrors(self.gradient_divisor).update(prediction.cpu().numpy(), truth.cpu().numpy())
        return {"measures": np.array(image.values)}


class Matting(PictureTask):
    """The alpha of the foreground, in [0, 1], for every pixel."""

    name = "matting"
    asked_as = "matte"
    truth = "alpha"
    datasets = datasets.NAMES
    score_type = score.MatteScore
    measures = score.MEASURES
    made_up_batch = staticmethod(made_up.made_up_batch)
    estimator = predict.MatteEstimator
    tally_type = Tally
    predict = staticmethod(predict.estimate)

    def open(
        self, data: DataConfig, split: str, *, train: bool, mean: Sequence[float], std: Sequence[float],
        limit: int | None,
    ) -> datasets.MatteDataset:  # fmt: skip
        root = checked_root(data, limit, public=True)
        samples = checked(p3m.list_samples(data.dataset, root, split), root, split, p3m.layout(data.dataset))
        return datasets.MatteDataset(data.dataset, samples[:limit], data, train=train, mean=mean, std=std)

    def writer(self, model: Any, classes: Classes) -> Writer:
        from ddp_repro.tasks.matting.pictures import save_matte

        return save_matte


TASK = Matting()
