"""Training: optimiser and curves of the released settings, exact resume, one process or many with equal results."""

from ddp_repro.training.finished import TrainResult
from ddp_repro.training.initial_weights import initial_identities, load_initial_weights
from ddp_repro.training.interruption import TrainingInterrupted
from ddp_repro.training.step import TrainingDiverged
from ddp_repro.training.trainer import check_settings, check_trainable, train

__all__ = [
    "TrainResult", "TrainingDiverged", "TrainingInterrupted", "check_settings", "check_trainable", "initial_identities",
    "load_initial_weights", "train",
]  # fmt: skip
