"""The dataset of alpha mattes."""

from __future__ import annotations

from ddp_repro.tasks.matting.datasets import p3m
from ddp_repro.tasks.opacity import OpacityDataset

NAMES = tuple(p3m.FOLDERS)


class MatteDataset(OpacityDataset):
    """Pictures with alpha mattes."""

    truth = "alpha"
