"""Training in a process of its own: ``python -m tests.training.program IMAGES OUTPUT CHANGES``."""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from ddp_repro.training import TrainingInterrupted, train
from tests.training.tiny import tiny_recipe

INTERRUPTED = 75


def main(images: str, output: str, changes: str) -> None:
    torch.set_num_threads(1)
    kill_while_saving = os.environ.get("KILL_WHILE_SAVING")  # "iteration-000000006.pt"
    if kill_while_saving:
        replace = os.replace

        def kill_or_replace(source: str, target: Path) -> None:
            if Path(target).name == kill_while_saving:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(source, target)

        os.replace = kill_or_replace
    try:
        train(tiny_recipe(Path(images), **json.loads(changes)), Path(output), progress=False)
    except TrainingInterrupted:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main(*sys.argv[1:])
