"""Do uncertain pixels turn out wrong?  The paper's change count (Figure 3c) beside the usual measures."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ddp_repro.diffusion.uncertainty import change_count, disagreement, predictive_entropy, sample_variance
from ddp_repro.evaluation.measure import or_none
from ddp_repro.evaluation.processes import prefetched, rank_and_world, sum_over_processes
from ddp_repro.evaluation.sampling import sampling_runs
from ddp_repro.evaluation.uncertainty.calibration import CalibrationHistogram
from ddp_repro.evaluation.uncertainty.error_detection import DetectionScores, ErrorHistogram
from ddp_repro.evaluation.views import (
    View,
    ViewedImage,
    best_class,
    inference_mode,
    model_device,
    to_image_size,
    view_image,
)
from ddp_repro.protocols.method import Method
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.checks import check_positive
from ddp_repro.tasks.segmentation.dataset import SegmentationDataset
from ddp_repro.tasks.segmentation.metrics import IGNORE_INDEX

MEASURES = DetectionScores._fields


@dataclass(frozen=True, kw_only=True)
class UncertaintyMaps:
    """One image's prediction and uncertainties, at the decoder's resolution.

    Attributes:
        output: (K, h, w) of the first noise sample, as ``model.sample`` returns it; its argmax is what is judged.
        step_average: (K, h, w) mean softmax over the steps of the first noise sample.
        last_step: (K, h, w) softmax of its last step.
        scores: uncertainty (h, w) in [0, 1] by name.
    """

    output: Tensor
    step_average: Tensor
    last_step: Tensor
    scores: dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class UncertaintyResult:
    """The outcome of :func:`evaluate_uncertainty`.

    Attributes:
        errors: per score, right and wrong pixels of all images by uncertainty.
        per_image: per score and measure of :class:`DetectionScores`, a value per image (NaN where undefined).
        calibration: of the averaged softmax ("step_average") and of the last step's ("last_step").
        noise_samples, seed: noise sample j of an image has the noise of evaluation seed ``seed + j``.
    """

    dataset: str
    dataset_fingerprint: str
    images: int
    steps: int
    noise_samples: int
    seed: int | None
    errors: dict[str, ErrorHistogram]
    per_image: dict[str, dict[str, list[float]]]
    calibration: dict[str, CalibrationHistogram]
    seconds: float

    @property
    def error_rate(self) -> float:
        """Fraction of wrong pixels: chance level of the average precision."""
        return next(iter(self.errors.values())).error_rate

    def scores(self) -> dict[str, DetectionScores]:
        """Measures over the pixels of the whole dataset, per uncertainty score."""
        return {name: histogram.scores() for name, histogram in self.errors.items()}

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; undefined numbers (NaN) become null."""
        return {
            "dataset": self.dataset,
            "dataset_fingerprint": self.dataset_fingerprint,
            "images": self.images,
            "steps": self.steps,
            "noise_samples": self.noise_samples,
            "seed": self.seed,
            "error_rate": or_none(self.error_rate),
            "scores": {name: self._score_to_dict(name) for name in self.errors},
            "calibration": {name: histogram.to_dict() for name, histogram in self.calibration.items()},
            "seconds": self.seconds,
        }

    def _score_to_dict(self, name: str) -> dict[str, Any]:
        coverage, risk = self.errors[name].risk_coverage()
        return {
            "dataset": {measure: or_none(value) for measure, value in self.errors[name].scores()._asdict().items()},
            "per_image": {measure: _spread(values) for measure, values in self.per_image[name].items()},
            "risk_coverage": {"coverage": coverage, "risk": risk},
        }


def evaluate_uncertainty(
    model: Method,
    dataset: SegmentationDataset,
    *,
    steps: int = 3,
    noise_samples: int = 4,
    seed: int = 0,
    limit: int | None = None,
    progress: bool = True,
) -> UncertaintyResult:
    """Judge uncertainty scores by how well they find wrong pixels, at the labels' original size.

    The prediction judged is the one of noise sample 0: what :func:`ddp_repro.evaluation.evaluate.evaluate_model` scores
        at ``seed``. Uncertainty maps are resized bilinearly, as class scores are. Under torchrun every process takes a
        share of the images and returns the same result.

    Args:
        steps, noise_samples: sampling steps, and draws of the start noise; the baseline ignores both.
        limit: first so many images only.

    Raises:
        ConfigError: an impossible setting, or a model of another number of classes.
        DataError: a damaged image or label.
    """
    task_named(model.config.task).check(model.config, dataset)
    check_positive(steps=steps, noise_samples=noise_samples, limit=limit)
    started = time.perf_counter()
    diffusion = model.config.diffusion
    count = min(len(dataset), limit or len(dataset))
    tally = _Tally(score_names(model), count)
    rank, world = rank_and_world()
    share = range(rank, count, world)
    images = prefetched(lambda index: view_image(dataset, index, [View()]), share, ahead=2)
    with inference_mode(model):
        for index, image in tqdm(zip(share, images, strict=True), total=len(share), disable=not progress or rank > 0):
            tally.add(index, image, uncertainty_maps(model, image, steps, noise_samples, seed))
    tally.sum_over_processes(model_device(model))
    return UncertaintyResult(
        dataset=dataset.name,
        dataset_fingerprint=dataset.fingerprint(),
        images=count,
        steps=steps if diffusion else 1,
        noise_samples=noise_samples if diffusion else 1,
        seed=seed if diffusion else None,
        errors=tally.errors,
        per_image=tally.per_image(),
        calibration=tally.calibration,
        seconds=time.perf_counter() - started,
    )


def uncertainty_maps(model: Method, image: ViewedImage, steps: int, noise_samples: int, seed: int) -> UncertaintyMaps:
    """Every uncertainty score of an image; the paper's and the entropy from noise sample 0."""
    runs = sampling_runs(model, image, steps, noise_samples, seed)
    first = next(runs)  # the others are not kept: all steps of many classes would fill the memory
    averages = [first.probabilities.mean(0), *(run.probabilities.mean(0) for run in runs)]
    samples = torch.stack(averages)
    scores = {"entropy": predictive_entropy(first.probabilities)}
    if model.config.diffusion:
        scores["change_count"] = change_count(first.predictions)
        scores["sample_variance"] = sample_variance(samples)
        scores["disagreement"] = disagreement(samples.argmax(2))
    return UncertaintyMaps(
        output=first.output[0],
        step_average=averages[0][0],
        last_step=first.probabilities[-1, 0],
        scores={name: scores[name][0] for name in score_names(model)},
    )


def score_names(model: Method) -> tuple[str, ...]:
    """Return the scores that a model has; the baseline's one pass leaves only the entropy."""
    return ("change_count", "entropy", "sample_variance", "disagreement") if model.config.diffusion else ("entropy",)


class _Tally:
    """Counts over the images of this process, then of all."""

    def __init__(self, scores: Iterable[str], images: int) -> None:
        self.errors = {name: ErrorHistogram() for name in scores}
        self.calibration = {name: CalibrationHistogram() for name in ("step_average", "last_step")}
        # Rows of images of other processes stay zero, so that a sum over processes puts all together.
        self.values = torch.zeros(images, len(self.errors), len(MEASURES), dtype=torch.float64)

    def add(self, index: int, image: ViewedImage, maps: UncertaintyMaps) -> None:
        input_size, size = image.input_size, image.size
        label = image.truth.to(maps.output.device)
        valid = label != IGNORE_INDEX
        wrong = (best_class(maps.output, input_size, size)[1] != label)[valid]
        for row, (name, score) in enumerate(maps.scores.items()):
            resized = to_image_size(score[None, None], input_size, size)[0, 0]
            own = ErrorHistogram().update(resized[valid], wrong)
            self.errors[name].merge(own)
            self.values[index, row] = torch.tensor(own.scores(), dtype=torch.float64)
        for name, histogram in self.calibration.items():
            confidence, predicted = best_class(getattr(maps, name), input_size, size)
            histogram.update(confidence[valid], (predicted == label)[valid])

    def sum_over_processes(self, device: torch.device) -> None:
        for histogram in (*self.errors.values(), *self.calibration.values()):
            histogram.counts = sum_over_processes(histogram.counts, device)
        self.values = sum_over_processes(self.values, device)

    def per_image(self) -> dict[str, dict[str, list[float]]]:
        return {
            name: dict(zip(MEASURES, self.values[:, row].T.tolist(), strict=True))
            for row, name in enumerate(self.errors)
        }


def _spread(values: list[float]) -> dict[str, float | int | None]:
    """Mean and sample deviation over the images where the measure is defined, and their number."""
    defined = torch.tensor([value for value in values if not math.isnan(value)], dtype=torch.float64)
    std = float(defined.std()) if len(defined) > 1 else None
    return {"mean": float(defined.mean()) if len(defined) else None, "std": std, "images": len(defined)}
