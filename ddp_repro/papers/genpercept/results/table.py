"""The fine-tunings of the preset ``small`` side by side, between the mean label and the VAE's floor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

from ddp_repro.evaluation.measure import mean_text, number_text
from ddp_repro.papers.genpercept import pretraining
from ddp_repro.papers.genpercept.pretraining import Task, name_of
from ddp_repro.papers.genpercept.tables.mean_label import mean_label_of
from ddp_repro.settings.training_seeds import split_seed
from ddp_repro.workbook.runs.analyses import load_analysis
from ddp_repro.workbook.runs.records import Record, find_records
from ddp_repro.workbook.tables.measures import measures
from ddp_repro.workbook.tables.rendering import NOT_RUN, NOTHING, Table
from ddp_repro.workbook.tables.table import provenance_frame, table_frame

PRESET = "small"
METRICS: dict[Task, tuple[str, ...]] = {"depth": ("rel", "delta1"), "normals": ("mean_angle", "within_11_25")}
STARTS = {"pretrained": "diffusion pretraining", "scratch": "from scratch"}


def pretraining_table(preset: str = PRESET, output: str | Path = "results") -> Table:
    """Return the scores of both starts by task, number of labelled pictures and loss, mean and spread over seeds.

    Raises:
        RecordError: a record or analysis is damaged.
    """
    records = [r for r in find_records(preset, output) if r.recipe["table"] == pretraining.TABLE]
    rows = [row for task in pretraining.TASKS for row in _rows(task, preset, records, output)]
    shown = [metric for task in pretraining.TASKS for metric in METRICS[task]]
    columns = {
        ("", "Task"): [row["task"] for row in rows],
        ("", "U-Net"): [row["start"] for row in rows],
        ("", "Labelled pictures"): [row["labels"] for row in rows],
        ("", "Loss"): [row["loss"] for row in rows],
        ("", "Trainings"): [row["count"] for row in rows],
        **{(measures()[m].heading, "rendered rooms, held out"): [row.get(m, NOTHING) for row in rows] for m in shown},
    }
    notes = (*_notes(preset, output), *_not_better(records, output))
    title = "GenPercept at small scale: fine-tuning with and without diffusion pretraining"
    return Table(pretraining.TABLE, title, table_frame(columns), provenance_frame(records), notes)


def _rows(task: Task, preset: str, records: list[Record], output: str | Path) -> Iterator[dict[str, str]]:
    analysis = load_analysis("floor", pretraining.VAE, preset, output)
    yield _constant(task, "floor: the VAE's decoding of the true maps", analysis.result[task] if analysis else None)
    variants = [(n, None) for n in pretraining.LABELS]
    variants += [(pretraining.VARIED, name) for name in pretraining.VARIANTS] if task == "depth" else []
    for labels, variant in variants:
        for start in pretraining.STARTS:
            name = name_of(task, start, labels, variant)
            trainings = [record for record in records if split_seed(record.name)[0] == name]
            yield {
                "task": task, "start": STARTS[start], "labels": str(labels), "loss": variant or "latent",
                "count": str(len(trainings)), **{m: _score(trainings, m) for m in METRICS[task]},
            }  # fmt: skip
    yield _constant(task, "mean label, no network", _mean_label(task, records, output))


def _mean_label(task: Task, records: list[Record], output: str | Path) -> dict[str, Any] | None:
    """Return the scores of the mean label of the fewest labelled pictures that it was scored for."""
    ours = sorted((r for r in records if METRICS[task][0] in r.metrics), key=lambda r: r.recipe["data"]["root"])
    scored = [mean for record in ours if (mean := mean_label_of(record, [], output))]
    return vars(scored[-1].score) if scored else None


def _not_better(records: list[Record], output: str | Path) -> Iterator[str]:
    """Return a note on the trainings that are no better than the mean label: they show nothing of their start."""
    for task in pretraining.TASKS:
        metric, mean = METRICS[task][0], _mean_label(task, records, output)
        ours = [record for record in records if metric in record.metrics]
        behind = [r.run for r in ours if mean and fmean(r.values(1, metric)) >= mean[metric]]
        if behind:
            yield (
                f"{len(behind)} of {len(ours)} trainings for {task} are no better than the mean label in "
                f"{measures()[metric].label}, and so show nothing of their start: {', '.join(behind)}."
            )


def _constant(task: Task, words: str, scores: dict[str, Any] | None) -> dict[str, str]:
    cells = {m: number_text(scores[m], measures()[m].decimals) if scores else NOT_RUN for m in METRICS[task]}
    return {"task": task, "start": words, "labels": NOTHING, "loss": NOTHING, "count": NOTHING, **cells}


def _score(trainings: list[Record], metric: str) -> str:
    values = [value for record in trainings for value in record.values(1, metric)]
    return mean_text(values, measures()[metric].decimals) if values else NOT_RUN


def _notes(preset: str, output: str | Path) -> tuple[str, ...]:
    notes = [
        "Diffusion pretraining at small scale: a U-Net of 3.7 million parameters that learnt to denoise latents of "
        "pictures, without any text; not Stable Diffusion.",
        "± is the sample standard deviation over fine-tunings of different seeds. All of them share one VAE and one "
        "pretraining, whose own chance is in no interval.",
        "Both starts share VAE, labelled pictures, seeds, iterations and learning rate. The VAE has seen labels of other "
        "rendered rooms.",
    ]
    analysis = load_analysis("denoising", pretraining.DIFFUSION, preset, output)
    if analysis:
        levels = "; ".join(
            f"t = {row['t']}: {row['unet']:.3f} against {row['zero']:.3f} and {row['position']:.3f}"
            for row in analysis.result["levels"]
        )
        notes.append(
            "Whether the pretrained U-Net denoises: mean squared error of v on held-out pictures, against predicting 0 "
            f"and the best guess position by position. {levels}."
        )
    return tuple(notes)
