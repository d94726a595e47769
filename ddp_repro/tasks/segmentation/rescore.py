"""Scoring saved label maps, without the model that predicted them."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from ddp_repro.data.io import DataError
from ddp_repro.data.transforms import size_of
from ddp_repro.evaluation.per_image.collection import Collection
from ddp_repro.evaluation.result import EvaluationResult
from ddp_repro.evaluation.saved_predictions import read_manifest, read_prediction, saved_runs
from ddp_repro.settings.errors import ConfigError
from ddp_repro.tasks.segmentation.dataset import SegmentationDataset
from ddp_repro.tasks.segmentation.metrics import ClassCounts


def rescore(folder: Path, dataset: SegmentationDataset) -> EvaluationResult:
    """Score saved predictions against ``dataset`` without the model.

    Raises:
        DataError: the folder is not one of predictions, a prediction is missing, damaged or of the wrong size, or the
            dataset has other classes or fewer images.
        ConfigError: a depth dataset.
    """
    if dataset.truth != "label":
        raise ConfigError(f"predictions are saved for segmentation only; {dataset.name} has {dataset.truth} maps")
    started = time.perf_counter()
    manifest = read_manifest(folder)
    classes, count = tuple(manifest["class_names"]), manifest["images"]
    if classes != dataset.class_names:
        raise DataError(
            f"{folder}: predictions are of {len(classes)} classes of {manifest['dataset']}, not of {dataset.name}"
        )
    if len(dataset) < count:
        raise DataError(f"{folder}: holds predictions of {count} images, but the dataset has only {len(dataset)}")
    collection = Collection(saved_runs(folder), lambda: ClassCounts(len(classes)), dataset.ids[:count])
    for index in range(count):
        label = torch.from_numpy(dataset.load(index)[1])
        for key in collection.keys:
            prediction = read_prediction(folder, key, dataset.ids[index], size_of(label))
            collection.count(dataset.ids[index], key, prediction, label)
    per_image = collection.together()
    return EvaluationResult(
        dataset=dataset.name,
        dataset_fingerprint=dataset.fingerprint(),
        class_names=dataset.class_names,
        images=count,
        tallies=collection.tallies(per_image),
        per_image=per_image,
        scales=tuple(manifest["scales"]),
        flip=manifest["flip"],
        view_average=manifest["view_average"],
        seconds=time.perf_counter() - started,
    )
