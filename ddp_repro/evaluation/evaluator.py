"""Accuracy of a model on a dataset, for any number of sampling steps and noise seeds."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from ddp_repro.config import ConfigError, EvalConfig
from ddp_repro.data import SegmentationDataset
from ddp_repro.evaluation.checks import check_classes, check_distinct, check_positive
from ddp_repro.evaluation.inference import (
    Segmenter,
    View,
    ViewedImage,
    bucketed,
    inference_mode,
    model_device,
    view_image,
    views_of,
)
from ddp_repro.evaluation.metrics import ConfusionMatrix
from ddp_repro.evaluation.processes import prefetched, rank_and_world, sum_over_processes, wait_for_all
from ddp_repro.evaluation.result import EvaluationResult, RunKey, run_keys
from ddp_repro.evaluation.saved import PredictionFolder, description, score


def evaluate_model(
    model: nn.Module,
    dataset: SegmentationDataset,
    evaluation: EvalConfig,
    *,
    progress: bool = True,
    save_to: Path | None = None,
) -> EvaluationResult:
    """Segment whole images and count pixels, once per (steps, seed).

    Under torchrun every process takes a share of the images and returns the same result as one process would: noise
    belongs to (seed, image, view), and integer counts are summed.  The device is the model's.

    Args:
        evaluation: steps, seeds, views and batch size; the baseline ignores steps and seeds.
        save_to: folder for the predicted label maps.  Predictions of the same run that are already there are
            scored instead of computed again, so that an interrupted evaluation goes on where it stopped.

    Raises:
        ConfigError: impossible settings, or a model of another number of classes.
        DataError: a damaged image or label, or a folder with predictions of another run.
        RuntimeError: the model's output is not finite.
    """
    _check(model, dataset, evaluation)
    started = time.perf_counter()
    count = min(len(dataset), evaluation.limit or len(dataset))
    keys = run_keys(evaluation, model.config.diffusion)
    rank, world = rank_and_world()
    run = _Run(model, dataset, evaluation, keys)
    if save_to is not None:
        run.open_folder(Path(save_to), count, create=rank == 0)
    share = range(rank, count, world)
    with inference_mode(model), tqdm(total=len(share), unit="image", disable=not progress or rank > 0) as bar:
        run.evaluate(share, bar)
    matrices = run.totals()
    return EvaluationResult(
        dataset=dataset.name,
        dataset_fingerprint=dataset.fingerprint(),
        class_names=tuple(dataset.class_names),
        images=count,
        matrices=matrices,
        scales=evaluation.scales,
        flip=evaluation.flip,
        view_average=evaluation.view_average,
        seconds=time.perf_counter() - started,
    )


class _Run:
    """One process's share of an evaluation."""

    def __init__(
        self, model: nn.Module, dataset: SegmentationDataset, evaluation: EvalConfig, keys: list[RunKey]
    ) -> None:
        self.model, self.dataset, self.evaluation = model, dataset, evaluation
        self.views: list[View] = views_of(evaluation)
        self.device = model_device(model)
        self.matrices = {key: ConfusionMatrix(model.config.num_classes) for key in keys}
        self.saved: PredictionFolder | None = None

    def open_folder(self, folder: Path, images: int, *, create: bool) -> None:
        made_by = description(self.model, self.dataset, self.evaluation, images)
        if create:
            self.saved = PredictionFolder(folder, made_by, create=True)
        wait_for_all()
        self.saved = self.saved or PredictionFolder(folder, made_by, create=False)

    def evaluate(self, indices: range, bar: tqdm) -> None:
        pending = [index for index in indices if not self._score_saved(index, bar)]
        size = self.evaluation.batch_size
        images = prefetched(lambda index: view_image(self.dataset, index, self.views), pending, ahead=2 * size)
        for batch in bucketed(images, size):
            self._segment(batch)
            bar.update(len(batch))

    def _segment(self, batch: list[ViewedImage]) -> None:
        segmenter = Segmenter(self.model, batch, self.views, self.evaluation.view_average)
        labels = [image.label.to(self.device) for image in batch]
        for key, matrix in self.matrices.items():
            for image, label, prediction in zip(batch, labels, segmenter.labels(*key), strict=True):
                score(matrix, prediction, label, image.id)
                if self.saved:
                    self.saved.write(key, image.id, prediction)

    def _score_saved(self, index: int, bar: tqdm) -> bool:
        """Count an image whose predictions are all on disk already."""
        if self.saved is None:
            return False
        label, image_id = torch.from_numpy(self.dataset.load(index)[1]), self.dataset.ids[index]
        predictions = {}
        for key in self.matrices:
            prediction = self.saved.read(key, image_id, tuple(label.shape))
            if prediction is None:
                return False
            predictions[key] = prediction
        for key, matrix in self.matrices.items():
            score(matrix, predictions[key], label, image_id)
        bar.update(1)
        return True

    def totals(self) -> dict[RunKey, ConfusionMatrix]:
        for matrix in self.matrices.values():
            matrix.counts = sum_over_processes(matrix.counts, self.device)
        return self.matrices


def _check(model: nn.Module, dataset: SegmentationDataset, evaluation: EvalConfig) -> None:
    check_classes(model, dataset)
    fields = {f"evaluation.{name}": value for name, value in vars(evaluation).items()}
    check_distinct(**{name: fields[name] for name in ("evaluation.steps", "evaluation.seeds", "evaluation.scales")})
    check_positive(**{name: fields[name] for name in ("evaluation.batch_size", "evaluation.limit")})
    check_positive(**{"evaluation.steps": min(evaluation.steps)})
    if not all(0 < scale < math.inf for scale in evaluation.scales):
        raise ConfigError(f"evaluation.scales must be positive; got {evaluation.scales}")
