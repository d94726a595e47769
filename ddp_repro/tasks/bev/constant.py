"""The constant every BEV model must beat: for each class, the one map that fits the training maps best."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ddp_repro.protocols.task import Constant
from ddp_repro.settings.recipe import EvalConfig
from ddp_repro.tasks.bev.metrics import ThresholdCounts

if TYPE_CHECKING:
    from ddp_repro.tasks.bev.dataset import NuScenesBEV


def best_constant_map(frequencies: np.ndarray) -> np.ndarray:
    """Return the cells that, predicted for every sample, have the highest IoU.

    If the cells S are predicted for all of n samples, there are n Σ_S f true positives among n (|S| + Σ_rest f) cells
    that are predicted or true.  For a given |S| the most frequent cells are best, so that it is enough to try all |S|.

    Args:
        frequencies: f, share of the samples in which a cell has the class, (K, X, Y).

    Returns:
        Boolean (K, X, Y); no cell of a class that never occurs.
    """
    flat = frequencies.reshape(len(frequencies), -1).astype(np.float64)
    order = np.argsort(-flat, axis=1, kind="stable")
    hit = np.cumsum(np.take_along_axis(flat, order, 1), 1)
    iou = hit / (np.arange(1, flat.shape[1] + 1) + hit[:, -1:] - hit)
    count = np.where(hit[:, -1] > 0, iou.argmax(1) + 1, 0)
    ranks = np.argsort(order, axis=1)
    return (ranks < count[:, None]).reshape(frequencies.shape)


def evaluate_constant_map(train: NuScenesBEV, dataset: NuScenesBEV, evaluation: EvalConfig) -> ThresholdCounts:
    """IoU on ``dataset`` of the map that fits the maps of ``train`` best; it has no probabilities, so no thresholds.

    Raises:
        DataError: a damaged map.
    """
    total = np.zeros(train.masks(0).shape, np.int64)
    for index in range(len(train)):
        total += train.masks(index)
    constant = torch.from_numpy(best_constant_map(total / len(train)))[None].float()
    tally = ThresholdCounts(len(dataset.class_names))
    for index in range(min(len(dataset), evaluation.limit or len(dataset))):
        tally.update(constant, torch.from_numpy(dataset.masks(index))[None])
    return tally


CONSTANT_MAP = Constant("constant_map.json", "best constant map of the training samples", evaluate_constant_map)
