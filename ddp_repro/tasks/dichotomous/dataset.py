"""The dataset of foreground masks."""

from __future__ import annotations

from ddp_repro.tasks.dichotomous.datasets import dis5k
from ddp_repro.tasks.opacity import OpacityDataset

NAMES = (dis5k.NAME,)


class MaskDataset(OpacityDataset):
    """Pictures with foreground masks."""

    truth = "mask"
