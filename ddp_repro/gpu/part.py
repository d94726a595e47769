"""What a part is: commands that are finished, and begun anew, together."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Status = Literal["done", "failed", "over its limit", "not finished", "not begun", "cannot be run here"]
Numbers = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One program, with the time that it may take.

    Attributes:
        program: its command line.
        seconds: what it is expected to take, until a part of this ``kind`` has been measured.
        limit: after so many seconds it is ended.
        kind: parts of one kind take about as long as each other; empty: there is no other of its kind.
        obstacle: says why it cannot be run here; None where it can.
        numbers: reads the numbers worth a line each off the results' folder and what the program printed.
        leaves_out: patterns of files, relative to the results' folder, that are removed once it is done.
    """

    name: str
    program: Sequence[str]
    seconds: float
    limit: float
    kind: str = ""
    obstacle: Callable[[], str | None] = lambda: None
    numbers: Callable[[Path, str], Numbers] = lambda folder, printed: {}
    leaves_out: Sequence[str] = ()

    @property
    def identity(self) -> str:
        """A hash of the command line, but for where Python is."""
        return hashlib.sha256(json.dumps(self.program[1:]).encode()).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a part.

    Attributes:
        note: why it is not done.
        identity, gpu: of what ran, and where; an outcome holds for these.
    """

    status: Status
    seconds: float = 0.0
    numbers: Numbers
    note: str = ""
    kind: str = ""
    identity: str = ""
    gpu: str | None = None


def commands_of(*commands: Sequence[str], keep_going: bool = False) -> list[str]:
    """Return the command line of several commands of ``ddp-repro`` in one process, which imports everything once.

    Args:
        keep_going: also after one that fails.
    """
    options = ["--keep-going"] if keep_going else []
    return [sys.executable, "-m", "ddp_repro.gpu.sequence", *options, json.dumps(commands)]
