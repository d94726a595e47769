"""What is measured on a DDP model beyond its scores; each is kept beside the run's record."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ddp_repro.costs.timing import knet_candidate, measure_speed
from ddp_repro.data.dataset import PairDataset
from ddp_repro.data.transforms import size_of
from ddp_repro.evaluation.evaluate import evaluate_model
from ddp_repro.papers.ddp.costs.candidates import ddp_candidates
from ddp_repro.papers.ddp.costs.complexity import complexity
from ddp_repro.papers.ddp.diagnostics.drift import evaluate_drift
from ddp_repro.papers.ddp.diagnostics.gain import evaluate_gain
from ddp_repro.papers.ddp.diagnostics.map_use import evaluate_map_use
from ddp_repro.papers.ddp.model import DDP
from ddp_repro.papers.ddp.samples import segmentation as trajectories
from ddp_repro.papers.ddp.segmentation import SegmentationDDP
from ddp_repro.papers.ddp.settings import picture_settings
from ddp_repro.protocols.method import Method
from ddp_repro.settings.recipe import EvalConfig
from ddp_repro.store.paths import run_folder
from ddp_repro.tasks.bev.evaluate import evaluate_bev, failures
from ddp_repro.tasks.bev.uncertainty import evaluate_bev_uncertainty
from ddp_repro.tasks.depth.dataset import DepthDataset
from ddp_repro.tasks.depth.protocols import protocol_named
from ddp_repro.tasks.depth.uncertainty import evaluate_depth_uncertainty
from ddp_repro.tasks.segmentation.dataset import SegmentationDataset
from ddp_repro.tasks.segmentation.uncertainty import evaluate_uncertainty
from ddp_repro.workbook.runs.analyses import Analysis, Subject, analyse

if TYPE_CHECKING:
    from ddp_repro.tasks.bev.dataset import NuScenesBEV


def sweep(
    subject: Subject, *, steps: Sequence[int], seeds: Sequence[int], time_differences: Sequence[int] = (),
    time_difference_steps: Sequence[int] = (2, 3, 5, 10), limit: int | None = None,
) -> Analysis:  # fmt: skip
    """mIoU, mAcc and aAcc at many numbers of sampling steps (Figure 3a), with several time differences ``td``.

    Other differences than the model's own are measured at ``time_difference_steps`` (one step has no difference).
    The result's ``macs`` are those of the encoder and of one step, for the size of the evaluation images.
    """
    own = picture_settings(subject.recipe).time_difference
    differences = [own, *(d for d in time_differences if d != own)]
    counts = {d: tuple(steps if d == own else time_difference_steps) for d in differences}
    settings = {"steps": {str(d): list(c) for d, c in counts.items()}, "seeds": list(seeds), "limit": limit}

    def work(model: Method, dataset: SegmentationDataset) -> dict[str, Any]:
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
        cost = complexity(picture_settings(base), usual_size(dataset))
        return {"scores": scores, "macs": {"encoder": cost.encoder.total, "step": cost.step.total}}

    return analyse("sweep", subject, settings, work)


def drift(subject: Subject, *, steps: int, seeds: Sequence[int], limit: int | None = None) -> Analysis:
    """Measure what happens from step to step of a sampling run (:mod:`ddp_repro.papers.ddp.diagnostics.drift`)."""

    def work(model: SegmentationDDP, dataset: SegmentationDataset) -> dict[str, Any]:
        found = evaluate_drift(
            model, dataset, steps=steps, seeds=tuple(seeds), limit=limit, progress=subject.progress
        ).to_dict()
        return {name: _percent(found[name]) for name in ("miou", "agreement", "code_similarity", "changed")}

    return analyse("drift", subject, {"steps": steps, "seeds": list(seeds), "limit": limit}, work)


def uncertainty(
    subject: Subject, *, steps: int, noise_samples: int, seed: int = 0, limit: int | None = None
) -> Analysis:
    """How well uncertainty finds errors (:func:`ddp_repro.tasks.segmentation.uncertainty.evaluate_uncertainty`)."""
    settings = {"steps": steps, "noise_samples": noise_samples, "seed": seed, "limit": limit}

    def work(model: Method, dataset: SegmentationDataset) -> dict[str, Any]:
        found = evaluate_uncertainty(model, dataset, **settings, progress=subject.progress).to_dict()
        return {name: found[name] for name in ("error_rate", "scores", "calibration")}

    return analyse("uncertainty", subject, settings, work)


def bev_uncertainty(
    subject: Subject, *, steps: int, noise_samples: int, seed: int = 0, limit: int | None = None
) -> Analysis:
    """How well uncertainty finds wrong cells (:func:`ddp_repro.tasks.bev.uncertainty.evaluate_bev_uncertainty`)."""
    settings = {"steps": steps, "noise_samples": noise_samples, "seed": seed, "limit": limit}

    def work(model: Method, dataset: NuScenesBEV) -> dict[str, Any]:
        found = evaluate_bev_uncertainty(model, dataset, **settings, progress=subject.progress).to_dict()
        return {name: found[name] for name in ("error_rate", "scores", "calibration")}

    return analyse("bev_uncertainty", subject, settings, work)


def depth_uncertainty(
    subject: Subject, *, steps: int, noise_samples: int, seed: int = 0, limit: int | None = None
) -> Analysis:
    """How well the depth's spread finds errors (:mod:`ddp_repro.tasks.depth.uncertainty`)."""
    settings = {"steps": steps, "noise_samples": noise_samples, "seed": seed, "limit": limit}
    protocol = protocol_named(subject.recipe.evaluation.protocol)

    def work(model: Method, dataset: DepthDataset) -> dict[str, Any]:
        found = evaluate_depth_uncertainty(model, dataset, protocol, **settings, progress=subject.progress).to_dict()
        names = ("fractions", "correlation", "sparsification", "ause", "advantage", "calibration")
        return {name: found[name] for name in names}

    return analyse("depth_uncertainty", subject, settings, work)


def speed(subject: Subject, *, steps: Sequence[int], repetitions: int, knet: bool = False) -> Analysis:
    """Images per second at the size of the evaluation images, one image at a time, on this machine (Table 5e).

    Args:
        knet: also time K-Net (Swin-T), the paper's comparison, through mmsegmentation.
    """
    settings = {"steps": list(steps), "repetitions": repetitions, "knet": knet}

    def work(model: Method, dataset: SegmentationDataset) -> dict[str, Any]:
        base, device = subject.recipe, next(model.parameters()).device
        candidates = ddp_candidates(picture_settings(base), steps, device) | (knet_candidate(device) if knet else {})
        found = measure_speed(
            candidates, usual_size(dataset), device=device, repetitions=repetitions, progress=subject.progress
        )
        numbers = [*steps, *([None] if knet else [])]
        rows = [{"steps": n, **dataclasses.asdict(f)} for n, f in zip(numbers, found, strict=True)]
        return {"speeds": rows, "conditions": found[0].conditions}

    return analyse("speed", subject, settings, work)


def sampled_images(subject: Subject, *, images: int) -> Analysis:
    """Save sampling trajectories of the ``images`` pictures with the most classes, for Figures 5 and 6.

    The result's ``files`` lie beside the record; :func:`ddp_repro.papers.ddp.samples.segmentation.load_trajectory`
    reads them.
    """
    record = subject.record
    folder = run_folder(subject.output, record.preset, record.run)

    def work(model: Method, dataset: SegmentationDataset) -> dict[str, Any]:
        files = [f"trajectory_{number}.npz" for number in range(images)]
        chosen = trajectories.richest_images(dataset, images, subject.recipe.evaluation.limit)
        for file, index in zip(files, chosen, strict=False):
            trajectories.save_one(model, dataset, index, record.seeds[0], folder / file)
        return {"files": files[: len(chosen)], "ids": [dataset.ids[index] for index in chosen]}

    return analyse("trajectories", subject, {"images": images}, work)


def robustness(subject: Subject, *, steps: int, seeds: Sequence[int], limit: int | None = None) -> Analysis:
    """BEV segmentation with whole sensors, each camera black in turn, and the LiDAR thinned or absent."""

    def work(model: Method, dataset: NuScenesBEV) -> dict[str, Any]:
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

    return analyse("robustness", subject, {"steps": steps, "seeds": list(seeds), "limit": limit}, work)


def map_use(
    subject: Subject, *, steps: int = 3, seeds: Sequence[int] = (0, 1, 2), limit: int | None = None
) -> Analysis:
    """Measure whether the model reads its map, at each step (:mod:`ddp_repro.papers.ddp.diagnostics.map_use`).

    mIoU and its effects in percent, REL as it is.  ``effect`` is that of the last step, on which claims rest.
    """
    recipe = subject.recipe
    protocol = protocol_named(recipe.evaluation.protocol) if recipe.model.task == "depth" else None

    def work(model: DDP, dataset: Any) -> dict[str, Any]:
        found = evaluate_map_use(
            model, dataset, steps=steps, seeds=tuple(seeds), protocol=protocol, limit=limit, progress=subject.progress
        )
        rows = found.to_dict(per_image=False, factor=1.0 if found.measure == "rel" else 100.0)
        return {name: rows[name] for name in ("measure", "steps", "effect")}

    return analyse("map_use", subject, {"steps": steps, "seeds": list(seeds), "limit": limit}, work)


def gain(
    subject: Subject,
    *,
    steps: Sequence[int] = (1, 2, 3, 5, 10),
    seeds: Sequence[int] = (0, 1),
    limit: int | None = None,
) -> Analysis:  # fmt: skip
    """Measure what more steps add, and what of it is the map's (:mod:`ddp_repro.papers.ddp.diagnostics.gain`).

    mIoU and its gains in percent, REL as it is.
    """
    recipe = subject.recipe
    protocol = protocol_named(recipe.evaluation.protocol) if recipe.model.task == "depth" else None

    def work(model: DDP, dataset: Any) -> dict[str, Any]:
        return evaluate_gain(
            model, dataset, steps=tuple(steps), seeds=tuple(seeds), protocol=protocol, limit=limit,
            progress=subject.progress,
        ).to_dict()  # fmt: skip

    return analyse("gain", subject, {"steps": list(steps), "seeds": list(seeds), "limit": limit}, work)


def usual_size(dataset: PairDataset) -> tuple[int, int]:
    """Return (height, width) that costs are counted at: the bound of the images' sides, or the first image's own."""
    if dataset.data.image_scale is None:
        return size_of(dataset.load(0)[0])
    return min(dataset.data.image_scale), max(dataset.data.image_scale)


def _percent(values: Any) -> Any:
    """Nested lists of fractions (None: undefined) as percent."""
    if isinstance(values, list):
        return [_percent(value) for value in values]
    return None if values is None else 100 * values
