"""The loss of semantic segmentation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ddp_repro.networks.kernels import resize as native_resize

IGNORE_INDEX = 255


def segmentation_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy of logits (B, K, h, w), resized to the label's size, against labels (B, H, W).

    The mean runs over all pixels; ignored ones (255) add nothing but are counted, as in the released configurations.
    """
    if native_resize.can_run(logits):
        return native_resize.cross_entropy(logits, label, IGNORE_INDEX) / label.numel()
    logits = F.interpolate(logits, size=label.shape[-2:], mode="bilinear", align_corners=False)
    return F.cross_entropy(logits, label, ignore_index=IGNORE_INDEX, reduction="sum") / label.numel()
