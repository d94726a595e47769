"""What is measured on a finished DDPS training beyond its scores; each is kept beside the run's record."""

from __future__ import annotations

from ddp_repro.papers.ddps.model import DDPS

from ddp_repro.papers.ddps.settings import settings_of

import dataclasses
from collections.abc import Sequence
from typing import Any

from torch import nn

from ddp_repro.costs.timing import measure_speed
from ddp_repro.diffusion.discrete import SamplerName
from ddp_repro.papers.ddps.results.costs import candidates, complexity
from ddp_repro.papers.ddps.results.curves import evaluate_curves
from ddp_repro.papers.ddps.results.map_use import evaluate_map_use
from ddp_repro.workbook.runs.analyses import Analysis, Subject, analyse
from ddp_repro.workbook.tables.counts import evaluation_size

SAMPLERS: tuple[SamplerName, ...] = ("free", "strict", "strict_released")


def samplers(subject: Subject, *, steps: int, seeds: Sequence[int], limit: int | None = None) -> Analysis:
    """Score the segmentor, and each step of a run of n = ``steps`` with each sampler; MACs of segmentor and step.

    A model of one step has one sampler and one step, whatever is asked for.
    """
    config = settings_of(subject.recipe)
    names = SAMPLERS if config.levels > 1 else SAMPLERS[:1]
    settings = {"steps": min(steps, config.levels), "seeds": list(seeds), "limit": limit}

    def work(model: DDPS, dataset: Any) -> dict[str, Any]:
        options = {**settings, "samplers": names, "progress": subject.progress}
        found = evaluate_curves(model, dataset, **options).to_dict()
        cost = complexity(config, evaluation_size(subject.recipe))
        return found | {"macs": {"segmentor": cost.segmentor.total, "step": cost.step.total}}

    return analyse("samplers", subject, settings, work)


def speed(subject: Subject, *, steps: Sequence[int], repetitions: int) -> Analysis:
    """Time the segmentor alone, one step, and refinement in n steps, one image at a time, on this machine."""
    settings = {"steps": list(steps), "repetitions": repetitions}

    def work(model: DDPS, dataset: Any) -> dict[str, Any]:
        size, device = evaluation_size(subject.recipe), next(model.parameters()).device
        runs = {len(run): run for run in ([0], *(model.steps_of(n) for n in steps))}  # by calls: n may be asked for twice
        timed = measure_speed(
            candidates(model, list(runs.values())), size, device=device, repetitions=repetitions, progress=subject.progress
        )
        visited = [0, *runs]
        rows = [{"visited": n, **dataclasses.asdict(each)} for n, each in zip(visited, timed, strict=True)]
        return {"speeds": rows, "conditions": timed[0].conditions}

    return analyse("speed", subject, settings, work)


def map_use(
    subject: Subject, *, steps: int = 3, seeds: Sequence[int] = (0, 1, 2), limit: int | None = None
) -> Analysis:
    """Measure whether the prior reads its map, at each visited step
    (:func:`ddp_repro.papers.ddps.results.map_use.evaluate_map_use`), in percent of mIoU.

    ``effect`` is that of the last step, on which claims rest.
    """

    def work(model: DDPS, dataset: Any) -> dict[str, Any]:
        options = {"steps": steps, "seeds": tuple(seeds), "limit": limit, "progress": subject.progress}
        rows = evaluate_map_use(model, dataset, **options).to_dict(per_image=False, factor=100.0)
        return {name: rows[name] for name in ("measure", "steps", "effect")}

    return analyse("map_use", subject, {"steps": steps, "seeds": list(seeds), "limit": limit}, work)
