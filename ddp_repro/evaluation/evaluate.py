"""Accuracy of a model on a dataset, for any number of sampling steps and noise seeds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import cast

import torch
from tqdm import tqdm

from ddp_repro.data.dataset import PairDataset
from ddp_repro.evaluation.per_image.collection import Collection
from ddp_repro.evaluation.per_image.journal import Journal
from ddp_repro.evaluation.processes import prefetched, rank_and_world, wait_for_all
from ddp_repro.evaluation.result import EvaluationResult, class_names, run_keys
from ddp_repro.evaluation.saved_predictions import PredictionFolder, description
from ddp_repro.evaluation.views import View, ViewedImage, bucketed, inference_mode, model_device, view_image, views_of
from ddp_repro.networks.acceleration import accelerated
from ddp_repro.networks.shapes import shape_of
from ddp_repro.protocols.method import Method, check_method
from ddp_repro.protocols.registry import task_named
from ddp_repro.protocols.task import TaskDataset
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import EvalConfig


def evaluate_model(
    model: Method,
    dataset: TaskDataset,
    evaluation: EvalConfig,
    *,
    progress: bool = True,
    save_to: Path | None = None,
    journal: Journal | None = None,
) -> EvaluationResult:
    """Predict whole images (for BEV: all sensors of a moment) and compare with the truth, once per (steps, seed).

    Under torchrun every process takes a share of the images and returns the same result as one process would: noise
    belongs to (seed, image, view), and what each image adds is brought together.  The device is the model's.

    Args:
        evaluation: steps, seeds, views, batch size and fast paths, in addition to those that the model has
            (:func:`ddp_repro.networks.acceleration.accelerate`) and is left with; the baseline ignores steps and seeds.
        save_to: folder for the predicted label maps (segmentation only).  Predictions of the same run that are
            already there are scored instead of computed again, so that an interrupted evaluation goes on where it
            stopped.
        journal: what was done is written there as it goes, and what is there already is not done again; not used with
            ``save_to``.  With ``batch_size`` 1 the outcome is that of an evaluation without interruption, bit for bit;
            in batches, where rounding may depend on an image's neighbours, up to rounding.

    Raises:
        ConfigError: impossible settings, or a model of another task or number of classes.
        DataError: a damaged image or label, or a folder with predictions of another run.
        RuntimeError: the model's output is not finite.
    """
    check_evaluation(model, dataset, evaluation, save_to)
    task = task_named(model.config.task)
    with accelerated(model, compile=evaluation.compile, channels_last=evaluation.channels_last):
        if task.evaluate is not None:
            return task.evaluate(model, dataset, evaluation, progress=progress, journal=journal)
        return _evaluate(model, cast(PairDataset, dataset), evaluation, progress, save_to, None if save_to else journal)


def _evaluate(
    model: Method, dataset: PairDataset, evaluation: EvalConfig, progress: bool, save_to: Path | None,
    journal: Journal | None,
) -> EvaluationResult:  # fmt: skip
    started = time.perf_counter()
    count = min(len(dataset), evaluation.limit or len(dataset))
    keys = run_keys(evaluation, has_noise=model.has_noise, has_steps=model.has_steps)
    task = task_named(model.config.task)
    with Collection(keys, lambda: task.tally(model.config, evaluation), dataset.ids[:count], journal) as collection:
        run = _Run(model, dataset, evaluation, collection)
        if save_to is not None:
            run.open_folder(Path(save_to), count)
        hidden = not progress or rank_and_world()[0] > 0
        share = collection.share
        with inference_mode(model, evaluation.precision), tqdm(total=len(share), unit="image", disable=hidden) as bar:
            run.evaluate(share, bar)
        per_image = collection.together()
    return EvaluationResult(
        dataset=dataset.name,
        dataset_fingerprint=dataset.fingerprint(),
        class_names=class_names(dataset),
        images=count,
        tallies=collection.tallies(per_image),
        per_image=per_image,
        scales=evaluation.scales,
        flip=evaluation.flip,
        view_average=evaluation.view_average,
        seconds=time.perf_counter() - started + (journal.seconds if journal else 0.0),
    )


class _Run:
    """One process's share of an evaluation."""

    def __init__(
        self, model: Method, dataset: PairDataset, evaluation: EvalConfig, collection: Collection
    ) -> None:  # fmt: skip
        self.model, self.dataset, self.evaluation, self.collection = model, dataset, evaluation, collection
        self.task = task_named(model.config.task)
        self.views: list[View] = views_of(evaluation)
        self.device = model_device(model)
        self.saved: PredictionFolder | None = None

    def open_folder(self, folder: Path, images: int) -> None:
        made_by = description(self.model, self.dataset, self.evaluation, images)
        if rank_and_world()[0] == 0:
            self.saved = PredictionFolder(folder, made_by, create=True)
        wait_for_all()
        self.saved = self.saved or PredictionFolder(folder, made_by, create=False)

    def evaluate(self, indices: list[int], bar: tqdm) -> None:
        pending = [index for index in indices if not self._score_saved(index, bar)]
        size = self.evaluation.batch_size
        images = prefetched(lambda index: view_image(self.dataset, index, self.views), pending, ahead=2 * size)
        for batch in bucketed(images, size):
            self._predict(batch)
            bar.update(len(batch))

    def _predict(self, batch: list[ViewedImage]) -> None:
        predictor = self.task.predictor(self.model, batch, self.views, self.evaluation.view_average)
        truths = [image.truth.to(self.device) for image in batch]
        for key in self.collection.keys:
            for image, truth, prediction in zip(batch, truths, predictor.predictions(*key), strict=True):
                self.collection.count(image.id, key, prediction, truth)
                if self.saved:
                    self.saved.write(key, image.id, prediction)

    def _score_saved(self, index: int, bar: tqdm) -> bool:
        """Count an image whose predictions are all on disk already."""
        if self.saved is None:
            return False
        label, image_id = torch.from_numpy(self.dataset.load(index)[1]), self.dataset.ids[index]
        predictions = {}
        for key in self.collection.keys:
            prediction = self.saved.read(key, image_id, shape_of(label))
            if prediction is None:
                return False
            predictions[key] = prediction
        for key, prediction in predictions.items():
            self.collection.count(image_id, key, prediction, label)
        bar.update(1)
        return True


def check_evaluation(model: Method, dataset: TaskDataset, evaluation: EvalConfig, save_to: Path | None) -> None:
    """Refuse an evaluation that cannot work, before the first image is read.

    Raises:
        ConfigError: says which setting has to change.
    """
    check_method(model, "evaluation")
    task = task_named(model.config.task)
    task.check(model.config, dataset)
    task.check_evaluation(evaluation)
    if save_to is not None and not task.saves_predictions:
        raise ConfigError("predictions are saved for segmentation only; `predict` writes depth maps")
