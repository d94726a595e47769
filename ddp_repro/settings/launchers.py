"""What the environment says of the processes that torchrun, accelerate or mpirun started together.

Only the standard library is imported here, so that the command line can ask before anything heavy is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ddp_repro.settings.errors import ConfigError

# How many there are, and which of them this one is: torchrun's and accelerate's names, then those of MPI's launchers.
_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
_RANKS = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
REMEDY = "start them all with torchrun or accelerate launch, or unset {name} to run in one process"


def announced_processes() -> int:
    """Return how many processes a launcher says it has started; 1 where none says anything.

    Raises:
        ConfigError: what it says is no number.
    """
    return max(_size(name) for name in _SIZES)


def announcing_variable() -> str:
    """Return the environment variable that announces the most processes."""
    return max(_SIZES, key=_size)


def without_announcements(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what a launcher has said, for a command that is started anew."""
    said = {*_SIZES, *_RANKS, "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"}
    return {name: value for name, value in environment.items() if name not in said}


def check_meeting_point() -> None:
    """Check that this process was told which one it is and where the others are, before it waits for them.

    Raises:
        ConfigError: it was not.  Without a number every process would take itself for the first.
    """
    given = {"RANK": any(os.environ.get(name) for name in _RANKS), "MASTER_ADDR": bool(os.environ.get("MASTER_ADDR"))}
    missing = [name for name, is_given in given.items() if not is_given]
    if missing:
        raise ConfigError(
            f"the environment announces {announced_processes()} processes, which cannot find each other without "
            f"{' and '.join(missing)}: {REMEDY.format(name=announcing_variable())}"
        )


def _size(name: str) -> int:
    text = os.environ.get(name) or "1"
    if not text.isdecimal():
        raise ConfigError(f"{name} must be the number of processes; got {text!r}")
    return int(text)
