"""Checking a prepared dataset: counts, pairs, sizes, label ids and checksums. Problems are listed, not raised."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_prep import ade20k, camvid, cityscapes
from data_prep.manifest import compare, read_manifest
from ddp_repro.data import DataError
from ddp_repro.data.segmentation import dataset_spec, read_pair
from ddp_repro.data.spec import DatasetSpec, Sample, id_table, list_folders

OFFICIAL_COUNTS = {"ade20k": ade20k.COUNTS, "cityscapes": cityscapes.COUNTS, "camvid": camvid.COUNTS}
_SHOWN = 20  # problems printed of each split


@dataclass
class SplitReport:
    """What was found in one split. ``expected`` is None where nothing says how many images there should be."""

    split: str
    expected: int | None
    found: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether the count is as expected."""
        return self.expected is None or self.found == self.expected


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
        for split in self.splits:
            expected = "no count to compare with" if split.expected is None else f"expected {split.expected}"
            verdict = "ok" if split.complete and not split.problems else "NOT AS EXPECTED"
            lines.append(
                f"  {split.split:12s} {split.found} images ({expected}), problems: {len(split.problems)}, {verdict}"
            )
            lines += [f"    {problem}" for problem in split.problems[:_SHOWN]]
            lines += [f"    … and {len(split.problems) - _SHOWN} more"] if len(split.problems) > _SHOWN else []
        checked = f"problems: {len(self.problems)}" if self.manifest else "no manifest.json, so none compared"
        lines.append(f"  checksums    {checked}")
        lines += [f"    {problem}" for problem in self.problems[:_SHOWN]]
        return "\n".join([*lines, "verified" if self.ok else "not verified: see above"])


def verify(dataset: str, root: Path) -> Report:
    """Check every file of a prepared dataset.

    Raises:
        DataError: the dataset is unknown, or there is no such folder.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected a prepared dataset")
    spec, manifest = dataset_spec(dataset, root), read_manifest(root)
    counts = manifest["counts"] if manifest else OFFICIAL_COUNTS.get(dataset, {})
    if dataset == "folder":
        counts = {folder.name: None for folder in list_folders(root / "images")} | counts
    splits = [_verify_split(spec, root, split, expected) for split, expected in counts.items()]
    problems = compare(root, manifest) if manifest else []
    return Report(dataset, root, splits, problems, manifest is not None)


def _verify_split(spec: DatasetSpec, root: Path, split: str, expected: int | None) -> SplitReport:
    report = SplitReport(split, expected)
    try:
        samples = spec.list_samples(root, split)
    except DataError as error:
        report.problems.append(str(error))
        return report
    report.found = len(samples)
    table = id_table(spec.label_ids)
    with ThreadPoolExecutor() as pool:
        checks = pool.map(lambda sample: _problem(sample, table), samples)
        found = tqdm(checks, total=len(samples), desc=f"{spec.name} {split}", delay=2, leave=False, disable=None)
        report.problems += [problem for problem in found if problem]
    return report


def _problem(sample: Sample, table: np.ndarray) -> str | None:
    try:
        read_pair(sample, table)
    except DataError as error:
        return str(error)
    return None
