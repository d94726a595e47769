"""Noise schedules: how much of the map is signal (alpha) and how much is noise (sigma) at time t in [0, 1].

The released code describes a schedule by its log signal-to-noise ratio, log(alpha²/sigma²), and hands that number, not
t, to the decoder's time embedding; the paper's Algorithm 3 names the same function ``alpha_cumprod``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

OFFSET_START, OFFSET_SCALE = 0.0002, 0.00025
MIN_INVERSE_SNR = 1e-5  # keeps log-SNR at or below 11.513, so that alpha(0) is just under 1


def cosine_log_snr(t: Tensor) -> Tensor:
    """Log-SNR of the cosine schedule (the paper's default).

    Near t = 1 the result hangs on the rounding of the argument: the chain of float32 operations below is the one that
    the released weights were trained with, and evaluating it in float64 moves log-SNR(1) from -18.9075 to -18.9043.
    """
    angle = (t + OFFSET_START) / (1 + OFFSET_SCALE) * math.pi * 0.5
    return -torch.log((torch.cos(angle) ** -2 - 1).clamp(min=MIN_INVERSE_SNR))


def linear_log_snr(t: Tensor) -> Tensor:
    """Log-SNR of the linear schedule (Table 5c)."""
    return -torch.log(torch.expm1(1e-4 + 10 * t**2))


@dataclass(frozen=True)
class NoiseSchedule:
    """A variance-preserving schedule: alpha² + sigma² = 1."""

    name: str
    log_snr: Callable[[Tensor], Tensor]

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and noise amplitudes at times ``t`` (any shape, values in [0, 1]); same shape as ``t``."""
        log_snr = self.log_snr(t)
        return torch.sigmoid(log_snr).sqrt(), torch.sigmoid(-log_snr).sqrt()


class GammaSchedule(NoiseSchedule):
    """The cosine schedule as the released depth code writes it: signal power gamma(t) = cos², without a clamp."""

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return signal and noise amplitudes at times ``t``, of its shape: √gamma(t) and √(1 - gamma(t))."""
        gamma = torch.cos((t + OFFSET_START) / (1 + OFFSET_SCALE) * math.pi / 2) ** 2
        return gamma.sqrt(), (1 - gamma).sqrt()


SCHEDULES = {
    "cosine": NoiseSchedule("cosine", cosine_log_snr),
    "linear": NoiseSchedule("linear", linear_log_snr),
    "gamma": GammaSchedule("gamma", cosine_log_snr),
}
