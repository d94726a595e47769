"""Do uncertain pixels turn out wrong?  The paper's change count (Figure 3c) beside the usual measures."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from ddp_repro.diffusion.uncertainty import change_count, disagreement, predictive_entropy, sample_variance
from ddp_repro.evaluation.processes import prefetched, rank_and_world
from ddp_repro.evaluation.sampling import sampling_runs
from ddp_repro.evaluation.uncertainty.tally import CONFIDENCES, UncertaintyResult, UncertaintyTally
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
    tally = UncertaintyTally(score_names(model), count)
    rank, world = rank_and_world()
    share = range(rank, count, world)
    images = prefetched(lambda index: view_image(dataset, index, [View()]), share, ahead=2)
    with inference_mode(model):
        for index, image in tqdm(zip(share, images, strict=True), total=len(share), disable=not progress or rank > 0):
            _add(tally, index, image, uncertainty_maps(model, image, steps, noise_samples, seed))
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


def _add(tally: UncertaintyTally, index: int, image: ViewedImage, maps: UncertaintyMaps) -> None:
    input_size, size = image.input_size, image.size
    label = image.truth.to(maps.output.device)
    valid = label != IGNORE_INDEX
    wrong = (best_class(maps.output, input_size, size)[1] != label)[valid]
    resized = {name: to_image_size(score[None, None], input_size, size)[0, 0] for name, score in maps.scores.items()}
    tally.add(index, {name: score[valid] for name, score in resized.items()}, wrong)
    for name in CONFIDENCES:
        confidence, predicted = best_class(getattr(maps, name), input_size, size)
        tally.add_confidence(name, confidence[valid], (predicted == label)[valid])
