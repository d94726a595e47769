"""Dichotomous image segmentation as a task of the house."""

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
from ddp_repro.tasks.dichotomous import dataset as datasets
from ddp_repro.tasks.dichotomous import made_up, predict, score
from ddp_repro.tasks.dichotomous.datasets import dis5k
from ddp_repro.tasks.dichotomous.metrics import DichotomousErrors
from ddp_repro.tasks.dichotomous.predict import as_8_bit
from ddp_repro.tasks.picture_task import PictureTask


class Tally(DichotomousErrors):
    """The measures of maps in [0, 1] that are tensors."""

    def image_statistics(self, prediction: Tensor, truth: Tensor) -> dict[str, NDArray[Any]]:
        """Return what one image adds, without counting it, of two maps (H, W) in [0, 1].

        Raises:
            ValueError: shapes differ, or values that are not finite or outside [0, 1].
        """
        for kind, values in (("predicted map", prediction), ("mask", truth)):
            if not values.isfinite().all():
                raise ValueError(f"the {kind} is not finite")
            if values.min() < 0 or values.max() > 1:
                raise ValueError(f"the {kind} spans {values.min():.4g} to {values.max():.4g}; opacity is in [0, 1]")
        image = DichotomousErrors().update(as_8_bit(prediction), as_8_bit(truth))
        assert image.hce is not None
        measures = np.array([image.weighted_f, image.mae, image.s, image.hce])
        return {"f_curve": image.f_curve, "e_curve": image.e_curve, "measures": measures}


class Dichotomous(PictureTask):
    """The foreground: a confidence in [0, 1] for every pixel."""

    name = "dichotomous"
    asked_as = "foreground"
    truth = "mask"
    datasets = datasets.NAMES
    score_type = score.MaskScore
    measures = score.MEASURES
    made_up_batch = staticmethod(made_up.made_up_batch)
    estimator = predict.MaskEstimator
    tally_type = Tally
    predict = staticmethod(predict.segment)

    def open(
        self, data: DataConfig, split: str, *, train: bool, mean: Sequence[float], std: Sequence[float],
        limit: int | None,
    ) -> datasets.MaskDataset:  # fmt: skip
        root = checked_root(data, limit, public=True)
        samples = checked(dis5k.list_samples(root, split), root, split, dis5k.LAYOUT)
        return datasets.MaskDataset(data.dataset, samples[:limit], data, train=train, mean=mean, std=std)

    def writer(self, model: Any, classes: Classes) -> Writer:
        from ddp_repro.tasks.dichotomous.pictures import save_mask

        return save_mask


TASK = Dichotomous()
