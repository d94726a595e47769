"""Accuracy of a model on a dataset, for any number of sampling steps and noise seeds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import cast

import torch
from tqdm import tqdm

from ddp_repro.data.dataset import PairDataset
from ddp_repro.data.transforms import size_of
from ddp_repro.evaluation.processes import prefetched, rank_and_world, sum_over_processes, wait_for_all
from ddp_repro.evaluation.result import EvaluationResult, RunKey, class_names, run_keys
from ddp_repro.evaluation.saved_predictions import PredictionFolder, description, score
from ddp_repro.evaluation.views import View, ViewedImage, bucketed, inference_mode, model_device, view_image, views_of
from ddp_repro.networks.acceleration import accelerated
from ddp_repro.protocols.method import Method, check_method
from ddp_repro.protocols.registry import task_named
from ddp_repro.protocols.task import Tally, TaskDataset
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import EvalConfig


def evaluate_model(
    model: Method,
    dataset: TaskDataset,
    evaluation: EvalConfig,
    *,
    progress: bool = True,
    save_to: Path | None = None,
) -> EvaluationResult:
    """Predict whole images (for BEV: all sensors of a moment) and compare with the truth, once per (steps, seed).

    Under torchrun every process takes a share of the images and returns the same result as one process would: noise
    belongs to (seed, image, view), and counts (of depth: sums of the images' measures) are added.  The device is the
    model's.

    Args:
        evaluation: steps, seeds, views, batch size and fast paths, in addition to those that the model has
            (:func:`ddp_repro.networks.acceleration.accelerate`) and is left with; the baseline ignores steps and seeds.
        save_to: folder for the predicted label maps (segmentation only).  Predictions of the same run that are
            already there are scored instead of computed again, so that an interrupted evaluation goes on where it
            stopped.

    Raises:
        ConfigError: impossible settings, or a model of another task or number of classes.
        DataError: a damaged image or label, or a folder with predictions of another run.
        RuntimeError: the model's output is not finite.
    """
    check_evaluation(model, dataset, evaluation, save_to)
    task = task_named(model.config.task)
    with accelerated(model, compile=evaluation.compile, channels_last=evaluation.channels_last):
        if task.evaluate is not None:
            return task.evaluate(model, dataset, evaluation, progress=progress)
        # A task that leaves this to us has data sets of pictures.
        return _evaluate(model, cast(PairDataset, dataset), evaluation, progress, save_to)


def _evaluate(
    model: Method, dataset: PairDataset, evaluation: EvalConfig, progress: bool, save_to: Path | None
) -> EvaluationResult:
    started = time.perf_counter()
    count = min(len(dataset), evaluation.limit or len(dataset))
    keys = run_keys(evaluation, has_noise=model.has_noise, has_steps=model.has_steps)
    rank, world = rank_and_world()
    run = _Run(model, dataset, evaluation, keys)
    if save_to is not None:
        run.open_folder(Path(save_to), count, create=rank == 0)
    share = range(rank, count, world)
    hidden = not progress or rank > 0
    with inference_mode(model, evaluation.precision), tqdm(total=len(share), unit="image", disable=hidden) as bar:
        run.evaluate(share, bar)
    tallies = run.totals()
    return EvaluationResult(
        dataset=dataset.name,
        dataset_fingerprint=dataset.fingerprint(),
        class_names=class_names(dataset),
        images=count,
        tallies=tallies,
        scales=evaluation.scales,
        flip=evaluation.flip,
        view_average=evaluation.view_average,
        seconds=time.perf_counter() - started,
    )


class _Run:
    """One process's share of an evaluation."""

    def __init__(self, model: Method, dataset: PairDataset, evaluation: EvalConfig, keys: list[RunKey]) -> None:
        self.model, self.dataset, self.evaluation = model, dataset, evaluation
        self.task = task_named(model.config.task)
        self.views: list[View] = views_of(evaluation)
        self.device = model_device(model)
        self.tallies: dict[RunKey, Tally] = {key: self.task.tally(model.config, evaluation) for key in keys}
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
            self._predict(batch)
            bar.update(len(batch))

    def _predict(self, batch: list[ViewedImage]) -> None:
        predictor = self.task.predictor(self.model, batch, self.views, self.evaluation.view_average)
        truths = [image.truth.to(self.device) for image in batch]
        for key, tally in self.tallies.items():
            for image, truth, prediction in zip(batch, truths, predictor.predictions(*key), strict=True):
                score(tally, prediction, truth, image.id)
                if self.saved:
                    self.saved.write(key, image.id, prediction)

    def _score_saved(self, index: int, bar: tqdm) -> bool:
        """Count an image whose predictions are all on disk already."""
        if self.saved is None:
            return False
        label, image_id = torch.from_numpy(self.dataset.load(index)[1]), self.dataset.ids[index]
        predictions = {}
        for key in self.tallies:
            prediction = self.saved.read(key, image_id, size_of(label))
            if prediction is None:
                return False
            predictions[key] = prediction
        for key, tally in self.tallies.items():
            score(tally, predictions[key], label, image_id)
        bar.update(1)
        return True

    def totals(self) -> dict[RunKey, Tally]:
        for tally in self.tallies.values():
            tally.reduce(lambda sums: sum_over_processes(sums, self.device))
        return self.tallies


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
