"""The constant every depth model must beat: the mean depth map of the training images."""

from __future__ import annotations

import numpy as np
import torch

from ddp_repro.data import transforms
from ddp_repro.data.dataset import PairDataset
from ddp_repro.protocols.task import Constant
from ddp_repro.settings.recipe import EvalConfig
from ddp_repro.tasks.depth.metrics import DepthErrors
from ddp_repro.tasks.depth.protocols import protocol_named


def mean_depth_map(dataset: PairDataset) -> np.ndarray:
    """Mean depth of every pixel over the pictures that measured it; (H, W) float32, metres, of the first one's size.

    A pixel that no picture measured has the mean of its row, or else of everything.
    """
    size = transforms.size_of(dataset.load(0)[1])
    total, count = np.zeros(size), np.zeros(size)
    for index in range(len(dataset)):
        depth = transforms.resize_label(dataset.load(index)[1], size)
        total += depth
        count += depth > 0
    rows = total.sum(1, keepdims=True) / np.maximum(count.sum(1, keepdims=True), 1)
    rows = np.where(rows > 0, rows, total.sum() / count.sum())
    return np.where(count > 0, total / np.maximum(count, 1), rows).astype(np.float32)


def evaluate_mean_depth(train: PairDataset, dataset: PairDataset, evaluation: EvalConfig) -> DepthErrors:
    """Measures of the training images' mean map on ``dataset``, under the protocol of ``evaluation``.

    Raises:
        ConfigError: no such protocol.
        DataError: a damaged image.
    """
    constant, tally = mean_depth_map(train), DepthErrors(protocol_named(evaluation.protocol))
    for index in range(min(len(dataset), evaluation.limit or len(dataset))):
        truth = dataset.load(index)[1]
        prediction = transforms.resize_image(constant, transforms.size_of(truth))
        tally.update(torch.from_numpy(prediction), torch.from_numpy(truth))
    return tally


MEAN_DEPTH = Constant("mean_depth.json", "mean depth map of the training images", evaluate_mean_depth)
