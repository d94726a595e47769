"""The loss of map segmentation in bird's-eye view."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


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
