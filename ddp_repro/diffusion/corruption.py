"""Map corruption (Algorithm 1): z_t = alpha(t) z_0 + sigma(t) epsilon."""

from __future__ import annotations

import torch
from torch import Tensor

from ddp_repro.diffusion.schedules import NoiseSchedule

MAX_TIME = 0.999  # the paper writes U(0, 1); the released code draws from U(0, 0.999)


def draw_times(count: int, device: torch.device | str = "cpu") -> Tensor:
    """One time per sample, uniform on [0, 0.999); (count,)."""
    return torch.zeros(count, device=device).uniform_(0, MAX_TIME)


def corrupt(encoded: Tensor, noise: Tensor, t: Tensor, schedule: NoiseSchedule) -> Tensor:
    """Mix the encoded map (B, M, h, w) with noise of the same shape at times ``t`` (B,)."""
    alpha, sigma = (a.view(-1, 1, 1, 1) for a in schedule.alpha_sigma(t))
    return alpha * encoded + sigma * noise
