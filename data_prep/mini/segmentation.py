"""Synthetic ADE20K and Cityscapes in their real layouts and label ids."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from data_prep.mini.layout import Item, Layout, save
from data_prep.scenes import CLASSES, random_street, render
from ddp_repro.data.spec import DatasetSpec
from ddp_repro.tasks.segmentation.datasets.ade20k import ADE20K
from ddp_repro.tasks.segmentation.datasets.cityscapes import CITYSCAPES, IMAGE_SUFFIX, LABEL_SUFFIX

# class of the scenes -> class of the dataset
_ADE20K_NAMES = {
    "sky": "sky", "building": "building", "road": "road", "pavement": "sidewalk", "grass": "grass", "tree": "tree",
    "car": "car", "bus": "bus", "person": "person", "rider": "person", "bicycle": "bicycle", "pole": "pole",
    "sign": "signboard", "traffic light": "traffic light", "fence": "fence",
}  # fmt: skip
_CITYSCAPES_NAMES = {
    "sky": "sky", "building": "building", "road": "road", "pavement": "sidewalk", "grass": "terrain",
    "tree": "vegetation", "car": "car", "bus": "bus", "person": "person", "rider": "rider", "bicycle": "bicycle",
    "pole": "pole", "sign": "traffic sign", "traffic light": "traffic light", "fence": "fence",
}  # fmt: skip


@dataclass(frozen=True)
class _Labels:
    """How one dataset names its files and classes."""

    spec: DatasetSpec
    names: dict[str, str]
    unlabelled: dict[str, int]  # scene classes that the dataset stores under an ignored id
    image: str  # path with {split}, {short} and {number}
    label: str
    hood: bool = False


_LABELS = {
    "ade20k": _Labels(
        spec=ADE20K,
        names=_ADE20K_NAMES,
        unlabelled={"other": 0, "ego vehicle": 0},
        image="images/{split}/ADE_{short}_{number:08d}.jpg",
        label="annotations/{split}/ADE_{short}_{number:08d}.png",
    ),
    "cityscapes": _Labels(
        spec=CITYSCAPES,
        names=_CITYSCAPES_NAMES,
        unlabelled={"other": 4, "ego vehicle": 1},  # "static" and "ego vehicle"
        image="leftImg8bit/{split}/minitown/minitown_{number:06d}_000019" + IMAGE_SUFFIX,
        label="gtFine/{split}/minitown/minitown_{number:06d}_000019" + LABEL_SUFFIX,
        hood=True,
    ),
}


def _write(dataset: str, item: Item, rng: np.random.Generator) -> None:
    labels, (height, width) = _LABELS[dataset], item.size
    scene = render(random_street(rng, width, height, hood=labels.hood))
    short = {"training": "train", "validation": "val"}.get(item.split, item.split)
    for pattern, pixels in ((labels.image, scene.rgb), (labels.label, _stored_ids(dataset)[scene.classes])):
        save(item.root, pattern.format(split=item.split, short=short, number=item.number), pixels)


@functools.cache
def _stored_ids(dataset: str) -> np.ndarray:
    """uint8 table from a scene's class index to the id that the dataset stores."""
    labels = _LABELS[dataset]
    stored = {train_id: label_id for label_id, train_id in labels.spec.label_ids.items()}
    names = labels.spec.class_names
    ids = [
        labels.unlabelled[name] if name in labels.unlabelled else stored[names.index(labels.names[name])]
        for name in CLASSES
    ]
    return np.array(ids, np.uint8)


LAYOUTS = {
    "ade20k": Layout(
        scenes="street scenes",
        splits=("training", "validation"),
        size=(128, 192),
        counts=(160, 40),
        write=functools.partial(_write, "ade20k"),
    ),
    "cityscapes": Layout(
        scenes="street scenes",
        splits=("train", "val"),
        size=(128, 256),
        counts=(96, 24),
        write=functools.partial(_write, "cityscapes"),
    ),
}
