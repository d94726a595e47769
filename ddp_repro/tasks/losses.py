"""The losses of the tasks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ddp_repro.networks.kernels import resize as native_resize

IGNORE_INDEX = 255
LOG_OFFSET = 1e-3  # metres


def segmentation_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy of logits (B, K, h, w), resized to the label's size, against labels (B, H, W).

    The mean runs over all pixels; ignored ones (255) add nothing but are counted, as in the released configurations.
    """
    if native_resize.can_run(logits):
        return native_resize.cross_entropy(logits, label, IGNORE_INDEX) / label.numel()
    logits = F.interpolate(logits, size=label.shape[-2:], mode="bilinear", align_corners=False)
    return F.cross_entropy(logits, label, ignore_index=IGNORE_INDEX, reduction="sum") / label.numel()


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


def focal_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Sigmoid focal loss (Lin et al. 2017) with gamma = 2 and no class weight, for classes that may overlap.

    Args:
        logits: (B, K, h, w).
        masks: truth, same shape, boolean or 0 and 1.

    Returns:
        (K,), each class's mean over batch and pixels.
    """
    logits, masks = logits.float(), masks.to(torch.float32)
    probability = logits.sigmoid()
    miss = probability + masks - 2 * probability * masks  # 1 - probability of the truth
    cross_entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    return (cross_entropy * miss.square()).mean((0, 2, 3))
