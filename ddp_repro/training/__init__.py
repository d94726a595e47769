"""Training: AdamW with the official settings, exact resume, one process or many with equal results."""

from ddp_repro.training.finished import TrainResult
from ddp_repro.training.interruption import TrainingInterrupted
from ddp_repro.training.step import TrainingDiverged
from ddp_repro.training.trainer import check_settings, load_initial_weights, train

__all__ = [
    "TrainResult", "TrainingDiverged", "TrainingInterrupted", "check_settings", "load_initial_weights", "train",
]  # fmt: skip
