"""The paper's findings as experiments: paired differences between trainings, with intervals and verdicts.

Every difference favours the finding where it is positive.  The smallest effect that matters was chosen before any
number was seen: 0.3 points, a little less than what the authors' log gains by all later steps together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ddp_repro.evaluation.statistics import Decision, Estimate, decide_table, paired_difference
from ddp_repro.papers.ddps.recipes import LABELS, SMALL, Arm
from ddp_repro.papers.ddps.results.measured import Measured, Training
from ddp_repro.workbook.tables.rendering import NOT_RUN, Table
from ddp_repro.workbook.tables.table import measured_title, provenance_frame, table_frame

MINIMUM = 0.3  # percentage points of mIoU or mBIoU
MEASURES = {"miou": "mIoU", "mbiou": "mBIoU"}
MAP_EFFECT = 1.0  # points of mIoU that the true map must be worth over a random one


@dataclass(frozen=True)
class Finding:
    """A statement as a difference between two numbers of the same training seed.

    Attributes:
        arms: whose trainings are needed.
        difference: of those trainings, by measure; None where a score is undefined.
        reads_map: whether it says nothing of a prior that does not read its map.
    """

    statement: str
    arms: tuple[Arm, ...]
    difference: Callable[[tuple[Training, ...], str], float | None]
    reads_map: bool = False


def _minus(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def _relaxed(arm: Arm, noised: str) -> tuple[Finding, Finding]:
    """Finding 3 on one arm of many steps: free re-noising against both posteriors."""
    exact = Finding(
        f"3. Free re-noising is better than the exact posterior, same weights ({noised})", (arm,),
        lambda t, m: _minus(t[0].score(m), t[0].score(m, "strict")), reads_map=True,
    )  # fmt: skip
    released = Finding(
        f"3. Free re-noising is better than the released posterior, same weights ({noised})", (arm,),
        lambda t, m: _minus(t[0].score(m), t[0].score(m, "strict_released")), reads_map=True,
    )  # fmt: skip
    return exact, released


FINDINGS = (
    Finding(
        "A prior of one step improves the segmentor", ("single",),
        lambda t, m: _minus(t[0].score(m), t[0].base(m)),
    ),
    Finding(
        "1. A simple integration is not sufficient: many steps with noise on the ground truth stay behind one step, "
        "trained for as long", ("longer", "truth"),
        lambda t, m: _minus(t[0].score(m), t[1].score(m)),
    ),
    Finding(
        "2. What is noised matters: the first prediction instead of the ground truth is better", ("multi", "truth"),
        lambda t, m: _minus(t[0].score(m), t[1].score(m)),
    ),
    Finding(
        "Many steps on first predictions beat one step, trained for as long", ("multi", "longer"),
        lambda t, m: _minus(t[0].score(m), t[1].score(m)),
    ),
    Finding(
        "The last step is better than the first, same weights", ("multi",),
        lambda t, m: _minus(t[0].score(m), t[0].score(m, last=False)), reads_map=True,
    ),
    *_relaxed("multi", "noise on the first prediction"),
    *_relaxed("truth", "noise on the ground truth"),
)  # fmt: skip


def claims_table(preset: str, output: str | Path = "results") -> Table:
    """Return a row a finding and measure: difference, interval, verdict, and the number of trainings.

    A preset without arms has run none of them.
    """
    measured = Measured.of(preset, output) if preset in SMALL else Measured.none(preset)
    estimates = {
        (finding, measure): estimate
        for finding in FINDINGS
        for measure in MEASURES
        if (estimate := _estimate(finding, measure, measured)) is not None
    }
    keyed = {f"{FINDINGS.index(finding)} {measure}": estimate for (finding, measure), estimate in estimates.items()}
    decisions = decide_table(keyed, MINIMUM) if keyed else {}
    rows = [
        (finding, measure, decisions.get(f"{FINDINGS.index(finding)} {measure}"))
        for finding in FINDINGS
        for measure in MEASURES
    ]
    title = measured_title(preset, measured.dataset, measured.records)
    columns = {
        ("", "Finding"): [finding.statement for finding, _, _ in rows],
        ("", "Measure"): [MEASURES[measure] for _, measure, _ in rows],
        ("Difference (points)", title): [_interval(decision) for _, _, decision in rows],
        ("Trainings", title): [_count(decision) for _, _, decision in rows],
        ("Verdict", title): [_verdict(finding, decision, measured) for finding, _, decision in rows],
    }
    return Table(
        "ddps_claims", f"DDPS: the findings as experiments, {preset} preset", table_frame(columns),
        provenance_frame(measured.records), _notes(measured), prose=True,
    )  # fmt: skip


def _estimate(finding: Finding, measure: str, measured: Measured) -> Estimate | None:
    """The difference over paired trainings; None where there are none, or a score is undefined."""
    differences = [finding.difference(trainings, measure) for trainings in measured.paired(*finding.arms)]
    defined = [value for value in differences if value is not None]
    if not defined or len(defined) < len(differences):
        return None
    return paired_difference(defined, [0.0] * len(defined))


def _interval(decision: Decision | None) -> str:
    if decision is None:
        return NOT_RUN
    interval = decision.raw.interval
    if interval.count < 2:
        return f"{interval.estimate:+.2f} (interval unknown)"
    return f"{interval.estimate:+.2f} ({interval.low:+.2f} to {interval.high:+.2f})"


def _count(decision: Decision | None) -> str:
    return NOT_RUN if decision is None else str(decision.raw.interval.count)


def _verdict(finding: Finding, decision: Decision | None, measured: Measured) -> str:
    if decision is None:
        return NOT_RUN
    if finding.reads_map and (reason := _ignores_map(measured.trainings(finding.arms[0]))):
        return reason
    corrected, raw = decision.corrected.describe(), decision.raw.describe()
    return corrected if decision.corrected.outcome == decision.raw.outcome else f"{corrected} (alone: {raw})"


def _ignores_map(trainings: list[Training]) -> str | None:
    """Why nothing can be said about samplers and steps: the prior makes the same of any map."""
    effects = [training.map_effect() for training in trainings]
    defined = [effect for effect in effects if effect is not None]
    if defined and min(defined) >= MAP_EFFECT:
        return None
    words = ", ".join(f"{effect:+.2f}" for effect in defined) or "undefined"
    return f"not testable: the prior hardly reads its map (true minus random map: {words} mIoU)"


def _notes(measured: Measured) -> tuple[str, ...]:
    two: tuple[Arm, ...] = ("multi", "truth")
    effects: dict[Arm, list[float | None]] = {arm: [t.map_effect() for t in measured.trainings(arm)] for arm in two}
    words = "; ".join(
        f"{LABELS[arm]}: " + (", ".join("undefined" if e is None else f"{e:+.2f}" for e in found) or NOT_RUN)
        for arm, found in effects.items()
    )
    return (
        "A difference is first minus second, of the same training seed, each score the mean over sampling seeds; the "
        "interval is the paired t-interval of 95 % over trainings, alone; the verdict is corrected for all rows by "
        "Holm's method.",
        f'The smallest effect that matters is {MINIMUM} points, chosen beforehand. "equal" means that the interval lies '
        "within it.",
        f"Steps and samplers are testable where the true map is worth at least {MAP_EFFECT:g} point of mIoU over a "
        f"random one at the last step of every training. Here, {words}.",
    )
