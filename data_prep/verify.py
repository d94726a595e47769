"""Checking a prepared dataset: counts, pairs, sizes, label ids or depth, checksums. Problems are listed, not raised."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_prep import nuscenes, placed
from data_prep.manifest import compare, read_manifest
from data_prep.preparers import PREPARERS
from ddp_repro.data.io import DataError
from ddp_repro.data.spec import Sample, id_table
from ddp_repro.tasks.depth import dataset as depth
from ddp_repro.tasks.normals import dataset as normals
from ddp_repro.tasks.opacity import read_pair as read_opacity_pair
from ddp_repro.tasks.segmentation import dataset as segmentation

OFFICIAL_COUNTS = {name: preparer.COUNTS for name, preparer in PREPARERS.items()} | {
    "nuscenes": nuscenes.COUNTS["v1.0-trainval"]
}
_SHOWN = 20  # problems printed of each split


@dataclass
class SplitReport:
    """What was found in one split. ``expected`` is None where nothing says how many images there should be.

    ``annotated`` counts the images with ground truth. ``measured`` is the share of their pixels that depth maps have a
    value for; None: there are none, or no depth maps.
    """

    split: str
    expected: int | None
    found: int = 0
    annotated: int = 0
    measured: float | None = None
    unit: str = "images"
    problems: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether the count is as expected."""
        return self.expected is None or self.found == self.expected

    def __str__(self) -> str:
        expected = "no count to compare with" if self.expected is None else f"expected {self.expected}"
        verdict = "ok" if self.complete and not self.problems else "NOT AS EXPECTED"
        depth = "" if self.measured is None else f", {self.measured:.1%} of their pixels measured"
        lacking = "" if self.annotated == self.found else f", {self.annotated} with ground truth"
        counts = f"{self.found} {self.unit} ({expected}){lacking}{depth}"
        lines = [f"  {self.split:12s} {counts}, problems: {len(self.problems)}, {verdict}", *_shown(self.problems)]
        lines += [f"    … and {len(self.problems) - _SHOWN} more"] if len(self.problems) > _SHOWN else []
        return "\n".join(lines)


@dataclass
class Report:
    """What was found in a dataset folder."""

    dataset: str
    root: Path
    splits: list[SplitReport]
    problems: list[str]  # of the folder as a whole, checksums among them
    manifest: bool  # whether there was one to check against

    @property
    def ok(self) -> bool:
        """Whether every count is as expected and nothing is wrong."""
        return not self.problems and all(split.complete and not split.problems for split in self.splits)

    def __str__(self) -> str:
        lines = [f"{self.dataset} in {self.root}"]
        lines += [str(split) for split in self.splits]
        checked = f"problems: {len(self.problems)}" if self.manifest else "no manifest.json, so none compared"
        lines.append(f"  checksums    {checked}")
        lines += _shown(self.problems)
        return "\n".join([*lines, "verified" if self.ok else "not verified: see above"])


def verify(dataset: str, root: Path) -> Report:
    """Check every file of a prepared dataset.

    Raises:
        DataError: the dataset is unknown, or there is no such folder.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected a prepared dataset")
    manifest, dataset_layout = read_manifest(root), _layout(dataset, root)
    counts = manifest["counts"] if manifest else OFFICIAL_COUNTS.get(dataset, {})
    splits = [_verify_split(dataset_layout, root, split, expected) for split, expected in counts.items()]
    problems = (compare(root, manifest) if manifest else []) + dataset_layout.left_out(root)
    return Report(dataset, root, splits, problems, manifest is not None)


@dataclass(frozen=True)
class _Layout:
    """How a dataset is listed, and how a sample of a split is checked: a pair's measured share, or None.

    ``left_out`` says which samples were not prepared, and why.
    """

    list_samples: Callable[[Path, str], list[Sample]]
    check: Callable[[Sample, str], float | None]
    left_out: Callable[[Path], list[str]] = lambda _: []
    unit: str = "images"


def _layout(dataset: str, root: Path) -> _Layout:
    if dataset == "nuscenes":
        try:
            from data_prep.nuscenes.checks import IndexedSamples, left_out
        except ImportError as error:
            raise DataError(f"nuscenes: {error}; install the extra `bev`") from error
        samples = IndexedSamples()
        return _Layout(samples.list_samples, samples.check, left_out, "samples")
    if dataset in depth.NAMES:
        spec = depth.depth_spec(dataset, root)
        return _Layout(spec.list_samples, lambda sample, split: _measured_share(sample, spec, split))
    if dataset in normals.NAMES:
        return _Layout(normals.SPECS[dataset].list_samples, lambda sample, _: _check_pair(sample, normals.read_pair))
    if dataset in placed.SETS:
        return _Layout(placed.SETS[dataset].list_samples, lambda sample, _: _check_pair(sample, read_opacity_pair))
    spec = segmentation.dataset_spec(dataset, root)
    table = id_table(spec.label_ids)
    return _Layout(spec.list_samples, lambda sample, _: _check_labels(sample, table))


def _check_pair(sample: Sample, read: Callable[[Sample], object]) -> None:
    read(sample)


def _check_labels(sample: Sample, table: np.ndarray) -> None:
    segmentation.read_pair(sample, table)


def _measured_share(sample: Sample, spec: depth.DepthSpec, split: str) -> float:
    _, found = depth.read_depth_pair(sample, spec)
    if split != "train" and not found.any():  # nothing to evaluate against; training passes over such a picture
        raise DataError(f"{sample.label}: holds no measurement; expected depth above 0")
    return float(np.mean(found > 0))


def _verify_split(layout: _Layout, root: Path, split: str, expected: int | None) -> SplitReport:
    report = SplitReport(split, expected, unit=layout.unit)
    try:
        samples = layout.list_samples(root, split)
    except DataError as error:
        report.problems.append(str(error))
        return report
    annotated = [sample for sample in samples if sample.label is not None]
    report.found, report.annotated = len(samples), len(annotated)
    with ThreadPoolExecutor() as pool:
        checks = pool.map(lambda sample: _outcome(layout, sample, split), annotated)
        found = list(tqdm(checks, total=len(annotated), desc=split, delay=2, leave=False, disable=None))
    report.problems += [outcome for outcome in found if isinstance(outcome, str)]
    shares = [outcome for outcome in found if isinstance(outcome, float)]
    report.measured = float(np.mean(shares)) if shares else None
    return report


def _outcome(layout: _Layout, sample: Sample, split: str) -> float | str | None:
    """Return the share of measured pixels (None for label maps), or what is wrong."""
    try:
        return layout.check(sample, split)
    except DataError as error:
        return str(error)


def _shown(problems: list[str]) -> list[str]:
    return [f"    {problem}" for problem in problems[:_SHOWN]]
