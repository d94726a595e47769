"""What training would meet in a folder of one's own: pairs, sizes, classes or depth. Problems are listed."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from ddp_repro.data.dataset import require_equal_sizes
from ddp_repro.data.io import DataError, read_depth, read_image, read_label
from ddp_repro.data.spec import Sample, id_table, list_folders, pair_by_stem, to_train_ids, unique, without_label
from ddp_repro.data.survey import VALUES, Survey, count_values, in_threads
from ddp_repro.tasks.depth import survey as depth_survey
from ddp_repro.tasks.depth.dataset import to_metres
from ddp_repro.tasks.depth.datasets import folder as depth_folder
from ddp_repro.tasks.segmentation import survey as label_survey
from ddp_repro.tasks.segmentation.datasets import folder as mask_folder

USUAL_SPLITS = ("train", "val")  # of the recipes `folder` and `depth_folder`
_SHOWN = 10


@dataclass(frozen=True)
class _Layout:
    """How a kind of folder is listed, read and summed up.

    Attributes:
        truth: folder of the ground truth, and what is in it.
        count: the values of a sample's ground truth, int64 (65536,).
        summarize: the survey of (counts, split, images, images without any value).
    """

    truth: str
    list_samples: Callable[[Path, str], list[Sample]]
    count: Callable[[Sample, np.ndarray], np.ndarray]
    summarize: Callable[[np.ndarray, str, int, int], Survey]


@dataclass
class SplitCheck:
    """What is in one split.

    Attributes:
        sizes: how many images there are of each size, ``WIDTHxHEIGHT``.
        labels: of the pairs that can be read; None: there are none.
        colored: masks of colours rather than ids, which :mod:`data_prep.own.convert` translates.
        problems: training or evaluation would end with these.
    """

    split: str
    images: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    labels: Survey | None = None
    colored: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        sizes = ", ".join(f"{size} ({count})" for size, count in list(self.sizes.items())[:_SHOWN])
        more = f" and {len(self.sizes) - _SHOWN} other sizes" if len(self.sizes) > _SHOWN else ""
        lines = [f"  {self.split}: {self.images} images; sizes: {sizes or 'none'}{more}"]
        lines += [f"    {self.labels}"] if self.labels else []
        return "\n".join([*lines, *_shown("PROBLEM", self.problems), *_shown("warning", self.warnings)])


@dataclass
class FolderCheck:
    """What is in a folder; ``problems`` are those of the folder as a whole."""

    dataset: str
    root: Path
    splits: list[SplitCheck] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is in the way of a training."""
        return not self.problems and not any(split.problems for split in self.splits)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**dataclasses.asdict(self), "root": str(self.root), "ok": self.ok}

    def __str__(self) -> str:
        colored = sum(len(split.colored) for split in self.splits)
        offer = f"--convert translates the {colored} masks of colours by the palette of classes.json"
        return "\n".join([
            f"{self.dataset} in {self.root}", *_shown("PROBLEM", self.problems), *_shown("warning", self.warnings),
            *map(str, self.splits), *([offer] if colored else []),
            "ready for training" if self.ok else "not ready for training: see PROBLEM above",
        ])  # fmt: skip


def check_folder(dataset: str, root: Path) -> FolderCheck:
    """Read every picture, mask and depth map of a folder.

    Args:
        dataset: ``folder`` or ``depth_folder``.

    Raises:
        DataError: there is no such folder.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected your own dataset")
    report = FolderCheck(dataset, root)
    try:
        layout = {"folder": _masks, "depth_folder": _depth}[dataset](root)
        splits = [folder.name for folder in list_folders(root / "images")]
    except DataError as error:
        report.problems.append(str(error))
        return report
    report.splits = [_check_split(layout, root, split) for split in splits]
    for split in USUAL_SPLITS:
        if split not in splits:
            report.problems.append(f"{root / 'images' / split}: no such folder; the recipe {dataset} reads it")
    return report


def is_colored(path: Path) -> bool:
    """Return whether a mask holds colours rather than ids."""
    try:
        with Image.open(path) as picture:
            return picture.mode in ("RGB", "RGBA")
    except (OSError, UnidentifiedImageError):
        return False


def _masks(root: Path) -> _Layout:
    spec = mask_folder.folder_spec(root)
    table = id_table(spec.label_ids)

    def count(sample: Sample, image: np.ndarray) -> np.ndarray:
        stored = read_label(sample.truth)
        require_equal_sizes(image, stored, sample)
        to_train_ids(stored, table, sample.truth)
        return count_values(stored)

    def summarize(counts: np.ndarray, split: str, images: int, empty: int) -> Survey:
        return label_survey.summarize(spec, counts, split, images, images)

    return _Layout("masks", mask_folder.list_samples, count, summarize)


def _depth(root: Path) -> _Layout:
    spec = depth_folder.depth_folder_spec(root)

    def count(sample: Sample, image: np.ndarray) -> np.ndarray:
        stored = read_depth(sample.truth)
        require_equal_sizes(image, stored, sample)
        to_metres(stored, spec, sample.truth)
        return count_values(stored)

    def summarize(counts: np.ndarray, split: str, images: int, empty: int) -> Survey:
        return depth_survey.summarize(spec, counts, split, images, images, empty, cap=None)

    return _Layout("depth", depth_folder.list_samples, count, summarize)


def _check_split(layout: _Layout, root: Path, split: str) -> SplitCheck:
    report, truth = SplitCheck(split), root / layout.truth / split
    try:
        samples = unique(layout.list_samples(root, split), root, split, f"images/{split}/NAME.jpg")
    except DataError as error:
        report.problems.append(str(error))
        return report
    report.images = len(samples)
    lacking = without_label(samples)
    report.problems += [f"{sample.image}: has no pair; expected {sample.label}" for sample in lacking]
    listed = {sample.truth.name for sample in pair_by_stem([sample.image for sample in samples], truth)}
    alone = sorted(set(os.listdir(truth)) - listed) if truth.is_dir() else []
    report.warnings += [f"{truth / name}: has no image of that name; not used" for name in alone if name[0] != "."]
    absent = {sample.id for sample in lacking}
    counts, pairs, empty, sizes = np.zeros(VALUES, np.int64), 0, 0, Counter()
    present = [sample for sample in samples if sample.id not in absent]
    for sample, (size, values, problem) in zip(present, in_threads(lambda s: _read(layout, s), present), strict=True):
        sizes.update([size] if size else [])
        if problem or values is None:
            report.problems.append(str(problem))
        elif layout.truth == "depth" and split != "train" and not values[1:].any():
            report.problems.append(f"{sample.label}: holds no measurement to evaluate against; expected depth above 0")
        else:
            counts, pairs, empty = counts + values, pairs + 1, empty + (not values[1:].any())
    report.sizes = dict(sizes.most_common())
    report.colored = [str(s.label) for s in samples if layout.truth == "masks" and s.label and is_colored(s.label)]
    if pairs:
        report.labels = layout.summarize(counts, split, pairs, empty)
        nothing = not any(report.labels.pixels.values())
        (report.problems if nothing else report.warnings).extend(report.labels.warnings)
    return report


def _read(layout: _Layout, sample: Sample) -> tuple[str | None, np.ndarray | None, str | None]:
    """Size of the image, values of its ground truth, and what is wrong."""
    size = None
    try:
        image = read_image(sample.image)
        size = f"{image.shape[1]}x{image.shape[0]}"
        return size, layout.count(sample, image), None
    except DataError as error:
        return size, None, str(error)


def _shown(kind: str, lines: list[str]) -> list[str]:
    more = [f"    … and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return [*(f"    {kind}: {line}" for line in lines[:_SHOWN]), *more]
