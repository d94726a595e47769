"""What a claim is: what is compared with what, and which difference would matter.  No numbers are seen here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddp_repro.evaluation.statistics import Estimate


@dataclass(frozen=True)
class Arm:
    """The scores of a recipe's trainings at a number of sampling steps."""

    recipe: str
    steps: int


@dataclass(frozen=True)
class Side:
    """One side of a comparison: the mean score of an arm, or a sum of such with weights.

    Attributes:
        weighted: e.g. ``((1, at 3 steps), (-1, at 10 steps))`` for a fall.
    """

    words: str
    weighted: tuple[tuple[int, Arm], ...]

    @classmethod
    def of(cls, words: str, recipe: str, steps: int) -> Side:
        """Return the side of one arm."""
        return cls(words, ((1, Arm(recipe, steps)),))


@dataclass(frozen=True)
class Comparison:
    """The first side is better than every rival, in a measure of the records.

    Raises:
        ValueError: there is no rival.
    """

    first: Side
    rivals: tuple[Side, ...]
    metric: str = "miou"

    def __post_init__(self) -> None:
        if not self.rivals:
            raise ValueError(f"{self.first.words}: a comparison needs a rival")

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All arms of all sides, each once."""
        return tuple(dict.fromkeys(arm for side in (self.first, *self.rivals) for _, arm in side.weighted))


@dataclass(frozen=True)
class Reading:
    """A number that an analysis of one set of weights holds.

    Attributes:
        read: from the analysis' result to the effect and its words; None where the result leaves it undefined.
    """

    analysis: str
    run: str
    read: Callable[[dict[str, Any]], tuple[Estimate, str] | None]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of a paper about one model.

    Attributes:
        key: short name, for the command line.
        where: the place in the paper; printed: its own numbers.
        model: recipe that is judged; it must read its map where the claim is about ``diffusion``.
        minimum: the smallest effect that matters, in the measure's unit; chosen before numbers are seen.
        for_gpu: trained at a size that takes a CPU hours; to be decided only where it is asked for by its key.
        gate: says from the records used (those of the arms) and the folder of results why nothing can be judged; None:
            it can.
    """

    key: str
    statement: str
    where: str
    printed: str
    model: str
    question: Comparison | Reading
    minimum: float
    diffusion: bool = True
    for_gpu: bool = False
    gate: Callable[[Sequence[Any], str | Path], str | None] | None = None

    @property
    def arms(self) -> tuple[Arm, ...]:
        """What has to be trained and scored; nothing for a reading."""
        return self.question.arms if isinstance(self.question, Comparison) else ()

    @property
    def recipes(self) -> Iterator[str]:
        """The recipes of the arms, each once, and the model's."""
        return iter(dict.fromkeys([self.model, *(arm.recipe for arm in self.arms)]))
