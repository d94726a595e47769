"""Made-up depth records, samples and analyses for tests of what is rendered from them."""

import dataclasses
import json

import numpy as np
from workbook.fake_analyses import make_analysis

from ddp_repro.papers.ddp.samples import depth as depth_samples
from ddp_repro.tasks.depth.constant import MEAN_DEPTH
from ddp_repro.tasks.depth.score import DepthScore
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.runs import constant, provenance, records
from ddp_repro.workbook.runs.verdicts import compare, overall

MEASURES = {
    "sq_rel": 0.4, "rmse": 0.7, "rmse_log": 0.2, "log10": 0.06, "silog": 15.0, "delta1": 0.9, "delta2": 0.97,
    "delta3": 0.99,
}  # fmt: skip


def make_depth_record(name="nyu_mini", rel=None, *, images=8, settings=None, **measures):
    """A record as a run would write it; ``rel`` maps steps to one value per seed, other measures are constant."""
    settings = settings or recipe(name)
    rel = rel or {s: [0.2 + k / 100 - s / 1000 for k in (0, 1)] for s in settings.evaluation.steps}
    scores = [
        DepthScore(steps=s, seed=k if settings.model.diffusion else None, rel=v, **MEASURES | measures)
        for s, values in rel.items()
        for k, v in enumerate(values)
    ]
    dataset = records.Dataset(
        name=settings.data.dataset, split=settings.data.eval_split, images=images, split_images=images,
        fingerprint="d" * 64, classes=[], unannotated=1,
    )  # fmt: skip
    comparisons = compare(settings, dataset, scores)
    return records.Record(
        recipe=provenance.public_recipe(settings), scores=scores, dataset=dataset,
        checkpoint=records.Checkpoint(sha256="c" * 64, origin="ddp_repro", file=f"results/{name}/model.safetensors"),
        training=records.Training(iterations=300, wall_seconds=90.0, fingerprint="t" * 64, code_fingerprint="k" * 64),
        code=provenance.Code(commit="a" * 40, dirty=False, fingerprint="f" * 64),
        environment=provenance.environment("cpu"), wall_seconds=12.5, comparisons=comparisons,
        verdict=overall(comparisons),
    )  # fmt: skip


def make_samples(size=(36, 48), count=3, *, sparse=False):
    """What the figures draw: a floor, approached in ten steps."""
    rng = np.random.default_rng(0)
    truth = np.linspace(8, 1, size[0])[:, None] + rng.uniform(0, 0.3, size)
    measured = rng.random(size) < (0.05 if sparse else 0.9)
    coarse = truth[::4, ::4]
    return [
        depth_samples.DepthSample(
            image_id=f"frame {number}", image=rng.integers(0, 256, (*size, 3), dtype=np.uint8),
            truth=np.where(measured, truth, 0).astype(np.float16),
            depths=np.stack([coarse * (1 + 1 / (step + 1)) for step in range(10)]).astype(np.float16),
            spread=rng.uniform(0, 0.5, coarse.shape).astype(np.float16),
        )
        for number in range(count)
    ]  # fmt: skip


def write_samples(folder, samples):
    """Save samples where a run would have put them."""
    arrays = {f"{k}_{n}": getattr(s, k) for n, s in enumerate(samples) for k in ("image", "truth", "depths", "spread")}
    facts = json.dumps({"ids": [sample.image_id for sample in samples]}).encode()
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / depth_samples.FILE, facts=np.frombuffer(facts, dtype=np.uint8), **arrays)


def make_depth_uncertainty(run="nyu_mini", preset="mini"):
    fractions = [i / 50 for i in range(50)]
    curves = {"oracle": [0.2 * (1 - f) for f in fractions], "step_spread": [0.2 - f / 10 for f in fractions]}
    result = {
        "fractions": fractions, "sparsification": curves | {"sample_spread": [0.2 - f / 12 for f in fractions]},
        "correlation": {"step_spread": 0.4, "sample_spread": 0.3},
        "ause": {"step_spread": 0.2, "sample_spread": 0.3, "random": 0.5},
    }  # fmt: skip
    settings = {"steps": 3, "noise_samples": 4, "seed": 0, "limit": None}
    return make_analysis("depth_uncertainty", run, preset, settings=settings, result=result)


def make_mean_depth(rel=0.5, protocol="nyu"):
    return constant.ConstantScore(
        training="t" * 64, dataset="d" * 64, images=8, protocol=protocol,
        code=provenance.Code(commit="a" * 40, dirty=False, fingerprint="f" * 64),
        score=DepthScore(steps=0, seed=None, rel=rel, **MEASURES),
    )  # fmt: skip


def write_mean_depth(folder, scored):
    folder.mkdir(parents=True, exist_ok=True)
    values = {"schema": constant.SCHEMA} | dataclasses.asdict(scored)
    (folder / MEAN_DEPTH.file).write_text(json.dumps(values), encoding="utf-8")
