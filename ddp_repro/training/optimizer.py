"""The optimiser that a recipe asks for, with the model's weight-decay groups."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ddp_repro.settings.recipe import TrainConfig

OPTIMIZERS: dict[str, type[torch.optim.Adam]] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}


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


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Adam:
    """Return the recipe's optimiser (AdamW is an Adam) over :func:`parameter_groups`."""
    groups = parameter_groups(model, config)
    return OPTIMIZERS[config.optimizer](groups, lr=config.learning_rate, betas=config.betas)
