"""The paper's claims, stated before any number is seen: what is compared, and which difference would matter."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ddp_repro.evaluation.statistics import Estimate
from ddp_repro.papers.ddp.figures.depth_views import MODELS as DEPTH_MODELS
from ddp_repro.papers.ddp.recipes.depth import room_map
from ddp_repro.papers.ddp.recipes.registry import main_model, recipes
from ddp_repro.papers.ddp.recipes.segmentation import ABLATED, ablation_base, camvid_drift, camvid_gpu
from ddp_repro.papers.ddp.recipes.variants import cells
from ddp_repro.papers.ddp.tables.robustness import MODELS as BEV_MODELS
from ddp_repro.settings.training_seeds import split_seed
from ddp_repro.workbook.claims.claim import Arm, Claim, Comparison, Reading, Side
from ddp_repro.workbook.claims.evidence import Evidence, Key
from ddp_repro.workbook.claims.table import claims_table as table_of
from ddp_repro.workbook.runs.analyses import find_analyses
from ddp_repro.workbook.tables.rendering import NOTHING, Table

# The smallest effects that matter.  The paper's own gains are of 0.3 (more steps) to 2 points of mIoU, and of 0.001 to
# 0.01 REL; two trainings of one recipe differ by a point.
POINTS, REL = 0.3, 0.003
HIGH_CORRELATION, CORRELATION, AUROC = 0.7, 0.05, 0.01  # Pearson's r that is commonly called high


def claims(preset: str) -> list[tuple[Claim, ...]]:
    """Return every claim with the models that it may be judged on, the usual one first.

    Raises:
        ConfigError: no such preset.
    """
    known = recipes(preset)
    questions = [*_segmentation(preset), *_depth(preset), *_bev(preset)]
    possible = [tuple(claim for claim in question if set(claim.recipes) <= known.keys()) for question in questions]
    return [question for question in possible if question]


def claims_table(preset: str, output: str | Path = "results") -> Table:
    """Return every claim with the paper's numbers, ours, and the verdict.

    Raises:
        ConfigError: no such preset.
        RecordError: a record or analysis is damaged.
    """
    return table_of("ddp", claims(preset), evidence_of(preset, output))


def evidence_of(preset: str, output: str | Path = "results") -> Evidence:
    """Return the records and analyses of a preset, and the scores of its sweeps over sampling steps."""
    return Evidence(preset, output, _swept(preset, output))


def _swept(preset: str, output: str | Path) -> dict[Key, list[float]]:
    """Return the mIoU of every sweep; at td = 0, under the name of the recipe that has it."""
    scores: dict[Key, list[float]] = {}
    for sweep in find_analyses("sweep", preset, output):
        name, seed = split_seed(sweep.run)
        for row in sweep.result["scores"]:
            recipe = name + ("" if row["time_difference"] == 1 else f"_td{row['time_difference']}")
            scores.setdefault((recipe, seed or 0, row["steps"], "miou"), []).append(row["miou"])
    return scores


# -- segmentation ------------------------------------------------------------------------------------------------------


def _segmentation(preset: str) -> Iterator[tuple[Claim, ...]]:
    main = main_model(preset)
    if main is None:
        return
    base = ablation_base(preset).name if preset in ABLATED else main
    yield from zip(*map(_sampling, dict.fromkeys((main, base))), strict=True)
    if preset == "camvid":
        yield from ((claim,) for claim in _drift(camvid_drift().name, "_strong", ", at scale 1.0"))
        larger = _sampling(camvid_gpu().name, "_gpu", ", at 360×480")
        yield from ((dataclasses.replace(claim, for_gpu=True),) for claim in larger)
    yield from zip(*map(_uncertainty, (main, base)), strict=True)
    if preset in ABLATED:
        yield from ((claim,) for claim in _ablations(preset))


def _sampling(model: str, key: str = "", where: str = "") -> list[Claim]:
    return [
        _claim(f"baseline{key}", f"diffusion beats the same network without it{where}", "Table 1", "44.9 → 47.0", model,
               Side.of("DDP, 3 steps", model, 3), Side.of("baseline", f"{model}_baseline", 1)),
        _claim(f"steps{key}", f"more steps help: 3 beat 1{where}", "Figure 3a, Table 1", "82.33 → 82.60; 46.1 → 47.0",
               model, Side.of("3 steps", model, 3), Side.of("1 step", model, 1)),
        *_drift(model, key, where),
        _claim(f"intervals{key}", f"asymmetric time intervals help: td = 1 beats 0{where}", "Section 3.3", NOTHING,
               model, Side.of("td = 1", model, 3), Side.of("td = 0", f"{model}_td0", 3)),
    ]  # fmt: skip


def _drift(model: str, key: str = "", where: str = "") -> list[Claim]:
    """Return the claims on sampling drift: a fall from 3 to 10 steps, and a smaller one after self-alignment."""
    fall = _fall("plain", model)
    return [
        _claim(f"drift{key}", f"plain training drifts: 10 steps fall behind 3{where}", "Figure 4", NOTHING, model,
               Side.of("3 steps", model, 3), Side.of("10 steps", model, 10)),
        _claim(f"aligned{key}", f"self-alignment lessens the fall from 3 to 10 steps (same noise, as released){where}",
               "Figure 4", "82.6 at 3 and at 10 steps", model, fall, _fall("aligned", f"{model}_aligned")),
        _claim(f"aligned_fresh{key}", f"self-alignment lessens the fall (fresh noise, as printed){where}",
               "Algorithm 4", NOTHING, model, fall, _fall("aligned", f"{model}_aligned_fresh")),
    ]  # fmt: skip


def _fall(words: str, recipe: str) -> Side:
    return Side(f"fall of {words}", ((1, Arm(recipe, 3)), (-1, Arm(recipe, 10))))


def _ablations(preset: str) -> list[Claim]:
    base = ablation_base(preset)
    parts = (
        ("encoding", "class embedding is the best encoding", "ddp_table5a", "47.0 against 46.2", "embedding", True),
        ("scale", "scale 0.01 is best", "ddp_table5b", "47.0 against 46.8", 0.01, True),
        ("schedule", "the cosine schedule beats the linear one", "ddp_table5c", "47.0 against 45.1", "cosine", True),
        ("layers", "six decoder layers are best", "ddp_table5d", "47.0 against 46.0", 6, False),
    )
    made = []
    for key, statement, table, printed, best, diffusion in parts:
        sides = {value: Side.of(str(value), cell.name, 3) for value, cell in cells(base, table).items()}
        first = sides.pop(best)
        where = f"Table {table.removeprefix('ddp_table')}"
        made.append(_claim(key, statement, where, printed, base.name, first, *sides.values(), diffusion=diffusion))
    return made


def _claim(
    key: str, statement: str, where: str, printed: str, model: str, first: Side, *rivals: Side, diffusion: bool = True,
    metric: str = "miou",
) -> Claim:  # fmt: skip
    return Claim(
        key=key, statement=statement, where=where, printed=printed, model=model, diffusion=diffusion,
        question=Comparison(first, rivals, metric), minimum=REL if metric == "rel" else POINTS,
    )  # fmt: skip


# -- uncertainty -------------------------------------------------------------------------------------------------------


def _uncertainty(model: str) -> list[Claim]:
    return [
        Claim(
            key="changes", statement="label changes are highly positively correlated with errors", where="Figure 3c",
            printed="in words only", model=model, question=Reading("uncertainty", model, _correlation),
            minimum=CORRELATION, diffusion=False,
        ),
        Claim(
            key="entropy", statement="label changes find errors better than the entropy does (our question)",
            where=NOTHING, printed=NOTHING, model=model, question=Reading("uncertainty", model, _against_entropy),
            minimum=AUROC, diffusion=False,
        ),
    ]  # fmt: skip


def _correlation(result: dict[str, Any]) -> tuple[Estimate, str] | None:
    """Read Pearson's r of change count and error over all pixels, above what is called high."""
    score = result["scores"]["change_count"]
    r = score["dataset"]["correlation"]
    if r is None:
        return None
    kind = "high" if r >= HIGH_CORRELATION else "moderate" if r >= 0.3 else "weak" if r > 0 else "negative"
    words = f"r = {r:.2f}: {kind} (called high from {HIGH_CORRELATION}); AUROC {score['dataset']['auroc']:.3f}"
    return _over_images(r - HIGH_CORRELATION, [score["per_image"]["correlation"]]), words


def _against_entropy(result: dict[str, Any]) -> tuple[Estimate, str] | None:
    """Read by how much the change count's AUROC is above the entropy's."""
    scores = [result["scores"][name] for name in ("change_count", "entropy")]
    change, entropy = (score["dataset"]["auroc"] for score in scores)
    if change is None or entropy is None:
        return None
    parts = [score["per_image"]["auroc"] for score in scores]
    return _over_images(change - entropy, parts), f"AUROC {change:.3f} against {entropy:.3f}"


def _over_images(value: float, parts: list[dict[str, Any]]) -> Estimate:
    """Return an estimate whose error follows from the spread of scores over images, as if they were not paired."""
    count = min(part["images"] for part in parts)
    known = count > 1 and all(part["std"] is not None for part in parts)
    error = math.hypot(*(part["std"] / math.sqrt(part["images"]) for part in parts)) if known else math.inf
    return Estimate(
        value=value, error=error, freedom=max(count - 1, 1), count=max(count, 1), unit="images",
        method="spread over images",
    )  # fmt: skip


# -- depth and BEV -----------------------------------------------------------------------------------------------------


def _depth(preset: str) -> Iterator[tuple[Claim, ...]]:
    for models in DEPTH_MODELS.values():
        if preset not in models:
            continue
        main = models[preset]
        names = (main, room_map().name) if preset == "sevenscenes" else (main,)
        end = "" if len(models) == 1 or preset not in ("mini", "paper") else f"_{main.partition('_')[0]}"
        yield from zip(*(_depth_sampling(name, end) for name in names), strict=True)


def _depth_sampling(model: str, end: str) -> list[Claim]:
    where = f" ({model.partition('_')[0]})" if end else ""
    three, one = Side.of("3 steps", model, 3), Side.of("1 step", model, 1)
    return [
        _claim(f"depth_baseline{end}", f"depth: diffusion beats the same network without it{where}", "our question",
               NOTHING, model, Side.of("DDP, 3 steps", model, 3), Side.of("baseline", f"{model}_baseline", 1),
               metric="rel"),
        _claim(f"depth_steps{end}", f"depth: more steps help, 3 beat 1{where}", "Tables 4, 6, 7 use 3", NOTHING, model,
               three, one, metric="rel"),
    ]  # fmt: skip


def _bev(preset: str) -> Iterator[tuple[Claim, ...]]:
    if preset not in BEV_MODELS:
        return
    camera, fusion = BEV_MODELS[preset]
    parts = (("camera", "BEV, cameras", camera, "59.3 → 59.4"),
             ("fusion", "BEV, cameras and LiDAR", fusion, "70.3 → 70.6"))  # fmt: skip
    for key, name, model, printed in parts:
        yield (_claim(f"bev_steps_{key}", f"{name}: more steps help, 3 beat 1", "Table 3", printed, model,
                      Side.of("3 steps", model, 3), Side.of("1 step", model, 1)),)  # fmt: skip
    both, cameras = Side.of("cameras and LiDAR", fusion, 3), Side.of("cameras", camera, 3)
    yield (_claim("lidar", "BEV: LiDAR helps", "Table 3", "59.4 → 70.6", fusion, both, cameras, diffusion=False),)
