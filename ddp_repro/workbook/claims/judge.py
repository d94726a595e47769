"""From claims and evidence to verdicts, all claims of a table together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ddp_repro.evaluation.statistics import Decision, Interval, StatisticsError, decide_table
from ddp_repro.workbook.claims.claim import Claim
from ddp_repro.workbook.claims.evidence import Evidence, Measurement
from ddp_repro.workbook.claims.gate import UNDEFINED_SCORE, describe_map_use, judge_map_use
from ddp_repro.workbook.tables.rendering import NOT_RUN


@dataclass(frozen=True)
class Judged:
    """A claim with what is known of it.

    Attributes:
        reason: why it cannot be judged: not run, or not testable on this model; None where it can.
        decision: its verdict by itself and with Holm's correction.
    """

    claim: Claim
    measurement: Measurement | None
    reason: str | None
    evidence: str
    decision: Decision | None = None

    @property
    def ruling(self) -> Decision:
        """The decision of a claim that can be judged.

        Raises:
            ValueError: it cannot, or has not been yet.
        """
        if self.decision is None:
            raise ValueError(f"claim {self.claim} has no decision: {self.reason or 'it has not been judged yet'}")
        return self.decision

    @property
    def verdict(self) -> str:
        """The verdict that counts, in words."""
        return self.reason or self.ruling.corrected.describe()

    @property
    def is_settled(self) -> bool:
        """Whether no further training is called for."""
        return self.reason is None and self.ruling.corrected.outcome != "undecided"


def judge(questions: Sequence[Sequence[Claim]], evidence: Evidence) -> list[Judged]:
    """Judge every question on that of its alternatives that has most to say.

    Args:
        questions: for each, the same claim about one or several models.
    """
    chosen = [max((_examine(claim, evidence) for claim in question), key=_says) for question in questions]
    testable = {str(number): judged for number, judged in enumerate(chosen) if judged.reason is None}
    estimates = {number: judged.measurement.estimate for number, judged in testable.items() if judged.measurement}
    decisions = decide_table(estimates, {number: judged.claim.minimum for number, judged in testable.items()})
    return [
        Judged(j.claim, j.measurement, j.reason, j.evidence, decisions.get(str(number)))
        for number, j in enumerate(chosen)
    ]


def describe_interval(interval: Interval, digits: int) -> str:
    """Return effect and interval in words."""
    if interval.count < 2:
        return f"{interval.estimate:+.{digits}f} in one of the {interval.unit} alone, of unknown spread"
    return (
        f"{interval.estimate:+.{digits}f} [{interval.low:+.{digits}f}, {interval.high:+.{digits}f}] "
        f"over {interval.count} {interval.unit}"
    )


def _examine(claim: Claim, evidence: Evidence) -> Judged:
    try:
        measurement = evidence.measure(claim)
    except StatisticsError as error:  # of images without a labelled pixel
        return Judged(claim, None, UNDEFINED_SCORE, str(error))
    if measurement is None:
        return Judged(claim, None, NOT_RUN, NOT_RUN)
    if claim.gate and (reason := claim.gate(evidence.used(claim), evidence.output)):
        return Judged(claim, measurement, reason, measurement.words)
    if not claim.diffusion:
        return Judged(claim, measurement, None, measurement.words)
    map_uses = evidence.map_uses(claim.model)
    reason = judge_map_use(map_uses)
    return Judged(claim, measurement, reason, f"{measurement.words}; {describe_map_use(map_uses)}")


def _says(judged: Judged) -> tuple[int, int]:
    """Return how much there is to say: nothing, that the model is no test, or something; then, of how many pairs."""
    if judged.measurement is None:
        return 0, 0
    return 1 if judged.reason else 2, judged.measurement.pairs
