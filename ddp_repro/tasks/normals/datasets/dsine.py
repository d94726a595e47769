"""Sets of surface normals as DSINE's evaluation lays them out (Bae and Davison 2024).

::

    ROOT/<split>/NAME_img.png       picture (or .jpg); of ScanNet, <split>/SCENE/NAME_img.png
    ROOT/<split>/NAME_normal.png    (n + 1) / 2 as 8-bit RGB; black where there is none
    ROOT/<split>/NAME_intrins.npy   3x3 intrinsics, not read here

Normals point out of the surface, on axes right, down, ahead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ddp_repro.data.spec import Sample, list_files, list_folders

SUFFIXES = ("_img.png", "_img.jpg")
LAYOUT = "<split>/NAME_img.png and <split>/NAME_normal.png"


@dataclass(frozen=True)
class NormalsSpec:
    """A dataset of normals: its name, and how its pictures are found."""

    name: str
    list_samples: Callable[[Path, str], list[Sample]]
    layout: str = LAYOUT


def list_samples(root: Path, split: str) -> list[Sample]:
    """Return the pictures of a split, those in its scenes' folders too; the id is their path without the ending.

    Raises:
        DataError: there is no such folder.
    """
    folder = root / split
    pictures = list_files(folder, SUFFIXES)
    for scene in list_folders(folder):
        pictures += list_files(scene, SUFFIXES)
    return [_sample(folder, picture) for picture in pictures]


def _sample(folder: Path, picture: Path) -> Sample:
    stem = picture.name[: -len(SUFFIXES[0])]
    return Sample(
        (picture.parent / stem).relative_to(folder).as_posix(), picture, picture.with_name(f"{stem}_normal.png")
    )


NYU_NORMALS = NormalsSpec("nyu_normals", list_samples)
SCANNET_NORMALS = NormalsSpec(
    "scannet_normals", list_samples, "<split>/SCENE/NAME_img.png and <split>/SCENE/NAME_normal.png"
)
SINTEL_NORMALS = NormalsSpec(
    "sintel_normals", list_samples, "<split>/SCENE/NAME_img.png and <split>/SCENE/NAME_normal.png (16 bits)"
)
