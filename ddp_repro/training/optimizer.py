"""AdamW with the weight-decay groups and the learning-rate curve of the official configurations."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ddp_repro.config import TrainConfig

BETAS = (0.9, 0.999)


def parameter_groups(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Split the trainable parameters into decayed (``config.weight_decay``) and undecayed (0) ones.

    The official rule is "no decay where the name contains 'norm'", but it is overruled wherever the name contains
    'head', and in the official names many normalisations contain neither word.  What is left without decay are the
    layer norms of the *backbone*, where named "norm" (not ConvNeXt's stem and downsampling norms).  Everything else is
    decayed: norms of decoder, neck and auxiliary head, biases, layer scale, relative positions, label embedding.
    """
    decayed, undecayed = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (undecayed if is_undecayed(name) else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": undecayed, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def is_undecayed(name: str) -> bool:
    """Whether a parameter of this name keeps weight decay 0; see :func:`parameter_groups`."""
    return name.startswith("backbone.") and "norm" in name


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over :func:`parameter_groups`."""
    return torch.optim.AdamW(parameter_groups(model, config), lr=config.learning_rate, betas=BETAS)


def learning_rate(config: TrainConfig, iteration: int) -> float:
    """Learning rate of one iteration (counted from 0): linear warm-up times polynomial decay to 0.

    The warm-up factor rises from ``warmup_ratio`` to 1 and multiplies the rate that has already decayed, so that the
    curve has no step where the warm-up ends below the full rate.
    """
    decayed = config.learning_rate * (1 - iteration / config.iterations) ** config.power
    if iteration >= config.warmup_iterations:
        return decayed
    progress = iteration / config.warmup_iterations
    return decayed * (config.warmup_ratio + (1 - config.warmup_ratio) * progress)
