"""Scoring saved label maps, without the model that predicted them."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from ddp_repro.data.io import DataError
from ddp_repro.data.transforms import size_of
from ddp_repro.evaluation.result import EvaluationResult, RunKey
from ddp_repro.evaluation.saved_predictions import read_manifest, read_prediction, saved_runs, score
from ddp_repro.settings.errors import ConfigError
from ddp_repro.tasks.segmentation.dataset import SegmentationDataset
from ddp_repro.tasks.segmentation.metrics import ConfusionMatrix


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
    matrices: dict[RunKey, ConfusionMatrix] = {key: ConfusionMatrix(len(classes)) for key in saved_runs(folder)}
    for index in range(count):
        label = torch.from_numpy(dataset.load(index)[1])
        for key, matrix in matrices.items():
            score(matrix, read_prediction(folder, key, dataset.ids[index], size_of(label)), label, dataset.ids[index])
    return EvaluationResult(
        dataset=dataset.name,
        dataset_fingerprint=dataset.fingerprint(),
        class_names=dataset.class_names,
        images=count,
        tallies=matrices,
        scales=tuple(manifest["scales"]),
        flip=manifest["flip"],
        view_average=manifest["view_average"],
        seconds=time.perf_counter() - started,
    )
