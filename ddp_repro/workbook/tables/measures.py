"""How each measure of a record is headed and printed, over all tasks."""

from __future__ import annotations

from collections.abc import Mapping

from ddp_repro.evaluation.measure import Measure
from ddp_repro.protocols.registry import tasks


def measures() -> Mapping[str, Measure]:
    """Return every measure by the name that scores give it."""
    return {name: measure for task in tasks() for name, measure in task.measures.items()}
