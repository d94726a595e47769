"""How many pictures a second ``predict`` takes: as a command for each, as a call for each, and as a folder."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddp_repro.evaluation.folders import batches
from ddp_repro.evaluation.folders.manifest import Picture
from ddp_repro.evaluation.folders.run import predict_pictures
from ddp_repro.evaluation.predict import PicturePredictor
from ddp_repro.protocols.task import Writer
from ddp_repro.settings.errors import ConfigError

COMMANDS = 2  # of the ways that start a process for each picture, of which two say enough


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """What a picture takes, from its file to its maps; medians over the rounds, in which all ways take turns.

    The ways are ``command``, a ``ddp-repro predict`` for each picture; ``call``, a call for each in one process; and
    ``folder``, in batches, which is what ``predict`` does.

    Attributes:
        seconds: on the wall, by way.
        cpu_seconds: of all cores, by way; also on a machine that others use.
        threads: of the process.
    """

    seconds: dict[str, float]
    cpu_seconds: dict[str, float]
    pictures: int
    rounds: int
    threads: int

    @property
    def ratios(self) -> dict[str, float]:
        """Return how many times as fast as in each of the other ways ``predict`` takes a folder."""
        return {way: value / self.seconds["folder"] for way, value in self.seconds.items()}


def measure_throughput(
    predictor: PicturePredictor,
    write: Writer,
    pictures: Sequence[Picture],
    *,
    class_names: Sequence[str],
    rounds: int,
    command: Sequence[str],
) -> Throughput:
    """Predict pictures in every way, in turns.

    Args:
        command: the words after ``ddp-repro predict PICTURE``.

    Raises:
        ConfigError: a picture cannot be predicted.
    """
    import torch

    def folder(chosen: Sequence[Picture]) -> None:
        with tempfile.TemporaryDirectory() as place:
            report = predict_pictures(
                predictor, write, chosen, Path(place), model={}, class_names=class_names, progress=False
            )
        if report.failed:
            raise ConfigError(f"{report.failed[0][0]}: {report.failed[0][1]}")

    def commands(chosen: Sequence[Picture]) -> None:
        with tempfile.TemporaryDirectory() as place:
            for picture in chosen:
                words = [sys.executable, "-m", "ddp_repro", "predict", str(picture.path), *command, "--output", place]
                subprocess.run(words, check=True, capture_output=True)

    def calls(chosen: Sequence[Picture]) -> None:
        for picture in chosen:
            folder([picture])

    ways: dict[str, tuple[Callable[[Sequence[Picture]], None], Sequence[Picture]]] = {
        "command": (commands, pictures[:COMMANDS]),
        "call": (calls, pictures),
        "folder": (folder, pictures),
    }
    folder(pictures[: batches.BATCH])  # warms up
    turns = [{way: _spent(*what) for way, what in ways.items()} for _ in range(rounds)]
    wall, cpu = ({way: statistics.median(turn[way][clock] for turn in turns) for way in ways} for clock in (0, 1))
    return Throughput(
        seconds=wall,
        cpu_seconds=cpu,
        pictures=len(pictures),
        rounds=rounds,
        threads=torch.get_num_threads(),
    )


def _spent(work: Callable[[Sequence[Picture]], None], pictures: Sequence[Picture]) -> tuple[float, float]:
    """Return the seconds per picture on the wall and of all cores, those of ended processes included."""
    started, before = time.perf_counter(), sum(os.times()[:4])
    work(pictures)
    return (time.perf_counter() - started) / len(pictures), (sum(os.times()[:4]) - before) / len(pictures)
