"""The learning rate of every iteration, and the optimiser's betas, which one curve moves too."""

from __future__ import annotations

import math
from collections.abc import Callable

from ddp_repro.settings.recipe import TrainConfig
from ddp_repro.training.one_cycle import one_cycle_beta1, one_cycle_rate


def learning_rate(config: TrainConfig, iteration: int) -> float:
    """Return the learning rate of one iteration (counted from 0): a linear warm-up times the curve.

    The warm-up factor rises from ``warmup_ratio`` to 1 and multiplies the rate that has already decayed, so that the
    curve has no step where the warm-up ends below the full rate.  The one-cycle curve has its own rise; the exponential
    one starts where the warm-up ends.
    """
    if config.curve == "one_cycle":
        return one_cycle_rate(config.learning_rate, iteration, config.iterations)
    decayed = config.learning_rate * _DECAYS[config.curve](config, iteration)
    if iteration >= config.warmup_iterations:
        return decayed
    progress = iteration / config.warmup_iterations
    return decayed * (config.warmup_ratio + (1 - config.warmup_ratio) * progress)


def betas(config: TrainConfig, iteration: int) -> tuple[float, float]:
    """Return the optimiser's betas of one iteration: constant, but for beta1 of the one-cycle curve."""
    if config.curve == "one_cycle":
        return one_cycle_beta1(config.betas[0], iteration, config.iterations), config.betas[1]
    return config.betas


def _polynomial(config: TrainConfig, iteration: int) -> float:
    return (1 - iteration / config.iterations) ** config.power


def _cosine(config: TrainConfig, iteration: int) -> float:
    wave = (1 + math.cos(math.pi * iteration / config.iterations)) / 2
    return config.min_rate_ratio + (1 - config.min_rate_ratio) * wave


def _step(config: TrainConfig, iteration: int) -> float:
    return max(config.step_factor ** (iteration // config.step_iterations), config.min_rate_ratio)


def _exponential(config: TrainConfig, iteration: int) -> float:
    """From 1 at the end of the warm-up to ``min_rate_ratio`` at ``decay_iterations``, where it stays."""
    length = (config.decay_iterations or config.iterations) - config.warmup_iterations
    progress = min(max(iteration - config.warmup_iterations, 0) / length, 1.0)
    return config.min_rate_ratio**progress


def _constant(config: TrainConfig, iteration: int) -> float:
    return 1.0


# Fraction of the full rate at an iteration.
_DECAYS: dict[str, Callable[[TrainConfig, int], float]] = {
    "polynomial": _polynomial,
    "cosine": _cosine,
    "step": _step,
    "exponential": _exponential,
    "constant": _constant,
}
