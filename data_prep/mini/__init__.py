"""Small synthetic stand-ins for the paper's datasets, in their real on-disk layouts and encodings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_prep.files import new_folder
from data_prep.manifest import read_manifest, write_manifest
from data_prep.mini import depth as mini_depth
from data_prep.mini import perception as mini_perception
from data_prep.mini import segmentation as mini_segmentation
from data_prep.mini.layout import Item, Layout
from ddp_repro.data.io import DataError


def _write_nuscenes(root: Path, counts: dict[str, int], size: tuple[int, int], seed: int) -> None:
    try:
        from data_prep.mini.nuscenes import write_dataset
    except ImportError as error:
        raise DataError(f"mini nuscenes: {error}; install the extra `bev`") from error
    write_dataset(root, counts, size, seed)


_NUSCENES = Layout(
    scenes="drives through four towns",
    splits=("train", "val"),
    size=(180, 320),  # a fifth of the real one
    counts=(192, 24),
    write_dataset=_write_nuscenes,
)

# New ones come last: a dataset's place here is part of the seed of its pictures.
_LAYOUTS: dict[str, Layout] = {
    **mini_segmentation.LAYOUTS,
    **mini_depth.LAYOUTS,
    "nuscenes": _NUSCENES,
    **mini_perception.LAYOUTS,
}
MINI_DATASETS = tuple(_LAYOUTS)


def write_mini(
    dataset: str,
    root: Path,
    *,
    train: int | None = None,
    val: int | None = None,
    size: tuple[int, int] | None = None,
    seed: int = 0,
) -> None:
    """Write synthetic scenes with exact labels or depth; equal arguments give equal files.

    A ``root`` that already holds exactly this is left as it is.

    Args:
        dataset: one of :data:`MINI_DATASETS`.
        train, val: numbers of images; KITTI's ``val`` counts those with ground truth, and two without are added.
        size: (height, width).

    What is not given is as the dataset's layout says, e.g. 160 and 40 images of 128 x 192 for ADE20K.

    Raises:
        DataError: an unknown dataset, a number that makes no sense, or a ``root`` that holds something else.
    """
    if dataset not in _LAYOUTS:
        raise DataError(f"no synthetic version of {dataset!r}; expected one of {', '.join(_LAYOUTS)}")
    layout = _LAYOUTS[dataset]
    counts = layout.counts[0] if train is None else train, layout.counts[1] if val is None else val
    height, width = size or layout.size
    if layout.splits[0] is None and counts[0] != 0:
        raise DataError(f"mini {dataset}: {counts[0]} training images; expected 0, as it is for evaluation alone")
    if counts[1] < 1 or (layout.splits[0] and counts[0] < 1) or min(height, width) < 32 or seed < 0:
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
    layout = _LAYOUTS[dataset]
    listed = {split: count for split, count in zip(layout.splits, counts, strict=True) if split is not None}
    with new_folder(root) as partial:
        if layout.write_dataset is not None:
            layout.write_dataset(partial, listed, size, parameters["seed"])
        else:
            listed[layout.splits[1]] += layout.unannotated
            _write_pictures(dataset, partial, listed, counts, size, parameters["seed"])
        write_manifest(partial, dataset, f"synthetic {layout.scenes} of data_prep.mini", listed, parameters)


def _write_pictures(
    dataset: str, root: Path, listed: dict[str, int], counts: tuple[int, int], size: tuple[int, int], seed: int
) -> None:
    layout = _LAYOUTS[dataset]
    write = layout.write
    assert write is not None  # or the layout would have write_dataset
    for i, (split, count) in enumerate(zip(layout.splits, counts, strict=True)):
        if split is None:
            continue
        lines, numbers = [], range(1, listed[split] + 1)
        for number in tqdm(numbers, desc=f"mini {dataset} {split}", delay=2, leave=False, disable=None):
            rng = np.random.default_rng((seed, MINI_DATASETS.index(dataset), i, number))
            lines.append(write(Item(root, split, number, size, annotated=number <= count), rng))
        if layout.lists:
            _write_list(root / "splits" / layout.lists[split], lines)


def _write_list(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
