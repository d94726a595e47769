"""Small synthetic stand-ins for ADE20K and Cityscapes, in their real on-disk layouts and label ids."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from data_prep.files import new_folder
from data_prep.manifest import read_manifest, write_manifest
from data_prep.scenes import CLASSES, random_street, render
from ddp_repro.data import SPECS, DataError
from ddp_repro.data.cityscapes import IMAGE_SUFFIX, LABEL_SUFFIX

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
class _Layout:
    """How one dataset's files are named, and what its synthetic version holds unless told otherwise."""

    names: dict[str, str]
    unlabelled: dict[str, int]  # scene classes that the dataset stores under an ignored id
    splits: tuple[str, str]  # train, val
    image: str  # path with {split} and {number}
    label: str
    size: tuple[int, int]  # height, width
    counts: tuple[int, int]
    hood: bool = False


_LAYOUTS = {
    "ade20k": _Layout(
        names=_ADE20K_NAMES,
        unlabelled={"other": 0, "ego vehicle": 0},
        splits=("training", "validation"),
        image="images/{split}/ADE_{short}_{number:08d}.jpg",
        label="annotations/{split}/ADE_{short}_{number:08d}.png",
        size=(128, 192),
        counts=(160, 40),
    ),
    "cityscapes": _Layout(
        names=_CITYSCAPES_NAMES,
        unlabelled={"other": 4, "ego vehicle": 1},  # "static" and "ego vehicle"
        splits=("train", "val"),
        image="leftImg8bit/{split}/minitown/minitown_{number:06d}_000019" + IMAGE_SUFFIX,
        label="gtFine/{split}/minitown/minitown_{number:06d}_000019" + LABEL_SUFFIX,
        size=(128, 256),
        counts=(96, 24),
        hood=True,
    ),
}


def write_mini(
    dataset: str,
    root: Path,
    *,
    train: int | None = None,
    val: int | None = None,
    size: tuple[int, int] | None = None,
    seed: int = 0,
) -> None:
    """Write synthetic street scenes with exact labels; equal arguments give equal files.

    A ``root`` that already holds exactly this is left as it is.

    Args:
        dataset: "ade20k" or "cityscapes".
        train, val: numbers of images (160 and 40 for ADE20K, 96 and 24 for Cityscapes unless given).
        size: (height, width), 128 x 192 or 128 x 256 unless given.

    Raises:
        DataError: an unknown dataset, a number that makes no sense, or a ``root`` that holds something else.
    """
    if dataset not in _LAYOUTS:
        raise DataError(f"no synthetic version of {dataset!r}; expected one of {', '.join(_LAYOUTS)}")
    layout = _LAYOUTS[dataset]
    counts = tuple(d if n is None else n for n, d in zip((train, val), layout.counts, strict=True))
    height, width = size or layout.size
    if min(counts) < 1 or min(height, width) < 32 or seed < 0:
        got = f"{counts} images of {height} x {width}, seed {seed}"
        raise DataError(f"mini {dataset}: {got}; expected 1 or more of at least 32 x 32, seed 0 or more")
    parameters = {"train": counts[0], "val": counts[1], "size": [height, width], "seed": seed}
    if _holds(root, dataset, parameters):
        return
    try:
        _write(dataset, root, counts, (height, width), parameters)
    except DataError:
        if not _holds(root, dataset, parameters):  # another process may have written the same meanwhile
            raise


def _holds(root: Path, dataset: str, parameters: dict) -> bool:
    manifest = read_manifest(root)
    return manifest is not None and (manifest["dataset"], manifest["parameters"]) == (dataset, parameters)


def _write(dataset: str, root: Path, counts: tuple[int, int], size: tuple[int, int], parameters: dict) -> None:
    layout, seed = _LAYOUTS[dataset], parameters["seed"]
    with new_folder(root) as partial:
        for i, (split, count) in enumerate(zip(layout.splits, counts, strict=True)):
            for number in tqdm(range(1, count + 1), desc=f"mini {dataset} {split}", delay=2, leave=False, disable=None):
                rng = np.random.default_rng((seed, list(_LAYOUTS).index(dataset), i, number))
                _write_pair(dataset, partial, split, number, size, rng)
        counts_by_split = dict(zip(layout.splits, counts, strict=True))
        write_manifest(partial, dataset, "synthetic street scenes of data_prep.mini", counts_by_split, parameters)


def _write_pair(
    dataset: str, root: Path, split: str, number: int, size: tuple[int, int], rng: np.random.Generator
) -> None:
    layout = _LAYOUTS[dataset]
    scene = render(random_street(rng, size[1], size[0], hood=layout.hood))
    short = {"training": "train", "validation": "val"}.get(split, split)
    for pattern, pixels in ((layout.image, scene.rgb), (layout.label, _stored_ids(dataset)[scene.classes])):
        path = root / pattern.format(split=split, short=short, number=number)
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {"quality": 92, "subsampling": 0} if path.suffix == ".jpg" else {"compress_level": 1}
        Image.fromarray(pixels).save(path, **options)


@functools.cache
def _stored_ids(dataset: str) -> np.ndarray:
    """uint8 table from a scene's class index to the id that the dataset stores."""
    spec, layout = SPECS[dataset], _LAYOUTS[dataset]
    stored = {train_id: label_id for label_id, train_id in spec.label_ids.items()}
    ids = [
        layout.unlabelled[name] if name in layout.unlabelled else stored[spec.class_names.index(layout.names[name])]
        for name in CLASSES
    ]
    return np.array(ids, np.uint8)
