"""Frames of one room of 7-Scenes (Shotton et al., CVPR 2013): real indoor depth from a Kinect, small enough to try."""

from __future__ import annotations

from pathlib import Path

from ddp_repro.data.spec import Sample, list_files
from ddp_repro.tasks.depth.datasets.nyu import INDOOR_JITTER
from ddp_repro.tasks.depth.datasets.spec import DepthSpec

IMAGE_SUFFIX, DEPTH_SUFFIX = ".color.jpg", ".depth.png"


def list_samples(root: Path, split: str) -> list[Sample]:
    """``<split>/NAME.color.jpg`` with ``<split>/NAME.depth.png``; the id is ``NAME``."""
    names = [image.name.removesuffix(IMAGE_SUFFIX) for image in list_files(root / split, (IMAGE_SUFFIX,))]
    return [Sample(n, root / split / f"{n}{IMAGE_SUFFIX}", root / split / f"{n}{DEPTH_SUFFIX}") for n in names]


SEVENSCENES = DepthSpec(
    name="sevenscenes",
    depth_scale=1000.0,
    list_samples=list_samples,
    layout=f"<split>/NAME{IMAGE_SUFFIX} and <split>/NAME{DEPTH_SUFFIX}",
    jitter=INDOOR_JITTER,
)
