"""Sampling drift (Section 3.4, Figure 4): what happens to the prediction from step to step of one sampling run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ddp_repro.diffusion import image_generator
from ddp_repro.evaluation.measure import or_none
from ddp_repro.evaluation.processes import prefetched, rank_and_world, sum_over_processes
from ddp_repro.evaluation.views import View, ViewedImage, best_class, inference_mode, model_device, view_image
from ddp_repro.papers.ddp.segmentation import SegmentationDDP
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.checks import check_distinct, check_positive
from ddp_repro.settings.errors import ConfigError
from ddp_repro.tasks.segmentation.dataset import SegmentationDataset
from ddp_repro.tasks.segmentation.metrics import IGNORE_INDEX, ClassCounts

_UNIT = 1 << 24  # similarities are summed as integers, so that the sums of processes add up exactly


@dataclass(frozen=True, kw_only=True)
class DriftResult:
    """The outcome of :func:`evaluate_drift`; rows of the tensors are noise seeds, columns steps.

    Attributes:
        matrices: per seed and step, the confusion matrix of that step's own prediction at the original size.
        agreement: float64 (seeds, S), fraction of the decoder's pixels whose predicted label, which is encoded and fed
            back, is the ground truth's; ignored pixels are left out.
        code_similarity: float64 (seeds, S), mean cosine between the encoded prediction and the encoded ground truth.
        changed: float64 (seeds, S), fraction of the decoder's pixels whose label differs from the step before; NaN at
            the first step.
    """

    dataset: str
    dataset_fingerprint: str
    images: int
    seeds: tuple[int, ...]
    matrices: list[list[ClassCounts]]
    agreement: Tensor
    code_similarity: Tensor
    changed: Tensor
    seconds: float

    @property
    def miou(self) -> Tensor:
        """float64 (seeds, S): mIoU of every step's prediction."""
        return torch.tensor([[m.miou for m in row] for row in self.matrices], dtype=torch.float64)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; undefined numbers (NaN) become null."""
        curves = {name: getattr(self, name) for name in ("miou", "agreement", "code_similarity", "changed")}
        return {
            "dataset": self.dataset,
            "dataset_fingerprint": self.dataset_fingerprint,
            "images": self.images,
            "steps": self.agreement.shape[1],
            "seeds": list(self.seeds),
            **{name: [[or_none(v) for v in row] for row in curve.tolist()] for name, curve in curves.items()},
            "seconds": self.seconds,
        }


def evaluate_drift(
    model: SegmentationDDP,
    dataset: SegmentationDataset,
    *,
    steps: int = 10,
    seeds: Sequence[int] = (0, 1, 2),
    limit: int | None = None,
    progress: bool = True,
) -> DriftResult:
    """Follow sampling runs of ``steps`` steps over the dataset.

    Unlike the mIoU over step *counts* (Figure 3a), these are the intermediate predictions of one run.  Under torchrun
    every process takes a share of the images and returns the same result.

    Raises:
        ConfigError: an impossible setting, the non-diffusion baseline, or a model of another number of classes.
        DataError: a damaged image or label.
    """
    task_named(model.config.task).check(model.config, dataset)
    check_positive(steps=steps, limit=limit)
    check_distinct(seeds=tuple(seeds))
    if not model.config.diffusion:
        raise ConfigError("drift needs a diffusion model; the baseline predicts in one pass")
    started = time.perf_counter()
    count = min(len(dataset), limit or len(dataset))
    tally = _Tally(model, steps, tuple(seeds))
    rank, world = rank_and_world()
    share = range(rank, count, world)
    images = prefetched(lambda index: view_image(dataset, index, [View()]), share, ahead=2)
    with inference_mode(model):
        for image in tqdm(images, total=len(share), unit="image", disable=not progress or rank > 0):
            tally.add(image)
    tally.sum_over_processes()
    pixels, right, similarity, changed, compared = tally.counts.double()
    return DriftResult(
        dataset=dataset.name,
        dataset_fingerprint=dataset.fingerprint(),
        images=count,
        seeds=tuple(seeds),
        matrices=tally.matrices,
        agreement=right / pixels,
        code_similarity=similarity / _UNIT / pixels,
        changed=changed / compared,
        seconds=time.perf_counter() - started,
    )


class _Tally:
    """Counts over the images of this process, then of all."""

    def __init__(self, model: SegmentationDDP, steps: int, seeds: tuple[int, ...]) -> None:
        self.model, self.steps, self.seeds = model, steps, seeds
        self.device = model_device(model)
        self.matrices = [[ClassCounts(model.config.num_classes) for _ in range(steps)] for _ in seeds]
        # labelled pixels, right ones, summed similarity, changed pixels, pixels that have a step before
        self.counts = torch.zeros(5, len(seeds), steps, dtype=torch.int64)
        codes = F.normalize(model.encoding.codes()[: model.config.num_classes].detach().cpu().double(), dim=1)
        self.cosines = (codes @ codes.T * _UNIT).round().long().to(self.device)

    def add(self, image: ViewedImage) -> None:
        features = self.model.encode_image(image.views[0][None].to(self.device))
        label = image.truth.to(self.device)
        small = F.interpolate(label[None, None].float(), size=features.shape[-2:], mode="nearest")[0, 0].long()
        for row, seed in enumerate(self.seeds):
            generator = [image_generator(seed, image.id)]
            run = self.model.sample(features=features, steps=self.steps, generator=generator, return_trajectory=True)
            probabilities = run.probabilities[:, 0]
            predictions = run.predictions[:, 0]
            self.counts[:, row] += self._compare(predictions, small).cpu()
            for matrix, step in zip(self.matrices[row], probabilities, strict=True):
                labels = best_class(step, image.input_size, image.size)[1]
                matrix.update(labels, label)

    def _compare(self, predictions: Tensor, label: Tensor) -> Tensor:
        """Count, (5, S), what steps' predictions (S, h, w) are to the labels (h, w) at the decoder's resolution."""
        valid = label != IGNORE_INDEX
        truth, predicted = label[valid], predictions[:, valid]
        changed = (predictions[1:] != predictions[:-1]).flatten(1).sum(1)
        compared = torch.full_like(changed, label.numel())
        return torch.stack(
            [
                torch.full((len(predictions),), len(truth), device=label.device),
                (predicted == truth).sum(1),
                self.cosines[truth, predicted].sum(1),
                F.pad(changed, (1, 0)),
                F.pad(compared, (1, 0)),
            ]
        )

    def sum_over_processes(self) -> None:
        self.counts = sum_over_processes(self.counts, self.device)
        for matrix in (matrix for row in self.matrices for matrix in row):
            matrix.counts = sum_over_processes(matrix.counts, self.device)
