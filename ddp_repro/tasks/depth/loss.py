"""The loss of depth."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_OFFSET = 1e-3  # metres


def silog_loss(depth: Tensor, truth: Tensor) -> Tensor:
    """Scale-invariant log loss (Eigen et al. 2014) of depth (B, 1, h, w), resized to the truth's size.

    Args:
        truth: (B, H, W) in metres; pixels without measurement (0) are left out, over the whole batch.

    Returns:
        sqrt(Var(g) + 0.15 Mean(g)²) with g the difference of logarithms.

    Raises:
        ValueError: fewer than two pixels of the batch have a measurement.
    """
    depth = F.interpolate(depth, size=truth.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    valid = truth > 0
    if valid.sum() < 2:
        raise ValueError("no depth was measured in this batch: every pixel of its ground truth is 0")
    g = torch.log(depth[valid] + LOG_OFFSET) - torch.log(truth[valid] + LOG_OFFSET)
    return torch.sqrt(g.var() + 0.15 * g.mean() ** 2)
