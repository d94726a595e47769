"""Does what the paper claims hold here?  One verdict a claim, by rules that are fixed before the numbers are seen.

A difference d (mIoU points) with standard deviation s supports a claim if d - 2 s > 0 and d >= 0.1, the last digit that
the paper prints; it speaks against it if d + 2 s < 0.1; otherwise the runs are inconclusive.  Where d is between
sampling settings of the same weights, s is over sampling seeds, or over trainings if there are several.  Where d is
between trainings, s is their spread, and with a single training a side, whose spread is unknown, 1 point is assumed.
The spread over images is in none of these.  Depth is judged by REL in the same way: 0.001 is the printed digit, and
0.01 the spread that is assumed.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddp_repro.papers.ddp.figures.depth_views import MODELS as DEPTH_MODELS
from ddp_repro.papers.ddp.figures.figure4 import curve
from ddp_repro.papers.ddp.recipes.registry import main_model
from ddp_repro.papers.ddp.recipes.segmentation import ablation_base
from ddp_repro.papers.ddp.recipes.variants import cells
from ddp_repro.papers.ddp.tables.ablations import means, trainings
from ddp_repro.papers.ddp.tables.robustness import MODELS as BEV_MODELS
from ddp_repro.workbook.runs.analyses import Analysis, find_analyses
from ddp_repro.workbook.runs.records import Record, find_records
from ddp_repro.workbook.runs.rules import (
    HIGH_CORRELATION,
    PRINTED_DIGIT,
    RULES,
    Finding,
    analysis_of,
    describe_map_use,
    judge_correlation,
    judge_difference,
    judge_map_use,
    says,
)
from ddp_repro.workbook.tables.rendering import NOT_RUN, NOTHING, Table
from ddp_repro.workbook.tables.table import measured_title, provenance_frame, table_frame

ASSUMED_SPREAD = 1.0  # mIoU points from training to training, where it was not measured
DEPTH_DIGIT, DEPTH_SPREAD = 0.001, 0.01  # the same of REL


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Attributes:
        where: the place in the paper; printed: its own numbers.
        judge: from what was measured to a finding.
        trained: whether it compares the trainings of Table 5 rather than samplings of one model.
        diffusion: whether it is about the diffusion, and so says nothing of a model that ignores its map.
    """

    statement: str
    where: str
    printed: str
    judge: Callable[[Measured], Finding]
    trained: bool = False
    diffusion: bool = True


@dataclass(frozen=True)
class Measured:
    """All that a preset has measured: records by recipe (all training seeds), analyses by run."""

    preset: str
    model: str  # whose sampling is judged
    records: dict[str, list[Record]]
    sweeps: dict[str, Analysis]
    uncertainties: dict[str, Analysis]
    map_uses: dict[str, Analysis]

    @classmethod
    def of(cls, preset: str, output: str | Path, model: str) -> Measured:
        """Read what lies in ``<output>/<preset>``, with the sampling of ``model`` to be judged."""
        records = trainings(find_records(preset, output))
        analyses = ({a.run: a for a in find_analyses(k, preset, output)} for k in ("sweep", "uncertainty", "map_use"))
        return cls(preset, model, records, *analyses)


_NOT_RUN = Finding("not run", NOT_RUN)


def more_steps_help(measured: Measured) -> Finding:
    """Three steps against one, same weights."""
    return _steps_differ(measured, measured.model, 3, 1)


def plain_training_drifts(measured: Measured) -> Finding:
    """Three steps against ten, same plain weights: drift makes ten the worse."""
    return _steps_differ(measured, measured.model, 3, 10)


def alignment_removes_drift(measured: Measured, suffix: str) -> Finding:
    """Fall from three to ten steps: plain minus self-aligned, seed by seed; without a fall there is none to remove."""
    plain, other = (_fall(measured, measured.model + end) for end in ("", suffix))
    if not plain or not other:
        return _NOT_RUN
    gains = [p - o for p, o in zip(plain, other, strict=False)]
    drift, left = statistics.fmean(plain), statistics.fmean(other)
    images = measured.sweeps[measured.model].images
    words = f"fall from 3 to 10 steps: plain {drift:.2f}, aligned {left:.2f} ({len(gains)} seeds, {images} images)"
    if drift < PRINTED_DIGIT:
        return Finding("inconclusive", f"{words}; no drift to remove")
    return Finding(judge_difference(statistics.fmean(gains), _deviation(gains)), words)


def diffusion_beats_baseline(measured: Measured) -> Finding:
    """Three steps against the non-diffusion baseline: two trainings."""
    ours = means(measured.records.get(measured.model, []))
    baseline = means(measured.records.get(f"{measured.model}_baseline", []), steps=1)
    return _trainings_differ(ours, baseline, "DDP, 3 steps", "baseline")


def asymmetric_intervals_help(measured: Measured) -> Finding:
    """Compare the official time difference 1 with 0, at three steps of the same weights."""
    sweep = measured.sweeps.get(measured.model)
    if sweep is None:
        return _NOT_RUN
    one, zero = (curve(sweep, difference).get(3) for difference in (1, 0))
    over = f"seeds, {sweep.images} images"
    return _paired(one, zero, "td = 1", "td = 0", over) if one and zero else _NOT_RUN


def change_count_is_correlated(measured: Measured) -> Finding:
    """Pearson's correlation of change count and error over all pixels, with its standard error over images."""
    found = _uncertainty_scores(measured)
    if not found or found["change_count"]["dataset"]["correlation"] is None:
        return _NOT_RUN
    score = found["change_count"]
    r, images = score["dataset"]["correlation"], score["per_image"]["correlation"]
    error = (images["std"] or 0.0) / math.sqrt(max(images["images"], 1))
    kind = "high" if r >= HIGH_CORRELATION else "moderate" if r >= 0.3 else "weak" if r > 0 else "negative"
    words = f"r = {r:.2f} ± {error:.2f} (standard error over images): {kind}; AUROC {score['dataset']['auroc']:.3f}"
    return Finding(judge_correlation(r, error), words)


def change_count_equals_entropy(measured: Measured) -> Finding:
    """Not the paper's claim, but what a user would ask: is the change count as good a detector as the entropy?"""
    found = _uncertainty_scores(measured)
    if not found or found["change_count"]["dataset"]["auroc"] is None:
        return _NOT_RUN
    change, entropy = (found[name]["dataset"]["auroc"] for name in ("change_count", "entropy"))
    spreads = [found[name]["per_image"]["auroc"] for name in ("change_count", "entropy")]
    error = math.hypot(*((s["std"] or 0.0) / math.sqrt(max(s["images"], 1)) for s in spreads))
    behind = entropy - change
    verdict = "not supported" if behind > 2 * error else "supported" if behind <= 0 else "inconclusive"
    return Finding(verdict, f"AUROC {change:.3f} against {entropy:.3f} (standard error {error:.3f})")


def best_of_table(measured: Measured, table: str, value: Any) -> Finding:
    """Compare the cell of ``value`` with the best other one: different trainings."""
    found = {
        v: means(measured.records.get(c.name, [])) for v, c in cells(ablation_base(measured.preset), table).items()
    }
    others = {v: scores for v, scores in found.items() if v != value and scores}
    if not found.get(value) or len(others) < len(found) - 1:
        return _NOT_RUN
    rival = max(others, key=lambda v: statistics.fmean(others[v]))
    return _trainings_differ(found[value], others[rival], str(value), f"best other, {rival}")


CLAIMS: tuple[Claim, ...] = (
    Claim("diffusion beats the same network without it", "Table 1", "44.9 → 47.0", diffusion_beats_baseline),
    Claim("more steps help: 3 beat 1", "Figure 3a, Table 1", "82.33 → 82.60; 46.1 → 47.0", more_steps_help),
    Claim("plain training drifts: 10 steps fall behind 3", "Figure 4", NOTHING, plain_training_drifts),
    Claim(
        "self-alignment removes the drift (same noise, as released)", "Figure 4", "82.6 at 3 and at 10 steps",
        lambda m: alignment_removes_drift(m, "_aligned"),
    ),
    Claim(
        "self-alignment removes the drift (fresh noise, as printed)", "Algorithm 4", NOTHING,
        lambda m: alignment_removes_drift(m, "_aligned_fresh"),
    ),
    Claim("asymmetric time intervals help: td = 1 beats 0", "Section 3.3", NOTHING, asymmetric_intervals_help),
    Claim(
        "label changes are highly positively correlated with errors", "Figure 3c", "in words only",
        change_count_is_correlated, diffusion=False,
    ),
    Claim(
        "label changes find errors as well as the entropy does (our question)", NOTHING, NOTHING,
        change_count_equals_entropy, diffusion=False,
    ),
    Claim(
        "class embedding is the best encoding", "Table 5a", "47.0 against 46.2",
        lambda m: best_of_table(m, "ddp_table5a", "embedding"), trained=True,
    ),
    Claim(
        "scale 0.01 is best", "Table 5b", "47.0 against 46.8",
        lambda m: best_of_table(m, "ddp_table5b", 0.01), trained=True,
    ),
    Claim(
        "the cosine schedule beats the linear one", "Table 5c", "47.0 against 45.1",
        lambda m: best_of_table(m, "ddp_table5c", "cosine"), trained=True,
    ),
    Claim(
        "six decoder layers are best", "Table 5d", "47.0 against 46.0",
        lambda m: best_of_table(m, "ddp_table5d", 6), trained=True, diffusion=False,
    ),
)  # fmt: skip


def depth_steps_help(measured: Measured) -> Finding:
    """Depth: REL of three steps against one, same weights."""
    records = measured.records.get(measured.model, [])
    three, one = (means(records, "rel", steps) for steps in (3, 1))
    if not three or not one:
        return _NOT_RUN
    if len(records) == 1:  # over sampling seeds then
        three, one = (records[0].values(steps, "rel") for steps in (3, 1))
    over = "trainings" if len(records) > 1 else "seeds"
    gains = [a - b for a, b in zip(one, three, strict=True)]
    return _depth_finding(one, three, ("1 step", "3 steps"), _deviation(gains, DEPTH_SPREAD), f"{len(gains)} {over}")


def depth_beats_baseline(measured: Measured) -> Finding:
    """Depth: REL of three steps against the non-diffusion baseline, two trainings."""
    ours = means(measured.records.get(measured.model, []), "rel", 3)
    baseline = means(measured.records.get(f"{measured.model}_baseline", []), "rel", 1)
    if not ours or not baseline:
        return _NOT_RUN
    single = len(ours) < 2 or len(baseline) < 2
    deviation = DEPTH_SPREAD if single else math.hypot(statistics.stdev(ours), statistics.stdev(baseline))
    source = "assumed" if single else f"{len(baseline)} and {len(ours)} trainings"
    return _depth_finding(baseline, ours, ("baseline", "DDP, 3 steps"), deviation, source)


def _depth_finding(
    worse: Sequence[float], better: Sequence[float], words: tuple[str, str], deviation: float, source: str
) -> Finding:
    before, after = statistics.fmean(worse), statistics.fmean(better)
    numbers = f"REL {words[0]}: {before:.4f}, {words[1]}: {after:.4f}"
    text = f"{numbers}; d = {before - after:+.4f} ± {deviation:.4f} ({source})"
    return Finding(judge_difference(before - after, deviation, DEPTH_DIGIT), text)


DEPTH_CLAIMS: tuple[Claim, ...] = (
    Claim("depth: diffusion beats the same network without it", "our question", NOTHING, depth_beats_baseline),
    Claim("depth: more steps help, 3 beat 1", "Tables 4, 6, 7 use 3", NOTHING, depth_steps_help),
)


def lidar_helps(measured: Measured) -> Finding:
    """BEV: three steps with cameras and LiDAR against cameras alone, two trainings."""
    camera, fusion = BEV_MODELS[measured.preset]
    both, cameras = (means(measured.records.get(name, []), steps=3) for name in (fusion, camera))
    return _trainings_differ(both, cameras, "cameras and LiDAR", "cameras")


BEV_CLAIMS: tuple[tuple[Claim, ...], ...] = (  # of the model with cameras alone, and of the other
    (Claim("BEV, cameras: more steps help, 3 beat 1", "Table 3", "59.3 → 59.4", more_steps_help),),
    (
        Claim("BEV, cameras and LiDAR: more steps help, 3 beat 1", "Table 3", "70.3 → 70.6", more_steps_help),
        Claim("BEV: LiDAR helps", "Table 3", "59.4 → 70.6", lidar_helps, diffusion=False),
    ),
)


def claims_table(preset: str, output: str | Path = "results") -> Table:
    """Every claim with the paper's numbers, ours, and the verdict.

    Sampling is judged on the preset's main model, or on the small one of the ablations where that has more to say: a
    result at all, or more trainings.

    Raises:
        ConfigError: no such preset.
        RecordError: a record or analysis is damaged.
    """
    rows = [(claim, *_best(claim, candidates)) for claim, candidates in _questions(preset, output)]
    used = _used_records([measured for _, measured, _ in rows])
    title = measured_title(preset, "", used) if used else f"measured ({preset})"
    columns = {
        ("", "Claim"): [claim.statement for claim, _, _ in rows],
        ("", "Where"): [claim.where for claim, _, _ in rows],
        ("Numbers", "paper"): [claim.printed for claim, _, _ in rows],
        ("Numbers", title): [finding.evidence for _, _, finding in rows],
        ("Verdict", "at this scale"): [finding.verdict for _, _, finding in rows],
        ("", "Model"): [ablation_base(preset).name if c.trained else m.model for c, m, _ in rows],
    }
    notes = (
        "Rule: a difference d of mIoU with standard deviation s supports a claim if d - 2 s > 0 and d ≥ "
        f"{PRINTED_DIGIT}; it does not if d + 2 s < {PRINTED_DIGIT}; else the runs are inconclusive. s is over "
        "sampling seeds of one set of weights, or over trainings where there are several; between single trainings "
        f"s = {ASSUMED_SPREAD} is assumed. The spread over images is not in s. For depth, d is of REL, with "
        f"{DEPTH_DIGIT} and {DEPTH_SPREAD} in their places.",
        *RULES,
        "A verdict holds for the named model and data; only the paper preset speaks about the paper's own numbers.",
    )
    return Table("ddp_claims", f"The paper's claims under the {preset} preset", table_frame(columns),
                 provenance_frame(used), notes, prose=True)  # fmt: skip


def _questions(preset: str, output: str | Path) -> list[tuple[Claim, list[Measured]]]:
    """Each claim with the models that it may be judged on, the usual one first."""
    main, asked = main_model(preset), []
    if main is not None:
        candidates = [Measured.of(preset, output, model) for model in (main, ablation_base(preset).name)]
        asked += [(claim, candidates) for claim in CLAIMS]
    for models in DEPTH_MODELS.values():
        if preset in models:
            asked += [(claim, [Measured.of(preset, output, models[preset])]) for claim in DEPTH_CLAIMS]
    for model, questions in zip(BEV_MODELS.get(preset, ()), BEV_CLAIMS, strict=False):
        asked += [(claim, [Measured.of(preset, output, model)]) for claim in questions]
    return asked


def _best(claim: Claim, candidates: list[Measured]) -> tuple[Measured, Finding]:
    judged = [(measured, _tested(claim, measured)) for measured in candidates]
    return max(judged, key=lambda pair: (says(pair[1].verdict), len(pair[0].records.get(pair[0].model, []))))


def _tested(claim: Claim, measured: Measured) -> Finding:
    """Judge a claim, unless it is about diffusion and the model does not read its map."""
    finding = claim.judge(measured)
    run = ablation_base(measured.preset).name if claim.trained else measured.model
    map_use = analysis_of(measured.records.get(run, []), measured.map_uses.get(run))
    reason = judge_map_use(map_use) if claim.diffusion and finding.verdict != "not run" else None
    return Finding(reason, f"{finding.evidence}; {describe_map_use(map_use)}") if reason else finding


def _used_records(judged: list[Measured]) -> list[Record]:
    if not judged:  # a preset that no claim of the paper is about
        return []
    ends = ("", "_baseline", "_aligned", "_aligned_fresh")
    names = dict.fromkeys(measured.model + end for measured in judged for end in ends)
    first = judged[0]
    if main_model(first.preset) is not None:
        base = ablation_base(first.preset)
        tables = ("ddp_table5a", "ddp_table5b", "ddp_table5c", "ddp_table5d")
        names |= dict.fromkeys(cell.name for table in tables for cell in cells(base, table).values())
    return [record for name in names for record in first.records.get(name, [])]


def _steps_differ(measured: Measured, run: str, better: int, worse: int) -> Finding:
    """Two numbers of steps of the same weights: over trainings if there are several, else over sampling seeds."""
    sweep, records = measured.sweeps.get(run), measured.records.get(run, [])
    first, second = (means(records, steps=steps) for steps in (better, worse))
    words = [f"{n} step{'s' if n > 1 else ''}" for n in (better, worse)]
    if len(records) > 1 and len(first) == len(second) == len(records):
        return _paired(first, second, *words, over="trainings")
    if records and {better, worse} <= set(records[0].steps):  # over all images, where a sweep may have fewer
        scores, images = {n: records[0].values(n) for n in (better, worse)}, records[0].dataset.images
    elif sweep:
        scores, images = curve(sweep), sweep.images
    else:
        return _NOT_RUN
    if better not in scores or worse not in scores:
        return _NOT_RUN
    return _paired(scores[better], scores[worse], *words, over=f"seeds, {images} images")


def _fall(measured: Measured, run: str) -> list[float]:
    """mIoU at three steps minus at ten, of each sampling seed."""
    sweep = measured.sweeps.get(run)
    scores = curve(sweep) if sweep else {}
    return [a - b for a, b in zip(scores[3], scores[10], strict=True)] if {3, 10} <= set(scores) else []


def _paired(first: Sequence[float], second: Sequence[float], one: str, other: str, over: str) -> Finding:
    differences = [a - b for a, b in zip(first, second, strict=True)]
    mean, deviation = statistics.fmean(differences), _deviation(differences)
    words = (
        f"{one}: {statistics.fmean(first):.2f}, {other}: {statistics.fmean(second):.2f}; "
        f"d = {mean:+.2f} ± {deviation:.2f} ({len(differences)} {over})"
    )
    return Finding(judge_difference(mean, deviation), words)


def _trainings_differ(first: Sequence[float], second: Sequence[float], one: str, other: str) -> Finding:
    if not first or not second:
        return _NOT_RUN
    mean = statistics.fmean(first) - statistics.fmean(second)
    single = len(first) < 2 or len(second) < 2
    deviation = ASSUMED_SPREAD if single else math.hypot(statistics.stdev(first), statistics.stdev(second))
    source = "assumed" if single else f"{len(first)} and {len(second)} trainings"
    words = (
        f"{one}: {statistics.fmean(first):.2f}, {other}: {statistics.fmean(second):.2f}; "
        f"d = {mean:+.2f} ± {deviation:.2f} ({source})"
    )
    return Finding(judge_difference(mean, deviation), words)


def _uncertainty_scores(measured: Measured) -> dict[str, Any] | None:
    found = measured.uncertainties.get(measured.model)
    return found.result["scores"] if found else None


def _deviation(values: Sequence[float], assumed: float = ASSUMED_SPREAD) -> float:
    """Sample standard deviation; of a single value it is unknown, so nothing can be concluded."""
    return statistics.stdev(values) if len(values) > 1 else assumed
