"""The paper's central claims at small scale, stated before any number is seen.

The printed gain of pretraining is 0.13 REL on NYU (0.186 from scratch, 0.053 with it) and that of the customised loss
0.001; smaller effects than a tenth of the former are not called a gain of pretraining here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

from ddp_repro.papers.genpercept.pretraining import LABELS, TASKS, VARIED, VARIANTS, Task, name_of
from ddp_repro.papers.genpercept.tables.mean_label import mean_label_of
from ddp_repro.workbook.claims.claim import Claim, Comparison, Side
from ddp_repro.workbook.claims.evidence import Evidence
from ddp_repro.workbook.claims.table import claims_table as table_of
from ddp_repro.workbook.runs.records import Record
from ddp_repro.workbook.tables.rendering import NOTHING, Table

PRESET = "small"
# Measure, and smallest effect that matters: REL after alignment, and degrees.
MEASURES: dict[Task, tuple[str, float]] = {"depth": ("rel", 0.01), "normals": ("mean_angle", 1.0)}


def claims(preset: str) -> list[tuple[Claim, ...]]:
    """Return the claims that a preset can judge: all of them under ``small``, none elsewhere."""
    return [(claim,) for claim in (*_starts(), *_losses())] if preset == PRESET else []


def claims_table(preset: str, output: str | Path = "results") -> Table:
    """Return every claim with the printed numbers, ours, and the verdict.

    Raises:
        RecordError: a record is damaged.
    """
    return table_of("genpercept", claims(preset), Evidence(preset, output))


def learns_nothing(records: Sequence[Record], output: str | Path) -> str | None:
    """Return why two starts cannot be compared: no training of either beats the mean label; None where one does."""
    metric = records[0].metrics[0]
    mean = next(filter(None, (mean_label_of(record, [], output) for record in records)), None)
    if mean is None or any(fmean(record.values(1, metric)) < getattr(mean.score, metric) for record in records):
        return None
    return "not testable: no training of either side beats the mean label, which needs no picture"


def _starts() -> Iterator[Claim]:
    for task in TASKS:
        for labels in LABELS:
            printed = "NYU REL 0.186 → 0.053" if task == "depth" else NOTHING
            yield _claim(
                f"pretraining_{task}_{labels}", f"{task}, {labels} labelled pictures: diffusion pretraining helps",
                "Table 2" if task == "depth" else "our question", printed, task,
                (name_of(task, "pretrained", labels), "pretrained"), (name_of(task, "scratch", labels), "scratch"),
            )  # fmt: skip


def _losses() -> Iterator[Claim]:
    words = {
        "image": "the image loss beats the latent loss", "customised": "the customised loss beats the latent loss",
        "decoder": "a decoder from scratch beats the VAE's under the latent loss",
    }  # fmt: skip
    printed = {"image": "NYU REL 0.053 → 0.054", "customised": "NYU REL 0.053 → 0.052",
               "decoder": "NYU REL 0.053 → 0.055"}  # fmt: skip
    base = name_of("depth", "pretrained", VARIED)
    for variant in VARIANTS:
        first = name_of("depth", "pretrained", VARIED, variant)
        yield _claim(f"loss_{variant}", f"depth, pretrained: {words[variant]}", "Table 2", printed[variant], "depth",
                     (first, variant), (base, "latent"))  # fmt: skip
        yield _claim(
            f"pretraining_{variant}", f"depth, {VARIED} labelled pictures, {variant}: diffusion pretraining helps",
            "our question", NOTHING, "depth", (first, "pretrained"),
            (name_of("depth", "scratch", VARIED, variant), "scratch"),
        )  # fmt: skip


def _claim(
    key: str, statement: str, where: str, printed: str, task: Task, first: tuple[str, str], rival: tuple[str, str]
) -> Claim:
    metric, minimum = MEASURES[task]
    sides = [Side.of(words, name, 1) for name, words in (first, rival)]
    return Claim(
        key=key, statement=statement, where=where, printed=printed, model=first[0], diffusion=False, minimum=minimum,
        question=Comparison(sides[0], (sides[1],), metric), gate=learns_nothing,
    )  # fmt: skip
