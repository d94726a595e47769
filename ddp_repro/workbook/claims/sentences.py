"""A sentence for each claim, generated from the records: what README says of it."""

from __future__ import annotations

from collections.abc import Sequence

from ddp_repro.workbook.claims.claim import Claim
from ddp_repro.workbook.claims.evidence import Evidence
from ddp_repro.workbook.claims.judge import Judged, describe_interval, judge
from ddp_repro.workbook.claims.table import digits_of, minimum_of


def sentences(questions: Sequence[Sequence[Claim]], evidence: Evidence) -> list[str]:
    """Return a list item in Markdown for every claim of which something was measured."""
    return [_sentence(judged) for judged in judge(questions, evidence) if judged.measurement]


def _sentence(judged: Judged) -> str:
    claim = judged.claim
    start = f"- {claim.statement[0].upper()}{claim.statement[1:]} (`{claim.model}`): **{_outcome(judged)}**"
    if judged.decision is None:
        return f"{start}."
    verdict = judged.ruling.corrected
    effect = describe_interval(verdict.interval, digits_of(claim)).replace("-", "−")
    share = f"{verdict.interval.level:.1%} interval; ".replace(".0%", "%") if verdict.interval.count > 1 else ""
    return f"{start}; effect {effect} ({share}{minimum_of(claim)} would matter)."


def _outcome(judged: Judged) -> str:
    return judged.reason or judged.ruling.corrected.describe()
