"""The table of a paper's claims with their verdicts."""

from __future__ import annotations

from collections.abc import Sequence

from ddp_repro.evaluation.statistics import LEVEL
from ddp_repro.workbook.claims.claim import Claim, Comparison
from ddp_repro.workbook.claims.evidence import Evidence
from ddp_repro.workbook.claims.gate import RULE
from ddp_repro.workbook.claims.judge import Judged, describe_interval, judge
from ddp_repro.workbook.runs.records import Record
from ddp_repro.workbook.tables.measures import measures
from ddp_repro.workbook.tables.rendering import NOTHING, Table
from ddp_repro.workbook.tables.table import measured_title, provenance_frame, table_frame

NOTES = (
    "What matters: the smallest effect that would be called one, fixed before any number was seen. Supported: the "
    "interval of the effect lies above 0; not supported: below what matters; equal: within ± what matters; else "
    "undecided, with the number that would decide it at the spread and effect seen.",
    f"Effects carry {LEVEL:.0%} t-intervals over pairs of trainings that share their seed (of a single training: over "
    "its sampling seeds, which speaks of these weights alone). “Best of” is against every rival at once.",
    "Other images, too: the same by a bootstrap over trainings and test images, where what each image added was kept; "
    "it speaks of other test images, where the t-interval speaks of these.",
    "By itself: a claim judged as if it were the only one. With Holm's correction, any wrong verdict of the table "
    f"stays below {1 - LEVEL:.0%}; this verdict counts. p is the error rate at which the claim would just be decided.",
    RULE,
    "A verdict holds for the named model and data; only the paper preset speaks about the paper's own numbers.",
)


def claims_table(paper: str, questions: Sequence[Sequence[Claim]], evidence: Evidence) -> Table:
    """Return every claim of a paper with its numbers, ours, and the verdict."""
    rows = judge(questions, evidence)
    used = _used(rows, evidence)
    title = measured_title(evidence.preset, "", used) if used else f"measured ({evidence.preset})"
    columns = {
        ("", "Claim"): [row.claim.statement for row in rows],
        ("", "Where"): [row.claim.where for row in rows],
        ("", "What matters"): [minimum_of(row.claim) for row in rows],
        ("Numbers", "paper"): [row.claim.printed for row in rows],
        ("Numbers", title): [row.evidence for row in rows],
        ("Effect", "with interval"): [_effect(row) for row in rows],
        ("Effect", "other images, too"): [_beside(row) for row in rows],
        ("Verdict", "by itself"): [row.reason or _raw(row) for row in rows],
        ("Verdict", "with Holm's correction"): [row.reason or _corrected(row) for row in rows],
        ("", "Model"): [row.claim.model for row in rows],
        ("", "Key"): [row.claim.key for row in rows],
    }
    return Table(f"{paper}_claims", f"The paper's claims under the {evidence.preset} preset", table_frame(columns),
                 provenance_frame(used), NOTES, prose=True)  # fmt: skip


def digits_of(claim: Claim) -> int:
    """Return the decimals that effects of a claim are shown with."""
    question = claim.question
    return measures()[question.metric].decimals if isinstance(question, Comparison) else 3


def minimum_of(claim: Claim) -> str:
    """Return the smallest effect that matters, with its measure."""
    metric = claim.question.metric if isinstance(claim.question, Comparison) else None
    return f"{claim.minimum:g}" + (f" {measures()[metric].label}" if metric else "")


def _effect(row: Judged) -> str:
    return describe_interval(row.decision.raw.interval, digits_of(row.claim)) if row.decision else NOTHING


def _beside(row: Judged) -> str:
    beside = row.measurement.beside if row.measurement and row.decision else None
    return describe_interval(beside.interval(), digits_of(row.claim)) if beside else NOTHING


def _raw(row: Judged) -> str:
    return f"{row.ruling.raw.outcome} (p = {row.ruling.p_raw:.2g})"


def _corrected(row: Judged) -> str:
    return f"{row.ruling.corrected.describe()} (p = {row.ruling.p_corrected:.2g})"


def _used(rows: Sequence[Judged], evidence: Evidence) -> list[Record]:
    found = {record.run: record for row in rows for record in evidence.used(row.claim)}
    return list(found.values())
