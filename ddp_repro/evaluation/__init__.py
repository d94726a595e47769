"""Evaluation: whole-image inference, dataset-level metrics, saved predictions, uncertainty and drift."""

from ddp_repro.evaluation.evaluator import evaluate_model
from ddp_repro.evaluation.metrics import ConfusionMatrix
from ddp_repro.evaluation.result import EvaluationResult, Summary
from ddp_repro.evaluation.saved import rescore

__all__ = ["ConfusionMatrix", "EvaluationResult", "Summary", "evaluate_model", "rescore"]
