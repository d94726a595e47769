"""What is measured on the finished weights of a run beyond its scores, each as a JSON file beside the run's record.

An analysis is kept as long as it was asked for with the same settings, on the same weights, images and code; other
settings are refused unless ``overwrite`` allows replacing what is there.  All figures and tables are drawn from these
files, without a model.  Scores are in percent, as in the records.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ddp_repro.evaluation.measure import json_ready
from ddp_repro.interop.checkpoints import load_checkpoint
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import Recipe
from ddp_repro.store.atomic import write_atomically
from ddp_repro.store.paths import resolve, run_folder
from ddp_repro.store.work import Current, Work
from ddp_repro.workbook.runs import provenance
from ddp_repro.workbook.runs.records import Record, read_dataclass
from ddp_repro.workbook.runs.run import evaluation_dataset, trained_model
from ddp_repro.workbook.runs.training import say
from ddp_repro.workbook.runs.weights import has_weights
from ddp_repro.workbook.runs.works import analysis_work

SCHEMA = 1
Kind = str  # the file's name: sweep, drift, uncertainty, depth_uncertainty, speed, trajectories, robustness, …
MACHINE = ("cpu", "gpu", "backend", "threads", "packages")  # what a speed depends on
Measure = Callable[[Any, Any], dict[str, Any]]  # of the model and its evaluation dataset


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """One finished analysis.

    Attributes:
        run, preset: the run whose weights were analysed.
        settings: what was asked for, with every seed.
        checkpoint, dataset: fingerprints (sha256) of weights and images.
        result: what was found; see the function that makes this kind.
        work: what it depends on beside ``settings``; None: from before this was written down.
    """

    kind: Kind
    run: str
    preset: str
    settings: dict[str, Any]
    checkpoint: str
    dataset: str
    images: int
    code: provenance.Code
    environment: provenance.Environment
    wall_seconds: float
    result: dict[str, Any]
    work: Work | None = None


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The run whose weights are analysed.

    Attributes:
        recipe: its settings, with the folder of its data; record: what it left.
        checkpoint: what the run was given: None (trained here), a file, or ``official``.
        overwrite: allows replacing an analysis that was made with other settings.
    """

    recipe: Recipe
    record: Record
    output: str | Path = "results"
    checkpoint: str | None = None
    overwrite: bool = False
    progress: bool = True


def load_analysis(kind: Kind, run: str, preset: str, output: str | Path = "results") -> Analysis | None:
    """Return the analysis of a run's weights, or None where there is none.

    Raises:
        RecordError: the file is damaged, or of another version.
    """
    return load_beside(_path(kind, run, preset, output).parent, kind)


def load_beside(folder: Path, kind: Kind) -> Analysis | None:
    """Return the analysis in a run's folder, or None where there is none.

    Raises:
        RecordError: the file is damaged, or of another version.
    """
    path = folder / f"{kind}.json"
    return read_dataclass(Analysis, path, SCHEMA) if path.is_file() else None


def find_analyses(kind: Kind, preset: str, output: str | Path = "results") -> list[Analysis]:
    """Every analysis of a kind under a preset, by run."""
    paths = sorted((resolve(output) / preset / "runs").glob(f"*/{kind}.json"))
    return [read_dataclass(Analysis, path, SCHEMA) for path in paths]


def analyse(kind: Kind, subject: Subject, settings: dict[str, Any], work: Measure) -> Analysis:
    """Do ``work`` on a finished run's weights, unless that was done before, and write down what it returns.

    Without the weights, as in a clone, an analysis of other code is returned as it is.

    Raises:
        ConfigError: the run draws no noise, the place holds an analysis with other settings, or there is none and no
            weights to make it from.
    """
    record = subject.record
    if not record.seeds:
        raise ConfigError(f"{record.run} is not a diffusion model: it has no sampling to analyse")
    before = load_analysis(kind, record.run, record.preset, subject.output)
    now = analysis_work(record.settings(), record.dataset.fingerprint, record.checkpoint.sha256, work)
    if before and _is_current(before, now, settings, subject.overwrite) and _is_complete(before, subject):
        say(f"{record.run}: {kind} analysed before with the same settings, weights, code and data; skipped")
        return before
    if before and _is_all_there_is(before, settings, subject):
        say(f"{record.run}: no weights here; {kind} is that of other code (commit {before.code.commit[:9]})")
        return before
    now = now.done()
    model = trained_model(record, subject.output, subject.checkpoint, allow_half=False)
    dataset = evaluation_dataset(subject.recipe, model)
    return _measured(
        work, model, dataset, subject.output, kind=kind, run=record.run, preset=record.preset, settings=settings,
        checkpoint=record.checkpoint.sha256, dataset=record.dataset.fingerprint, work=now,
    )  # fmt: skip


def analyse_stage(
    kind: Kind, recipe: Recipe, settings: dict[str, Any], work: Measure, output: str | Path = "results"
) -> Analysis:
    """Do what :func:`analyse` does on the weights of a stage that has no record, since it predicts nothing.

    Without the weights, as in a clone, an analysis that is there is returned as it is.

    Raises:
        ConfigError: the stage was not trained and not analysed, or the place holds an analysis with other settings.
    """
    before = load_analysis(kind, recipe.name, recipe.preset, output)
    weights = run_folder(output, recipe.preset, recipe.name) / "model.safetensors"
    if not weights.is_file():
        if before is None:
            raise ConfigError(f"{weights} is missing: train {recipe.name} first")
        say(f"{recipe.name}: no weights here; {kind} is that of the weights it was trained to elsewhere")
        return before
    model = recipe.model.build()
    load_checkpoint(model, weights)
    dataset, identity = evaluation_dataset(recipe, model), provenance.weights_sha256(weights)
    # Of what predicts nothing, there is nothing to try.
    now = dataclasses.replace(analysis_work(recipe, dataset.fingerprint(), identity, work), probe={})
    if before and _is_current(before, now, settings, overwrite=False):
        return before
    return _measured(
        work, model.eval(), dataset, output, kind=kind, run=recipe.name, preset=recipe.preset, settings=settings,
        checkpoint=identity, dataset=dataset.fingerprint(), work=now.done(),
    )  # fmt: skip


def _measured(measure: Measure, model: Any, images: Any, output: str | Path, **fields: Any) -> Analysis:
    """Measure, time it, and write down the analysis."""
    say(f"{fields['run']}: {fields['kind']}")
    started = time.perf_counter()
    result = measure(model, images)
    made = Analysis(
        **fields, images=min(len(images), fields["settings"].get("limit") or len(images)), code=provenance.code(),
        environment=provenance.environment(next(model.parameters()).device),
        wall_seconds=round(time.perf_counter() - started, 2), result=result,
    )  # fmt: skip
    text = json.dumps({"schema": SCHEMA} | json_ready(dataclasses.asdict(made)), indent=1, ensure_ascii=False)
    write_atomically(_path(made.kind, made.run, made.preset, output), (text + "\n").encode())
    return made


def _is_current(before: Analysis, now: Work, settings: dict[str, Any], overwrite: bool) -> bool:
    """Whether this very work is done, or more than it: a sweep over 1 to 10 steps holds one over 1 to 4.

    Raises:
        ConfigError: it was done with other settings (not just fewer) and ``overwrite`` is not given.
    """
    names = dict.fromkeys([*before.settings, *settings])
    changed = [n for n in names if not _covers(before.settings.get(n), settings.get(n))]
    extended = all(_covers(settings.get(n), before.settings.get(n)) for n in names)
    if changed and not overwrite and not extended:
        words = "; ".join(f"{n} was {before.settings.get(n)!r}, is {settings.get(n)!r}" for n in changed)
        raise ConfigError(
            f"{before.kind} of {before.run} was analysed with other settings ({words}); --overwrite allows replacing it"
        )
    return not changed and before.work is not None and isinstance(before.work.same(now), Current)


def _is_all_there_is(before: Analysis, settings: dict[str, Any], subject: Subject) -> bool:
    """Whether an analysis of other code has to do: of the record's weights, which are not here to be analysed anew.

    A clone has records and analyses without weights; code that is read differently from then does not make them wrong.
    """
    record = subject.record
    is_of_record = (before.checkpoint, before.dataset) == (record.checkpoint.sha256, record.dataset.fingerprint)
    covers = all(_covers(before.settings.get(name), value) for name, value in settings.items())
    here = has_weights(record, subject.output, subject.checkpoint)
    return is_of_record and covers and not here and _is_complete(before, subject)


def _is_complete(before: Analysis, subject: Subject) -> bool:
    """Whether an analysis holds here: its files are there, and a speed was measured on this machine.

    Without the weights there is nothing to measure with: a clone shows what was measured elsewhere, and says so.
    """
    folder = run_folder(subject.output, before.preset, before.run)
    if not all((folder / file).is_file() for file in before.result.get("files", ())):
        return False
    now = provenance.environment("cuda" if torch.cuda.is_available() else "cpu")
    if before.kind != "speed" or all(getattr(before.environment, n) == getattr(now, n) for n in MACHINE):
        return True
    if has_weights(subject.record, subject.output, subject.checkpoint):
        return False
    say(f"{before.run}: no weights here; the speed is that of {before.environment.gpu or before.environment.cpu}")
    return True


def _covers(have: Any, asked: Any) -> bool:
    """Whether lists (and lists by key) hold at least what is asked for; anything else must be equal."""
    if isinstance(have, dict) and isinstance(asked, dict):
        return all(key in have and _covers(have[key], value) for key, value in asked.items())
    if isinstance(have, list) and isinstance(asked, list):
        return set(asked) <= set(have)
    return have == asked


def _path(kind: Kind, run: str, preset: str, output: str | Path) -> Path:
    return run_folder(output, preset, run) / f"{kind}.json"
