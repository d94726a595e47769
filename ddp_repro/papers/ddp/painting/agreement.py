"""Whether painted pictures follow their maps: what a segmentor sees in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ddp_repro.evaluation.predict import predict
from ddp_repro.evaluation.statistics import Interval, paired_difference
from ddp_repro.protocols.method import Method
from ddp_repro.tasks.segmentation.metrics import IGNORE_INDEX, ClassCounts


@dataclass(frozen=True)
class Agreement:
    """What a segmentor sees in paintings, against the map that each was painted from and against those of the others.

    The others' maps say what a painter reaches that knows the kind of scene alone.

    Attributes:
        miou, other_miou: over all paintings, in percent.
        pixels, other_pixels: share of the pixels that agree, mean over pictures, in percent.
        gain: the difference of these, with its interval over pictures.
    """

    miou: float
    other_miou: float
    pixels: float
    other_pixels: float
    gain: Interval


def measure_agreement(segmentor: Method, paintings: np.ndarray, labels: np.ndarray) -> Agreement:
    """Return how well paintings show their label maps.

    Args:
        paintings: several of every map, uint8 (S, N, H, W, 3).
        labels: the maps, (N, H, W), 255 = ignore.

    Raises:
        ValueError: fewer than two maps, so that none can be held against another's.
    """
    count = len(labels)
    if count < 2:
        raise ValueError("agreement needs at least two pictures, so that one can be held against another's map")
    seen = [[predict(segmentor, picture).labels for picture in same] for same in paintings]
    own, others = (ClassCounts(segmentor.config.num_classes) for _ in range(2))
    shares = np.zeros((count, count))  # of the painting of one map with another
    for same in seen:
        for n, prediction in enumerate(same):
            for m, label in enumerate(labels):
                _count(own if n == m else others, prediction, label)
                valid = label != IGNORE_INDEX
                shares[n, m] += 100 * float((prediction == label)[valid].mean()) / len(seen)
    pixels, other_pixels = shares.diagonal(), (shares.sum(1) - shares.diagonal()) / (count - 1)
    return Agreement(
        miou=_miou(own), other_miou=_miou(others), pixels=float(pixels.mean()), other_pixels=float(other_pixels.mean()),
        gain=paired_difference(pixels.tolist(), other_pixels.tolist(), "images").interval(),
    )  # fmt: skip


def _count(counts: ClassCounts, prediction: np.ndarray, label: np.ndarray) -> None:
    counts.update(torch.from_numpy(prediction.astype(np.int64)), torch.from_numpy(label.astype(np.int64)))


def _miou(counts: ClassCounts) -> float:
    return 100 * float(np.nanmean(counts.iou().numpy()))
