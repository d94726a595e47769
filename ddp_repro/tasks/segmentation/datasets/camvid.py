"""CamVid (Brostow, Fauqueur and Cipolla, PRL 2009) with the 11 classes of SegNet."""

from __future__ import annotations

from pathlib import Path

from ddp_repro.data.spec import IGNORE, DatasetSpec, Sample, list_files, pair_by_stem

CLASSES = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign symbol": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}


def list_samples(root: Path, split: str) -> list[Sample]:
    """``images/<split>/NAME.jpg`` (or ``.png``) with ``labels/<split>/NAME.png``; the id is ``NAME``."""
    return pair_by_stem(list_files(root / "images" / split, (".jpg", ".png")), root / "labels" / split)


CAMVID = DatasetSpec(
    name="camvid",
    class_names=tuple(CLASSES),
    palette=tuple(CLASSES.values()),
    label_ids={**{i: i for i in range(11)}, 11: IGNORE, 255: IGNORE},  # 11: "unlabelled"
    list_samples=list_samples,
    layout="images/<split>/NAME.jpg (or .png) and labels/<split>/NAME.png",
)
