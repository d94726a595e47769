"""What to train next, so that most is decided soonest."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from ddp_repro.evaluation.statistics import MOST_UNITS
from ddp_repro.settings.training_seeds import SEED_MARK
from ddp_repro.workbook import catalogue
from ddp_repro.workbook.claims.claim import Claim, Comparison
from ddp_repro.workbook.claims.evidence import Evidence
from ddp_repro.workbook.claims.gate import IGNORED, UNCHECKED, judge_map_use
from ddp_repro.workbook.claims.judge import Judged
from ddp_repro.workbook.runs.records import Record

FEWEST_PAIRS = 3  # from which a spread is known well enough to say how many more would decide


@dataclass(frozen=True)
class Step:
    """Runs to do together, because no claim is any further without all of them.

    Attributes:
        runs: names of recipes with their training seed, ``<recipe>-seed<n>``.
        check: the run whose map use is to be checked, after them; None: none.
        keys: the claims that it brings on.
        seconds: expected; None: nothing like it was run before.
        worth: how many claims it is expected to decide.
    """

    runs: tuple[str, ...]
    check: str | None
    keys: tuple[str, ...]
    seconds: float | None
    worth: float = 0.0


def next_step(
    questions: Sequence[Sequence[Claim]], judged: Sequence[Judged], keys: Sequence[str], evidence: Evidence,
    seconds_left: float, pace: float = 1.0,
) -> Step | None:  # fmt: skip
    """Return the step that decides most per second, of those that fit into the time; None: there is none.

    Args:
        judged: the questions' verdicts, in their order.
        keys: the claims that are asked for.
        pace: how much longer than recorded this machine takes.
    """
    wanted: dict[tuple[tuple[str, ...], str | None], list[tuple[str, float]]] = {}
    for question, verdict in zip(questions, judged, strict=True):
        claim = candidate(question, evidence)
        if verdict.claim.key not in keys or verdict.is_settled or claim is None:
            continue
        wanted.setdefault(_missing(claim, evidence), []).append((claim.key, 1 / _pairs_to_go(claim, verdict)))
    steps = [_step(runs, check, wanted, evidence, pace) for runs, check in wanted if runs or check]
    fitting = [step for step in steps if step.seconds is None or step.seconds <= seconds_left]
    return max(fitting, key=lambda step: step.worth / (step.seconds or 1.0), default=None)


def candidate(question: Sequence[Claim], evidence: Evidence) -> Claim | None:
    """Return the alternative of a claim that trainings may decide: rather one known to read its map, then the one with
    most trainings, then the cheapest.
    """
    possible = [claim for claim in question if why_not(claim, evidence) is None]

    def rank(claim: Claim) -> tuple[bool, int, float]:
        reads = not claim.diffusion or judge_map_use(evidence.map_uses(claim.model)) is None
        seconds = [expected_seconds(name, evidence) for name in claim.recipes]
        known = sum(math.inf if second is None else second for second in seconds)
        return not reads, -len(_complete_seeds(claim, evidence)), known

    return min(possible, key=rank, default=None)


def why_not(claim: Claim, evidence: Evidence) -> str | None:
    """Return why no training decides a claim, or None."""
    if not isinstance(claim.question, Comparison):
        return f"it is read off the analysis {claim.question.analysis!r} of {claim.question.run}, not off trainings"
    if claim.diffusion and judge_map_use(evidence.map_uses(claim.model)) == IGNORED:
        return IGNORED
    for arm in claim.arms:
        scored = catalogue.recipe(arm.recipe, evidence.preset).evaluation.steps
        if arm.steps not in scored:
            return f"{arm.recipe} is scored at {', '.join(map(str, scored))} steps, not at {arm.steps}"
    return None


def expected_seconds(recipe: str, evidence: Evidence) -> float | None:
    """Return what training and scoring a recipe took: the mean of its records, else by its iterations as others'."""
    own = [r for (name, _), r in evidence.records.items() if name == recipe]
    if own:
        return statistics.fmean(_seconds(record) for record in own)
    trained = [record for record in evidence.records.values() if record.training]
    chosen = catalogue.recipe(recipe, evidence.preset)
    if not trained or chosen.weights_of:
        return statistics.fmean(r.wall_seconds for r in trained) if trained else None
    each = statistics.median(_seconds(r) / r.training.iterations for r in trained if r.training)
    return each * chosen.train.iterations


def _seconds(record: Record) -> float:
    return record.wall_seconds + (record.training.wall_seconds if record.training else 0.0)


def _missing(claim: Claim, evidence: Evidence) -> tuple[tuple[str, ...], str | None]:
    """Return the runs that complete the claim's next pair, and the run to check for its use of the map."""
    if claim.diffusion and judge_map_use(evidence.map_uses(claim.model)) == UNCHECKED:
        seeds = evidence.seeds(claim.model)
        runs = () if seeds else (claim.model,)
        return runs, _run_name(claim.model, min(seeds, default=0))
    recipes = dict.fromkeys(arm.recipe for arm in claim.arms)
    complete, seed = _complete_seeds(claim, evidence), 0
    while seed in complete:
        seed += 1
    return tuple(_run_name(name, seed) for name in recipes if seed not in evidence.seeds(name)), None


def _complete_seeds(claim: Claim, evidence: Evidence) -> set[int]:
    return set.intersection(*(evidence.seeds(arm.recipe) for arm in claim.arms))


def _pairs_to_go(claim: Claim, verdict: Judged) -> int:
    """Return how many more pairs are expected to decide a claim."""
    pairs = verdict.measurement.pairs if verdict.measurement and verdict.claim == claim else 0
    if verdict.decision is None or verdict.claim != claim or pairs < 2:
        return max(FEWEST_PAIRS - pairs, 1)
    needed = verdict.decision.corrected.needed
    return MOST_UNITS if needed is None else max(needed - pairs, 1)


def _step(
    runs: tuple[str, ...], check: str | None, wanted: dict[tuple[tuple[str, ...], str | None], list[tuple[str, float]]],
    evidence: Evidence, pace: float,
) -> Step:  # fmt: skip
    """Return a step with all the claims that it completes a pair of."""
    helped = [part for (r, c), parts in wanted.items() if set(r) <= set(runs) and c in (None, check) for part in parts]
    each = [expected_seconds(name.partition(SEED_MARK)[0], evidence) for name in runs]
    known = [second for second in each if second is not None]
    seconds = pace * sum(known) if len(known) == len(each) else None
    return Step(runs, check, tuple(key for key, _ in helped), seconds, sum(worth for _, worth in helped))


def _run_name(recipe: str, seed: int) -> str:
    return recipe + (f"{SEED_MARK}{seed}" if seed else "")
