"""What figures need of a few images of a run, in one file beside its record, by task."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ddp_repro.data.dataset import PairDataset
from ddp_repro.papers.ddp.samples import bev as bev_samples
from ddp_repro.papers.ddp.samples import depth as depth_samples
from ddp_repro.papers.ddp.samples import segmentation as trajectories
from ddp_repro.settings.recipe import Recipe

_WRITERS = {
    "segmentation": (trajectories.save_trajectory, trajectories.FILE),
    "depth": (depth_samples.save_depth_samples, depth_samples.FILE),
    "bev": (bev_samples.save_bev_samples, bev_samples.FILE),
}


def save_samples(model: nn.Module, dataset: PairDataset, recipe: Recipe, folder: Path) -> None:
    """Write the samples of a run into the folder of its record; a baseline, which has no steps to show, has none."""
    write, file = _WRITERS[recipe.model.task]
    write(model, dataset, recipe, folder / file)


def missing_samples(recipe: Recipe, folder: Path) -> Path | None:
    """Return the file of samples that should be in a finished run's folder and is not; None: nothing is missing."""
    path = folder / _WRITERS[recipe.model.task][1]
    return path if recipe.model.diffusion and not path.is_file() else None
