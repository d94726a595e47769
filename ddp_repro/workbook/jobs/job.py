"""Work that stands by itself: on this machine, or as one job of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Job:
    """Commands of ``ddp-repro`` that belong together.

    Attributes:
        name: for people, and of the folder of its logs.
        commands: words after ``ddp-repro``, one command after the other.
        files: what is there when it is done.
        needs: datasets or trainings that another job may be at as well: it would only wait.  None: any.
        shared: whether the processes of torchrun share its commands.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    files: tuple[Path, ...] = ()
    needs: frozenset[str] | None = None
    shared: bool = False

    def waits_for(self, other: Job) -> bool:
        """Return whether one of two jobs would wait for the other's work."""
        return self.needs is None or other.needs is None or not self.needs.isdisjoint(other.needs)
