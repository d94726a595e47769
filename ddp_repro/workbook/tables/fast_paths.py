"""What reduced precision and other fast paths do to scores, on the same weights, images and noise."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

from ddp_repro.store.paths import resolve
from ddp_repro.workbook.claims.images import difference_of_images
from ddp_repro.workbook.runs.records import Record, find_records
from ddp_repro.workbook.tables.measures import measures

USUAL = "float32"  # the folder of the records that the others are compared with
HEADING = "| | model | test images | score without | with | difference, 95 % interval |", "| --- " * 6 + "|"


def fast_path_lines(output: str | Path = "results") -> list[str]:
    """Return a Markdown table: a row for every record of ``fast_paths/<path>`` that has one in ``fast_paths/float32``.

    The interval is over images (and sampling seeds), which both records share.

    Raises:
        RecordError: a damaged record.
    """
    root = resolve(output) / "fast_paths"
    usual = dict(_records(root / USUAL))
    rows = [
        _row(folder, run, usual[run], record)
        for folder in sorted(path for path in root.glob("*") if path.name != USUAL)
        for run, record in _records(folder)
        if run in usual
    ]
    return [*HEADING, *rows]


def _records(folder: Path) -> Iterator[tuple[str, Record]]:
    for preset in sorted(path.name for path in folder.glob("*")):
        for record in find_records(preset, folder):
            yield record.run, record


def _row(folder: Path, run: str, usual: Record, record: Record) -> str:
    name, steps = record.metrics[0], record.steps[-1]
    measure = measures()[name]
    without, with_it = (statistics.fmean(each.values(steps, name)) for each in (usual, record))
    digits = measure.decimals + 1
    estimate = difference_of_images((record, folder), (usual, folder.parent / USUAL), name, steps)
    interval = "–" if estimate is None else " [{low:+.{d}f}, {high:+.{d}f}]".format(
        low=estimate.interval().low, high=estimate.interval().high, d=digits
    )  # fmt: skip
    texts = [f"{score:.{measure.decimals}f}" for score in (without, with_it)]
    texts.append(f"{with_it - without:+.{digits}f}{interval}")
    return f"| {folder.name} | `{run}` | {record.dataset.images} | {measure.label} {' | '.join(texts)} |"
