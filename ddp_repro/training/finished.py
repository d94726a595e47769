"""The files of a training run, and how a finished one is recognised."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ddp_repro.interop.checkpoints import read_state_dict
from ddp_repro.settings.errors import CheckpointError
from ddp_repro.settings.recipe import Recipe
from ddp_repro.training.state import refuse_other_origin


@dataclass(frozen=True)
class TrainResult:
    """A finished training run."""

    checkpoint: Path  # model.safetensors: the last weights
    best: Path | None  # best.safetensors: those with the best mIoU, where train.validate_every asks for it
    iterations: int
    seconds: float  # spent training, over all interruptions
    history: Path  # log.jsonl
    processes: int | None = None  # that finished it; None: weights from before this was written down


@dataclass(frozen=True)
class RunFiles:
    """Where a training run keeps what."""

    folder: Path

    @property
    def model(self) -> Path:
        """Weights of the finished training."""
        return self.folder / "model.safetensors"

    @property
    def best(self) -> Path:
        """Weights with the best validation so far."""
        return self.folder / "best.safetensors"

    @property
    def log(self) -> Path:
        """One JSON object a line."""
        return self.folder / "log.jsonl"

    @property
    def states(self) -> Path:
        """Folder of the states that a training resumes from."""
        return self.folder / "state"

    def result(self, recipe: Recipe, iterations: int, seconds: float, processes: int | None = None) -> TrainResult:
        """Return the finished run that these files hold."""
        best = self.best if recipe.train.validate_every and self.best.exists() else None
        return TrainResult(self.model, best, iterations, seconds, self.log, processes)


def finished_result(files: RunFiles, origin: dict[str, str], recipe: Recipe) -> TrainResult | None:
    """Return the result of a run of the same ``origin`` that has been finished in this folder, or None.

    Raises:
        CheckpointError: ``model.safetensors`` cannot be read.
        ConfigError: it was trained by another recipe or on other images.
    """
    if not files.model.exists():
        return None
    _, metadata = read_state_dict(files.model)
    refuse_other_origin(metadata, origin, files.model)
    try:
        processes = int(metadata["processes"]) if "processes" in metadata else None
        return files.result(recipe, int(metadata["iteration"]), float(metadata["seconds"]), processes)
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{files.model}: not written by training ({error!r}); move it away") from error
