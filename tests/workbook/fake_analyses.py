"""Made-up analyses for tests of what is rendered from them."""

import dataclasses
import json

from ddp_repro.workbook.runs import provenance
from ddp_repro.workbook.runs.analyses import SCHEMA, Analysis


def make_analysis(kind, run="cityscapes_mini", preset="mini", *, settings, result):
    """An analysis as a run would write it."""
    return Analysis(
        kind=kind, run=run, preset=preset, settings=settings, checkpoint="c" * 64, dataset="d" * 64, images=8,
        code=provenance.Code(commit="a" * 40, dirty=False, fingerprint="f" * 64),
        environment=provenance.environment("cpu"), wall_seconds=1.0, result=result,
    )  # fmt: skip


def make_sweep(run="cityscapes_mini", miou=None, *, preset="mini", zero=None):
    """``miou``: steps -> one value per seed, at td = 1; ``zero`` the same at td = 0."""
    miou = miou or {1: [38.0, 39.0], 2: [40.0, 40.1], 3: [41.0, 41.2], 10: [40.0, 40.1]}
    swept = {1: miou, 0: zero or {}}
    scores = [
        {"time_difference": d, "steps": s, "seed": k, "miou": v, "macc": v + 5, "aacc": v + 30}
        for d, curve in swept.items()
        for s, values in curve.items()
        for k, v in enumerate(values)
    ]
    settings = {"steps": {str(d): list(c) for d, c in swept.items()}, "seeds": [0, 1], "limit": None}
    result = {"scores": scores, "macs": {"encoder": 10**9, "step": 2 * 10**8}}
    return make_analysis("sweep", run, preset, settings=settings, result=result)


def make_drift(run="cityscapes_mini", steps=10):
    curve = [[80.0 + s + k for s in range(steps)] for k in range(2)]
    changed = [[None, *row[1:]] for row in curve]
    result = {"miou": curve, "agreement": curve, "code_similarity": curve, "changed": changed}
    return make_analysis("drift", run, settings={"steps": steps, "seeds": [0, 1], "limit": None}, result=result)


def make_speed(run="cityscapes_mini", steps=(1, 2, 3)):
    rows = [{"steps": s, "images_per_second": 10 / s, "quartiles": [9 / s, 11 / s]} for s in steps]
    result = {"speeds": rows, "conditions": "cpu, 1 threads, float32, batch 1, 128×256, n = 5"}
    return make_analysis("speed", run, settings={"steps": list(steps), "repetitions": 5, "knet": False}, result=result)


def make_uncertainty(run="cityscapes_mini", *, correlation=0.4, std=0.1, auroc=(0.8, 0.85)):
    """``auroc``: of the change count and of every other score."""
    scores = {
        name: _score(correlation, std, auroc[0] if name == "change_count" else auroc[1])
        for name in ("change_count", "entropy", "sample_variance", "disagreement")
    }
    bins = {"pixels": [0, 50, 50], "accuracy": [None, 0.6, 0.9], "confidence": [None, 0.5, 0.95], "ece": 0.075}
    result = {"error_rate": 0.15, "scores": scores, "calibration": {"step_average": bins, "last_step": bins}}
    settings = {"steps": 10, "noise_samples": 4, "seed": 0, "limit": None}
    return make_analysis("uncertainty", run, settings=settings, result=result)


def write_analyses(output, *made):
    """Save analyses where a run would have put them."""
    for each in made:
        path = output / each.preset / "runs" / each.run / f"{each.kind}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"schema": SCHEMA} | dataclasses.asdict(each)), encoding="utf-8")


def _score(correlation, std, auroc):
    dataset = {"auroc": auroc, "aupr": 0.4, "aurc": 0.05, "ause": 0.3, "correlation": correlation}
    per_image = {name: {"mean": value, "std": std, "images": 4} for name, value in dataset.items()}
    curve = {"coverage": [0.5, 1.0], "risk": [0.05, 0.15]}
    return {"dataset": dataset, "per_image": per_image, "risk_coverage": curve}
