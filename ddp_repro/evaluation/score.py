"""The scores of one run over a dataset: what the scores of every task have."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Score:
    """Base of a task's scores, of one sampling seed; its ``float | None`` fields are measures, the most
    important first; None: undefined.

    Attributes:
        steps: sampling steps.
        seed: None for a model that draws no noise.
        measured: images that have something to measure, and over which means of images go; None: all.
    """

    steps: int
    seed: int | None
    measured: int | None = None

    def measures(self) -> tuple[str, ...]:
        """Return the names of the measures."""
        return tuple(field.name for field in dataclasses.fields(self) if field.type in ("float", "float | None", float))
