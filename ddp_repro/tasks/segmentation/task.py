"""Semantic segmentation as a task of the house."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ddp_repro.data.roots import checked_root
from ddp_repro.data.spec import IGNORE, checked
from ddp_repro.protocols.task import Classes, Writer
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.overrides import override
from ddp_repro.settings.recipe import DataConfig, EvalConfig, Recipe
from ddp_repro.store.paths import resolve
from ddp_repro.tasks.picture_task import PictureTask
from ddp_repro.tasks.segmentation import dataset as datasets
from ddp_repro.tasks.segmentation import made_up, predict, score, survey
from ddp_repro.tasks.segmentation.boundary_iou import BoundaryIoU
from ddp_repro.tasks.segmentation.metrics import ClassCounts


class Segmentation(PictureTask):
    """A class for every pixel."""

    name = "segmentation"
    asked_as = "segmentation"
    truth = "label"
    datasets = datasets.NAMES
    score_type = score.SegmentationScore
    measures = score.MEASURES
    saves_predictions = True
    estimator = predict.Segmenter
    tally_type = ClassCounts
    predict = staticmethod(predict.segment)
    made_up_batch = staticmethod(made_up.made_up_batch)

    def open(
        self, data: DataConfig, split: str, *, train: bool, mean: Sequence[float], std: Sequence[float],
        limit: int | None,
    ) -> datasets.SegmentationDataset:  # fmt: skip
        root = checked_root(data, limit, public=data.dataset in datasets.SPECS)
        spec = datasets.dataset_spec(data.dataset, root)
        samples = checked(spec.list_samples(root, split), root, split, spec.layout)
        return datasets.SegmentationDataset(spec, samples[:limit], data, train=train, mean=mean, std=std)

    def complete(self, recipe: Recipe) -> Recipe:
        if cast(Any, recipe.model).num_classes is not None:
            return recipe
        data = dataclasses.replace(recipe.data, root=str(resolve(recipe.data.root)))
        checked_root(data, None, public=data.dataset in datasets.SPECS)
        return override(recipe, {"model.num_classes": len(self.classes(cast(DataConfig, data)).names)})

    def check(self, model: Any, dataset: Any) -> None:
        super().check(model, dataset)
        if model.num_classes != len(dataset.class_names):
            source = dataset.spec.described_in or dataset.name
            raise ConfigError(
                f"model.num_classes is {model.num_classes}, but {source} has {len(dataset.class_names)} classes; "
                "with model.num_classes=none it is the data set's"
            )
        if model.num_classes > IGNORE:  # label maps are 8 bits wide
            raise ConfigError(f"at most {IGNORE} classes are possible ({IGNORE} is the ignore label)")

    def check_evaluation(self, evaluation: EvalConfig) -> None:
        """Accept all settings."""

    def tally(self, model: Any, evaluation: EvalConfig) -> Any:
        classes = getattr(model, "output_classes", model.num_classes)
        unlabelled = model.num_classes if classes > model.num_classes else None
        masked, scored = evaluation.boundary_on_ignored == "left_out", evaluation.unlabelled == "in_mean"
        boundary = BoundaryIoU(classes, unscored=unlabelled, mask_ignored=masked) if evaluation.boundary else None
        return self.tally_type(classes, unscored=None if scored else unlabelled, boundary=boundary)

    def score(self, steps: int, seed: int | None, tally: Any) -> Any:
        return score.score(steps, seed, tally)

    def survey(self, dataset: Any, recipe: Any) -> Any:
        return survey.survey(dataset, recipe)

    def classes(self, data: DataConfig) -> Classes:
        spec = datasets.dataset_spec(data.dataset, resolve(data.root))
        return Classes(spec.class_names, spec.palette)

    def writer(self, model: Any, classes: Classes) -> Writer:
        from ddp_repro.tasks.segmentation.pictures import save_prediction

        palette = classes.colors
        return lambda prediction, pixels, folder, name: save_prediction(prediction, pixels, palette, folder, name)

    def preview(self, prediction: Any, classes: Classes) -> NDArray[Any]:
        return np.array(classes.colors, np.uint8)[prediction.labels] if classes.colors else prediction.preview()


TASK = Segmentation()
