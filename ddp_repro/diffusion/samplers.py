"""Time pairs and reverse steps (Algorithms 2 and 3).

A reverse step is linear in the map and in the predicted clean map, so it holds just as well for any linear projection
of both: :meth:`ddp_repro.papers.ddp.model.DDP.sample` carries the map in the decoder's input space.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ddp_repro.diffusion.schedules import NoiseSchedule

MIN_SIGMA = 1e-8


def time_pairs(steps: int, time_difference: int = 1, t_min: float = 0.0) -> list[tuple[float, float]]:
    """Return the (t_now, t_next) of each reverse step, from t = 1 down.

    With a time difference td > 0 the next map is made as noisy as the time td steps further on: for three steps and
    td = 1 the pairs are (1, 1/3), (2/3, 0), (1/3, 0) ("asymmetric time intervals").

    Raises:
        ValueError: fewer than one step, or a negative time difference.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1; got {steps}")
    if time_difference < 0:
        raise ValueError(f"time_difference must not be negative; got {time_difference}")
    span = 1 - t_min
    return [
        (1 - step / steps * span, max(1 - (step + 1 + time_difference) / steps * span, t_min)) for step in range(steps)
    ]


def ddim_step(noisy: Tensor, clean: Tensor, t_now: Tensor, t_next: Tensor, schedule: NoiseSchedule) -> Tensor:
    """Deterministic step: keep the noise that explains ``noisy`` given ``clean``, at the next noise level.

    Args:
        noisy, clean: the map at ``t_now`` and the predicted clean map; same shape.
        t_now, t_next: scalars.
    """
    alpha_now, sigma_now = schedule.alpha_sigma(t_now)
    alpha_next, sigma_next = schedule.alpha_sigma(t_next)
    kept = sigma_next / sigma_now.clamp(min=MIN_SIGMA)  # of the noise (noisy - alpha_now · clean)
    return (kept * noisy).addcmul_(alpha_next - kept * alpha_now, clean)


def ddpm_step(
    noisy: Tensor, clean: Tensor, t_now: Tensor, t_next: Tensor, schedule: NoiseSchedule, noise: Tensor
) -> Tensor:
    """Ancestral step: a draw from q(z_next | z_now, z_0 = clean); no noise is added at ``t_next`` = 0."""
    log_snr_now, log_snr_next = schedule.log_snr(t_now), schedule.log_snr(t_next)
    (alpha_now, _), (alpha_next, sigma_next) = schedule.alpha_sigma(t_now), schedule.alpha_sigma(t_next)
    weight = -torch.expm1(log_snr_now - log_snr_next)
    mean = alpha_next * (noisy * (1 - weight) / alpha_now + weight * clean)
    deviation = (sigma_next**2 * weight).clamp(min=1e-20).sqrt()
    return mean + (t_next > 0) * deviation * noise


SAMPLERS: dict[str, Callable[..., Tensor]] = {"ddim": ddim_step, "ddpm": ddpm_step}
