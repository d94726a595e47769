"""What an iteration of training consists of, each part beside the floor of its products."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ddp_repro.costs.floor import floor_of
from ddp_repro.data.io import DataError
from ddp_repro.papers.ddp import as_published as published
from ddp_repro.papers.ddp.model import DDP
from ddp_repro.settings.recipe import DataConfig, Recipe, TrainConfig
from ddp_repro.tasks.build import build_dataset
from ddp_repro.training.optimizer import build_optimizer

LOADING, FORWARD, TRAINING, OPTIMIZER = "loading", "training, forward", "training", "optimiser"  # forwards; both passes
_TIME = 0.5


def training_step(model: DDP, batch: dict[str, Tensor], noise: Tensor, as_published: bool) -> None:
    """Compute loss and gradients."""
    model.train()
    model.zero_grad()
    _loss(model, batch, noise, as_published).backward()
    model.zero_grad()
    model.eval()


def training_candidates(model: DDP, batch: dict[str, Tensor], noise: Tensor) -> dict[str, Callable[[], object]]:
    """Return what an iteration does after loading, by name, with the floors of the passes."""

    def forward() -> None:
        model.train()
        _loss(model, batch, noise, as_published=False)
        model.eval()

    def both() -> None:
        training_step(model, batch, noise, as_published=False)

    passes = {FORWARD: forward, TRAINING: both}
    floors = {f"{name} floor": floor_of(run, gradients=True) for name, run in passes.items()}
    return passes | floors | {OPTIMIZER: _optimizer_step(model)}


def loading(recipe: Recipe, size: tuple[int, int], batch: int) -> Callable[[], object] | None:
    """Return what reads and augments the next batch of a recipe's training images; None where there is none to read.

    That is where its data are not here, or where it crops images to another size than is timed.
    """
    if tuple(cast(DataConfig, recipe.data).crop_size) != size:
        return None
    try:
        images = build_dataset(recipe.data, recipe.data.train_split, train=True, mean=(0, 0, 0), std=(1, 1, 1))
    except DataError:
        return None
    positions = itertools.count()

    def load() -> None:
        for position in itertools.islice(positions, batch):
            images.sample(position % len(images), np.random.default_rng(position))

    return load


def _loss(model: DDP, batch: dict[str, Tensor], noise: Tensor, as_published: bool) -> Tensor:
    t = torch.full((len(noise),), _TIME, device=noise.device)
    losses = published.training_loss(model, batch, t, noise) if as_published else model.training_loss(batch, t, noise)
    return losses["loss"]


def _optimizer_step(model: DDP) -> Callable[[], object]:
    """Return AdamW's update of all weights, with gradients and a learning rate of 0, so that they stay as they are."""

    @functools.cache
    def prepared() -> tuple[torch.optim.Optimizer, list[Tensor]]:
        optimizer = build_optimizer(model, TrainConfig())
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        return optimizer, [
            torch.zeros_like(parameter) for group in optimizer.param_groups for parameter in group["params"]
        ]

    def step() -> None:
        optimizer, gradients = prepared()
        parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        model.zero_grad()

    return step
