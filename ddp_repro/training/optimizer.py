"""AdamW with the weight-decay groups and the learning-rate curve of the official configurations."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from ddp_repro.settings.recipe import TrainConfig
from ddp_repro.training.one_cycle import one_cycle_beta1, one_cycle_rate

BETAS = (0.9, 0.999)


def parameter_groups(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Split the trainable parameters into decayed (``config.weight_decay``) and undecayed (0) ones.

    A model says which are which (``model.undecayed(name)``).
    """
    is_undecayed = getattr(model, "undecayed", lambda name: False)
    decayed, undecayed = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (undecayed if is_undecayed(name) else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": undecayed, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over :func:`parameter_groups`."""
    return torch.optim.AdamW(parameter_groups(model, config), lr=config.learning_rate, betas=BETAS)


def learning_rate(config: TrainConfig, iteration: int) -> float:
    """Learning rate of one iteration (counted from 0): linear warm-up times polynomial or cosine decay.

    The warm-up factor rises from ``warmup_ratio`` to 1 and multiplies the rate that has already decayed, so that the
    curve has no step where the warm-up ends below the full rate.  The one-cycle curve has its own rise.
    """
    if config.curve == "one_cycle":
        return one_cycle_rate(config.learning_rate, iteration, config.iterations)
    decayed = config.learning_rate * _decay(config, iteration / config.iterations)
    if iteration >= config.warmup_iterations:
        return decayed
    progress = iteration / config.warmup_iterations
    return decayed * (config.warmup_ratio + (1 - config.warmup_ratio) * progress)


def betas(config: TrainConfig, iteration: int) -> tuple[float, float]:
    """AdamW's betas of one iteration: constant, but for beta1 of the one-cycle curve."""
    if config.curve == "one_cycle":
        return one_cycle_beta1(BETAS[0], iteration, config.iterations), BETAS[1]
    return BETAS


def _decay(config: TrainConfig, progress: float) -> float:
    """Fraction of the full rate after the fraction ``progress`` of the iterations."""
    if config.curve == "polynomial":
        return (1 - progress) ** config.power
    return config.min_rate_ratio + (1 - config.min_rate_ratio) * (1 + math.cos(math.pi * progress)) / 2
