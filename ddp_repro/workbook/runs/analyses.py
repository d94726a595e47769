"""What is measured on the finished weights of a run beyond its scores, each as a JSON file beside the run's record.

An analysis is kept as long as it was asked for with the same settings, on the same weights, images and code; other
settings are refused unless ``overwrite`` allows replacing what is there.  All figures and tables are drawn from these
files, without a model.  Scores are in percent, as in the records.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from ddp_repro.costs.timing import ddp_candidates, knet_candidate, measure_speed
from ddp_repro.evaluation.evaluate import evaluate_model
from ddp_repro.papers.ddp.costs.complexity import complexity
from ddp_repro.papers.ddp.drift import evaluate_drift
from ddp_repro.papers.ddp.samples import segmentation as trajectories
from ddp_repro.settings.recipe import ConfigError, EvalConfig, Recipe
from ddp_repro.store.paths import resolve, run_folder
from ddp_repro.tasks.bev.evaluate import evaluate_bev, failures
from ddp_repro.tasks.depth.dataset import DepthDataset
from ddp_repro.tasks.depth.protocols import protocol_named
from ddp_repro.tasks.depth.uncertainty import evaluate_depth_uncertainty
from ddp_repro.tasks.segmentation.dataset import SegmentationDataset
from ddp_repro.tasks.segmentation.uncertainty import evaluate_uncertainty
from ddp_repro.workbook.runs import provenance
from ddp_repro.workbook.runs.records import Record, read_dataclass, write_atomically
from ddp_repro.workbook.runs.run import evaluation_dataset, has_weights, trained_model
from ddp_repro.workbook.runs.training import say

if TYPE_CHECKING:
    from ddp_repro.tasks.bev.dataset import NuScenesBEV

SCHEMA = 1
Kind = Literal["sweep", "drift", "uncertainty", "depth_uncertainty", "speed", "trajectories", "robustness"]
MACHINE = ("cpu", "gpu", "backend", "threads", "packages")  # what a speed depends on
Work = Callable[[nn.Module, Any], dict[str, Any]]  # of the model and its evaluation dataset


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """One finished analysis.

    Attributes:
        run, preset: the run whose weights were analysed.
        settings: what was asked for, with every seed.
        checkpoint, dataset: fingerprints (sha256) of weights and images.
        result: what was found; see the function that makes this kind.
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


def sweep(
    subject: Subject, *, steps: Sequence[int], seeds: Sequence[int], time_differences: Sequence[int] = (),
    time_difference_steps: Sequence[int] = (2, 3, 5, 10), limit: int | None = None,
) -> Analysis:  # fmt: skip
    """mIoU, mAcc and aAcc at many numbers of sampling steps (Figure 3a), with several time differences ``td``.

    Other differences than the model's own are measured at ``time_difference_steps`` (one step has no difference).
    The result's ``macs`` are those of the encoder and of one step, for the size of the evaluation images.
    """
    own = subject.recipe.model.time_difference
    differences = [own, *(d for d in time_differences if d != own)]
    counts = {d: tuple(steps if d == own else time_difference_steps) for d in differences}
    settings = {"steps": {str(d): list(c) for d, c in counts.items()}, "seeds": list(seeds), "limit": limit}

    def work(model: nn.Module, dataset: SegmentationDataset) -> dict[str, Any]:
        base, scores = subject.recipe, []
        for difference in differences:
            model.config = dataclasses.replace(base.model, time_difference=difference)
            evaluation = EvalConfig(
                steps=counts[difference], seeds=tuple(seeds), limit=limit, batch_size=base.evaluation.batch_size
            )
            found = evaluate_model(model, dataset, evaluation, progress=subject.progress)
            for (count, seed), matrix in found.tallies.items():
                percent = {name: 100 * getattr(matrix, name) for name in ("miou", "macc", "aacc")}
                scores.append({"time_difference": difference, "steps": count, "seed": seed, **percent})
        model.config = base.model
        long, short = base.data.image_scale
        cost = complexity(base.model, (short, long))
        return {"scores": scores, "macs": {"encoder": cost.encoder.total, "step": cost.step.total}}

    return _analyse("sweep", subject, settings, work)


def drift(subject: Subject, *, steps: int, seeds: Sequence[int], limit: int | None = None) -> Analysis:
    """What happens from step to step of one sampling run (:func:`ddp_repro.papers.ddp.drift.evaluate_drift`)."""

    def work(model: nn.Module, dataset: SegmentationDataset) -> dict[str, Any]:
        found = evaluate_drift(
            model, dataset, steps=steps, seeds=tuple(seeds), limit=limit, progress=subject.progress
        ).to_dict()
        return {name: _percent(found[name]) for name in ("miou", "agreement", "code_similarity", "changed")}

    return _analyse("drift", subject, {"steps": steps, "seeds": list(seeds), "limit": limit}, work)


def uncertainty(
    subject: Subject, *, steps: int, noise_samples: int, seed: int = 0, limit: int | None = None
) -> Analysis:
    """How well uncertainty finds errors (:func:`ddp_repro.tasks.segmentation.uncertainty.evaluate_uncertainty`)."""
    settings = {"steps": steps, "noise_samples": noise_samples, "seed": seed, "limit": limit}

    def work(model: nn.Module, dataset: SegmentationDataset) -> dict[str, Any]:
        found = evaluate_uncertainty(model, dataset, **settings, progress=subject.progress).to_dict()
        return {name: found[name] for name in ("error_rate", "scores", "calibration")}

    return _analyse("uncertainty", subject, settings, work)


def depth_uncertainty(
    subject: Subject, *, steps: int, noise_samples: int, seed: int = 0, limit: int | None = None
) -> Analysis:
    """How well the depth's spread finds errors (:mod:`ddp_repro.tasks.depth.uncertainty`)."""
    settings = {"steps": steps, "noise_samples": noise_samples, "seed": seed, "limit": limit}
    protocol = protocol_named(subject.recipe.evaluation.protocol)

    def work(model: nn.Module, dataset: DepthDataset) -> dict[str, Any]:
        found = evaluate_depth_uncertainty(model, dataset, protocol, **settings, progress=subject.progress).to_dict()
        return {name: found[name] for name in ("fractions", "correlation", "sparsification", "ause")}

    return _analyse("depth_uncertainty", subject, settings, work)


def speed(subject: Subject, *, steps: Sequence[int], repetitions: int, knet: bool = False) -> Analysis:
    """Images per second at the size of the evaluation images, one image at a time, on this machine (Table 5e).

    Args:
        knet: also time K-Net (Swin-T), the paper's comparison, through mmsegmentation.
    """
    settings = {"steps": list(steps), "repetitions": repetitions, "knet": knet}

    def work(model: nn.Module, dataset: SegmentationDataset) -> dict[str, Any]:
        base, device = subject.recipe, next(model.parameters()).device
        candidates = ddp_candidates(base.model, steps, device) | (knet_candidate(device) if knet else {})
        long, short = base.data.image_scale
        found = measure_speed(
            candidates, (short, long), device=device, repetitions=repetitions, progress=subject.progress
        )
        numbers = [*steps, *([None] if knet else [])]
        rows = [{"steps": n, **dataclasses.asdict(f)} for n, f in zip(numbers, found, strict=True)]
        return {"speeds": rows, "conditions": found[0].conditions}

    return _analyse("speed", subject, settings, work)


def sampled_images(subject: Subject, *, images: int) -> Analysis:
    """Sampling trajectories of the ``images`` pictures with the most classes, for Figures 5 and 6.

    The result's ``files`` lie beside the record; :func:`ddp_repro.papers.ddp.samples.segmentation.load_trajectory` reads them.
    """
    record = subject.record
    folder = run_folder(subject.output, record.preset, record.run)

    def work(model: nn.Module, dataset: SegmentationDataset) -> dict[str, Any]:
        files = [f"trajectory_{number}.npz" for number in range(images)]
        chosen = trajectories.richest_images(dataset, images, subject.recipe.evaluation.limit)
        for file, index in zip(files, chosen, strict=False):
            trajectories.save_one(model, dataset, index, record.seeds[0], folder / file)
        return {"files": files[: len(chosen)], "ids": [dataset.ids[index] for index in chosen]}

    return _analyse("trajectories", subject, {"images": images}, work)


def robustness(subject: Subject, *, steps: int, seeds: Sequence[int], limit: int | None = None) -> Analysis:
    """BEV segmentation with whole sensors, each camera black in turn, and the LiDAR thinned or absent."""

    def work(model: nn.Module, dataset: NuScenesBEV) -> dict[str, Any]:
        evaluation = EvalConfig(
            steps=(steps,), seeds=tuple(seeds), limit=limit, batch_size=subject.recipe.evaluation.batch_size
        )
        scores = []
        for name, failure in failures(model).items():
            found = evaluate_bev(model, dataset, evaluation, failure=failure, progress=subject.progress)
            for (_, seed), counts in found.tallies.items():
                percent = {metric: 100 * counts.value(metric) for metric in counts.metrics}
                scores.append({"failure": name, "seed": seed, **percent})
        return {"scores": scores}

    return _analyse("robustness", subject, {"steps": steps, "seeds": list(seeds), "limit": limit}, work)


def load_analysis(kind: Kind, run: str, preset: str, output: str | Path = "results") -> Analysis | None:
    """The analysis of a run's weights, or None where there is none.

    Raises:
        RecordError: the file is damaged, or of another version.
    """
    path = _path(kind, run, preset, output)
    return read_dataclass(Analysis, path, SCHEMA) if path.is_file() else None


def find_analyses(kind: Kind, preset: str, output: str | Path = "results") -> list[Analysis]:
    """Every analysis of a kind under a preset, by run."""
    paths = sorted((resolve(output) / preset / "runs").glob(f"*/{kind}.json"))
    return [read_dataclass(Analysis, path, SCHEMA) for path in paths]


def _analyse(kind: Kind, subject: Subject, settings: dict[str, Any], work: Work) -> Analysis:
    record = subject.record
    if not record.seeds:
        raise ConfigError(f"{record.run} is not a diffusion model: it has no sampling to analyse")
    before = load_analysis(kind, record.run, record.preset, subject.output)
    if before and _is_current(before, record, settings, subject.overwrite) and _is_complete(before, subject):
        say(f"{record.run}: {kind} analysed before with the same settings, weights, code and data; skipped")
        return before
    say(f"{record.run}: {kind}")
    model = trained_model(record, subject.output, subject.checkpoint)
    dataset = evaluation_dataset(subject.recipe, model)
    started = time.perf_counter()
    result = work(model, dataset)
    made = Analysis(
        kind=kind, run=record.run, preset=record.preset, settings=settings, checkpoint=record.checkpoint.sha256,
        dataset=record.dataset.fingerprint, images=min(len(dataset), settings.get("limit") or len(dataset)),
        code=provenance.code(), environment=provenance.environment(next(model.parameters()).device),
        wall_seconds=round(time.perf_counter() - started, 2), result=result,
    )  # fmt: skip
    text = json.dumps({"schema": SCHEMA} | dataclasses.asdict(made), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(_path(kind, record.run, record.preset, subject.output), (text + "\n").encode())
    return made


def _is_current(before: Analysis, record: Record, settings: dict[str, Any], overwrite: bool) -> bool:
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
    same_code = before.code.fingerprint == provenance.code_fingerprint(provenance.EVALUATION_CODE)
    same_inputs = (before.checkpoint, before.dataset) == (record.checkpoint.sha256, record.dataset.fingerprint)
    return not changed and same_code and same_inputs


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


def _percent(values: Any) -> Any:
    """Nested lists of fractions (None: undefined) as percent."""
    if isinstance(values, list):
        return [_percent(value) for value in values]
    return None if values is None else 100 * values
