"""The one-cycle schedule of the released BEV training: learning rate up and down, AdamW's beta1 down and up."""

from __future__ import annotations

import math

RISE = 0.4  # share of the iterations
PEAK_RATE, FINAL_RATE = 10.0, 1e-4  # factors of the base rate: "5e-5" peaks at 5e-4
LOWEST_BETA = 0.85 / 0.95  # factor of the base beta1 at the peak of the rate


def one_cycle_rate(base: float, iteration: int, iterations: int) -> float:
    """Learning rate of one iteration (counted from 0)."""
    return base * _cycle(iteration, iterations, PEAK_RATE, FINAL_RATE)


def one_cycle_beta1(base: float, iteration: int, iterations: int) -> float:
    """AdamW's beta1 of one iteration (counted from 0)."""
    return base * _cycle(iteration, iterations, LOWEST_BETA, 1.0)


def _cycle(iteration: int, iterations: int, middle: float, end: float) -> float:
    """From 1 to ``middle`` over the first part of the iterations, then to ``end``, both along half a cosine."""
    turn = int(RISE * iterations)
    if iteration < turn:
        return _half_cosine(1.0, middle, iteration / turn)
    return _half_cosine(middle, end, (iteration - turn) / (iterations - turn))


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
