"""Whether painted pictures follow their maps: what a segmentor sees in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ddp_repro.evaluation.predict import predict
from ddp_repro.protocols.method import Method
from ddp_repro.tasks.segmentation.metrics import ClassCounts


@dataclass(frozen=True)
class Agreement:
    """mIoU in percent of a segmentor on painted pictures, against the map that each was painted from, and others.

    Attributes:
        others: against the map of the next picture: what a painter reaches that knows the kind of scene alone.
    """

    maps: float
    others: float


def measure_agreement(segmentor: Method, painted: np.ndarray, labels: np.ndarray) -> Agreement:
    """Return how well painted pictures show their label maps.

    Args:
        painted: uint8 (N, H, W, 3).
        labels: that they were painted from, (N, H, W), 255 = ignore.

    Raises:
        ValueError: fewer than two pictures, of which none has another's map.
    """
    if len(painted) < 2:
        raise ValueError("agreement needs at least two pictures, so that one can be held against another's map")
    seen, classes = [predict(segmentor, picture).labels for picture in painted], segmentor.config.num_classes
    return Agreement(_miou(seen, labels, classes), _miou(seen, np.roll(labels, -1, axis=0), classes))


def _miou(predictions: list[np.ndarray], labels: np.ndarray, classes: int) -> float:
    counts = ClassCounts(classes)
    for prediction, label in zip(predictions, labels, strict=True):
        counts.update(torch.from_numpy(prediction.astype(np.int64)), torch.from_numpy(label.astype(np.int64)))
    return 100 * float(np.nanmean(counts.iou().numpy()))
