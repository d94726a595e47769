"""Cityscapes with fine annotations (Cordts et al., CVPR 2016): 34 label ids on disk, 19 evaluated classes."""

from __future__ import annotations

from pathlib import Path

from ddp_repro.data.spec import IGNORE, DatasetSpec, Sample, list_files, list_folders

IMAGE_SUFFIX = "_leftImg8bit.png"
LABEL_SUFFIX = "_gtFine_labelIds.png"

# name: (id in *_labelIds.png, colour), in the order of the train ids
CLASSES = {
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
LABEL_IDS = range(34)  # those outside CLASSES (ego vehicle, parking, bridge, …) are ignored


def list_samples(root: Path, split: str) -> list[Sample]:
    """``leftImg8bit/<split>/CITY/NAME_leftImg8bit.png`` with ``gtFine/…/NAME_gtFine_labelIds.png``.

    The id is ``CITY/NAME``.
    """
    samples = []
    for city in list_folders(root / "leftImg8bit" / split):
        for image in list_files(city, (IMAGE_SUFFIX.lower(),)):
            name = image.name[: -len(IMAGE_SUFFIX)]
            label = root / "gtFine" / split / city.name / f"{name}{LABEL_SUFFIX}"
            samples.append(Sample(f"{city.name}/{name}", image, label))
    return samples


CITYSCAPES = DatasetSpec(
    name="cityscapes",
    class_names=tuple(CLASSES),
    palette=tuple(color for _, color in CLASSES.values()),
    label_ids={**dict.fromkeys(LABEL_IDS, IGNORE), **{label_id: i for i, (label_id, _) in enumerate(CLASSES.values())}},
    list_samples=list_samples,
    layout=f"leftImg8bit/<split>/CITY/NAME{IMAGE_SUFFIX} and gtFine/<split>/CITY/NAME{LABEL_SUFFIX}",
)
