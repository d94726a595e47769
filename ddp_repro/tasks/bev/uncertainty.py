"""Do uncertain cells of a BEV map turn out wrong?  The paper's change count beside the usual measures.

Classes overlap, so that every class of every cell is judged by itself: is it rightly present, or absent?
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from tqdm import tqdm

from ddp_repro.diffusion import image_generator
from ddp_repro.diffusion.uncertainty import change_count, disagreement, predictive_entropy, sample_variance
from ddp_repro.evaluation.processes import prefetched, rank_and_world
from ddp_repro.evaluation.uncertainty.tally import UncertaintyResult, UncertaintyTally
from ddp_repro.evaluation.views import inference_mode, model_device
from ddp_repro.protocols.method import Method
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.checks import check_positive
from ddp_repro.tasks.bev.evaluate import sensor_batch
from ddp_repro.tasks.bev.settings import PRESENT

if TYPE_CHECKING:
    from ddp_repro.tasks.bev.dataset import NuScenesBEV

SCORES = ("change_count", "entropy", "spread", "sample_variance", "disagreement")


def evaluate_bev_uncertainty(
    model: Method,
    dataset: NuScenesBEV,
    *,
    steps: int = 3,
    noise_samples: int = 4,
    seed: int = 0,
    limit: int | None = None,
    progress: bool = True,
) -> UncertaintyResult:
    """Judge uncertainty scores by how well they find wrong cells, of the model's own prediction at 0.5.

    Under torchrun every process takes a share of the samples and returns the same result.

    Args:
        steps, noise_samples: sampling steps, and start noises, over all of which the prediction is averaged.
        limit: first so many samples only.

    Raises:
        ConfigError: an impossible setting, or a model of another task.
        DataError: a damaged sample.
        RuntimeError: the model's output is not finite.
    """
    task_named(model.config.task).check(model.config, dataset)
    check_positive(steps=steps, noise_samples=noise_samples, limit=limit)
    started, count = time.perf_counter(), min(len(dataset), limit or len(dataset))
    tally = UncertaintyTally(SCORES, count)
    rank, world = rank_and_world()
    share, device = range(rank, count, world), model_device(model)
    items = prefetched(dataset.__getitem__, share, ahead=2)
    with inference_mode(model):
        for index, item in tqdm(zip(share, items, strict=True), total=len(share), disable=not progress or rank > 0):
            batch = sensor_batch([item], dataset, device)
            run: Any = model.sample(
                batch, steps=steps, noise_samples=noise_samples, generator=[image_generator(seed, item["id"])],
                return_trajectory=True,
            )  # fmt: skip
            if not run.output.isfinite().all():
                raise RuntimeError(f"the model's output is not finite for sample {item['id']}; check its weights")
            _add(tally, index, run.output[0], cast(Tensor, run.probabilities)[:, :, 0].float(), batch["masks"][0] > 0)
    tally.sum_over_processes(device)
    return UncertaintyResult(
        dataset=dataset.name, dataset_fingerprint=dataset.fingerprint(), images=count, steps=steps,
        noise_samples=noise_samples, seed=seed, errors=tally.errors, per_image=tally.per_image(),
        calibration=tally.calibration, seconds=time.perf_counter() - started,
    )  # fmt: skip


def uncertainty_scores(probabilities: Tensor) -> dict[str, Tensor]:
    """Return every score of a sample, in [0, 1], for each class and cell.

    They are those of label maps, of the two labels "present" and "absent".

    ``spread``, beside them, is the standard deviation over steps and start noises, divided by the largest there is.

    Args:
        probabilities: (S, N, K, X, Y) of S steps from N start noises.

    Returns:
        (K, X, Y) by the names of :data:`SCORES`.
    """
    either = torch.stack([probabilities, 1 - probabilities], dim=3)  # (S, N, K, 2, X, Y)
    of_noises = either.mean(0)
    return {
        "change_count": change_count(probabilities >= PRESENT).mean(0),
        "entropy": predictive_entropy(either.flatten(0, 1)),
        "spread": (2 * probabilities.std((0, 1), correction=0)).clamp(max=1),
        "sample_variance": sample_variance(of_noises),
        "disagreement": disagreement((of_noises[:, :, 0] >= PRESENT).long()),
    }


def _add(tally: UncertaintyTally, index: int, output: Tensor, probabilities: Tensor, truth: Tensor) -> None:
    tally.add(index, uncertainty_scores(probabilities), (output >= PRESENT) != truth)
    averages = {"step_average": probabilities.mean((0, 1)), "last_step": probabilities[-1].mean(0)}
    for name, probability in averages.items():
        predicted = probability >= PRESENT
        tally.add_confidence(name, torch.where(predicted, probability, 1 - probability), predicted == truth)
