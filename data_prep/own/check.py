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

from data_prep.own.colors import describe, is_colored, read_palette, translate
from ddp_repro.data.dataset import require_equal_sizes
from ddp_repro.data.io import DataError, read_depth, read_image, read_label
from ddp_repro.data.spec import Color, Sample, id_table, list_folders, pair_by_stem, to_train_ids, unique, without_label
from ddp_repro.data.survey import VALUES, Survey, count_values, in_threads
from ddp_repro.tasks.depth import survey as depth_survey
from ddp_repro.tasks.depth.dataset import to_metres
from ddp_repro.tasks.depth.datasets import folder as depth_folder
from ddp_repro.tasks.depth.protocols import protocol_named
from ddp_repro.tasks.segmentation import survey as label_survey
from ddp_repro.tasks.segmentation.datasets import folder as mask_folder

USUAL_SPLITS = ("train", "val")  # of the recipes `folder` and `depth_folder`
_SHOWN = 10


@dataclass(frozen=True)
class _Truth:
    """What the ground truth of one sample holds.

    Attributes:
        values: how often every stored value occurs, int64 (65536,); of a mask of colours, every id that they mean.
        colored: whether it is a mask of colours.
        strange: pixels of the colours that no class has.
    """

    values: np.ndarray
    colored: bool = False
    strange: Counter[Color] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Layout:
    """How a kind of folder is listed, read and summed up.

    Attributes:
        truth: folder of the ground truth, and what is in it.
        count: what (sample, its image) holds.
        summarize: the survey of (counts, split, images, images without any value).
    """

    truth: str
    list_samples: Callable[[Path, str], list[Sample]]
    count: Callable[[Sample, np.ndarray], _Truth]
    summarize: Callable[[np.ndarray, str, int, int], Survey]


@dataclass
class SplitCheck:
    """What is in one split.

    Attributes:
        sizes: how many images there are of each size, ``WIDTHxHEIGHT``.
        labels: of the pairs that can be read; None: there are none.
        colored: masks of colours rather than ids, which :mod:`data_prep.own.convert` translates.
        strange: pixels of every colour that no class has.
        problems: training or evaluation would end with these.
    """

    split: str
    images: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    labels: Survey | None = None
    colored: list[str] = field(default_factory=list)
    strange: Counter[Color] = field(default_factory=Counter)
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
        """Return plain JSON values; colours that no class has are lists [red, green, blue, pixels]."""
        splits = [
            {**dataclasses.asdict(dataclasses.replace(split, strange=Counter())),
             "strange": [[*color, count] for color, count in split.strange.most_common()]} for split in self.splits
        ]  # fmt: skip
        return {**dataclasses.asdict(dataclasses.replace(self, splits=[])), "splits": splits,
                "root": str(self.root), "ok": self.ok}  # fmt: skip

    def __str__(self) -> str:
        colored = sum(len(split.colored) for split in self.splits)
        offer = f"--convert NEW_FOLDER writes the {colored} masks of colours as ids, by the palette of classes.json"
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


def _masks(root: Path) -> _Layout:
    spec = mask_folder.folder_spec(root)
    table, palette = id_table(spec.label_ids), _palette(root)

    def count(sample: Sample, image: np.ndarray) -> _Truth:
        if is_colored(sample.truth):
            ids, strange = translate(read_image(sample.truth), palette, ignore=VALUES - 1)
            require_equal_sizes(image, ids, sample)
            values = count_values(ids)
            values[-1] -= strange.total()  # no class's, and not ignored either
            return _Truth(values, colored=True, strange=strange)
        stored = read_label(sample.truth)
        require_equal_sizes(image, stored, sample)
        to_train_ids(stored, table, sample.truth)
        return _Truth(count_values(stored))

    def summarize(counts: np.ndarray, split: str, images: int, empty: int) -> Survey:
        return label_survey.summarize(spec, counts, split, images, images)

    return _Layout("masks", mask_folder.list_samples, count, summarize)


def _palette(root: Path) -> tuple[Color, ...]:
    """Return the classes' colours; none where ``classes.json`` does not say them."""
    try:
        return read_palette(root)
    except DataError:
        return ()


def _depth(root: Path) -> _Layout:
    spec = depth_folder.depth_folder_spec(root)
    indoor, outdoor = (protocol_named(name).max_depth for name in ("indoor", "outdoor"))

    def count(sample: Sample, image: np.ndarray) -> _Truth:
        stored = read_depth(sample.truth)
        require_equal_sizes(image, stored, sample)
        to_metres(stored, spec, sample.truth)
        return _Truth(count_values(stored))

    def summarize(counts: np.ndarray, split: str, images: int, empty: int) -> Survey:
        near = depth_survey.summarize(spec, counts, split, images, images, empty, cap=indoor)
        far = depth_survey.summarize(spec, counts, split, images, images, empty, cap=outdoor)
        if len(far.warnings) < len(near.warnings):  # the median is usual outdoors alone
            hint = f"; if these are streets, train with model.max_depth={outdoor:g} evaluation.protocol=outdoor"
            return dataclasses.replace(near, warnings=[*near.warnings[:-1], near.warnings[-1] + hint])
        return near

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
    for sample, (size, truth, problem) in zip(present, in_threads(lambda s: _read(layout, s), present), strict=True):
        sizes.update([size] if size else [])
        if problem or truth is None:
            report.problems.append(str(problem))
        elif layout.truth == "depth" and split != "train" and not truth.values[1:].any():
            report.problems.append(f"{sample.label}: holds no measurement to evaluate against; expected depth above 0")
        else:
            counts, pairs, empty = counts + truth.values, pairs + 1, empty + (not truth.values[1:].any())
            report.colored += [str(sample.label)] if truth.colored else []
            report.strange += truth.strange
    report.sizes = dict(sizes.most_common())
    if report.colored:
        report.problems.append(f"{report.colored[0]}: holds colours, not label ids, as do {len(report.colored)} masks")
    if report.strange:
        report.warnings.append(f"no class has these colours of {split}: {describe(report.strange)}")
    if pairs:
        report.labels = layout.summarize(counts, split, pairs, empty)
        nothing = not any(report.labels.pixels.values())
        (report.problems if nothing and not report.strange else report.warnings).extend(report.labels.warnings)
    return report


def _read(layout: _Layout, sample: Sample) -> tuple[str | None, _Truth | None, str | None]:
    """Size of the image, what its ground truth holds, and what is wrong."""
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
