"""Evaluation: whole-image inference, dataset-level metrics, saved predictions, uncertainty and drift."""

from ddp_repro.evaluation.drift import DriftResult, evaluate_drift
from ddp_repro.evaluation.evaluator import evaluate_model
from ddp_repro.evaluation.metrics import ConfusionMatrix
from ddp_repro.evaluation.predict import Prediction, predict
from ddp_repro.evaluation.result import EvaluationResult, Summary
from ddp_repro.evaluation.saved import rescore
from ddp_repro.evaluation.uncertainty import UncertaintyResult, evaluate_uncertainty

__all__ = [
    "ConfusionMatrix",
    "DriftResult",
    "EvaluationResult",
    "Prediction",
    "Summary",
    "UncertaintyResult",
    "evaluate_drift",
    "evaluate_model",
    "evaluate_uncertainty",
    "predict",
    "rescore",
]
