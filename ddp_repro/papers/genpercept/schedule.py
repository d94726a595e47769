"""The forward process of GenPercept's pipelines and its DDIM inversion (Equations 1 to 10).

The label's latent z_y is blended with a "noise" e, which is Gaussian or the image's latent::

    z_t = sqrt(abar_t) z_y + sqrt(1 - abar_t) e        v_t = sqrt(abar_t) e - sqrt(1 - abar_t) z_y

At beta_start = beta_end = 1, abar is exactly 0: z_t is e, v_t is -z_y, and every DDIM step leaves the latent as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from ddp_repro.papers.genpercept.settings import GenPerceptConfig, Spacing
from ddp_repro.settings.errors import ConfigError


@dataclass(frozen=True)
class BlendSchedule:
    """``scaled_linear`` betas over T levels: the square roots are equally spaced.

    Attributes:
        beta_start, beta_end: first and last beta, in (0, 1].
        train_steps: T.
    """

    beta_start: float
    beta_end: float
    train_steps: int = 1000

    @classmethod
    def of(cls, config: GenPerceptConfig) -> BlendSchedule:
        """Return the schedule that the settings name."""
        return cls(config.beta_start, config.beta_end, config.train_steps)

    @cached_property
    def betas(self) -> Tensor:
        """Return the betas, (T,) float32."""
        return torch.linspace(self.beta_start**0.5, self.beta_end**0.5, self.train_steps, dtype=torch.float32) ** 2

    @cached_property
    def alphas_cumprod(self) -> Tensor:
        """Return abar_t = prod(1 - beta), (T,) float32; underflows to 0 under strong betas, which every use allows."""
        return torch.cumprod(1 - self.betas, dim=0)

    def amplitudes(self, t: Tensor | int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return sqrt(abar_t) and sqrt(1 - abar_t), (B, 1, 1, 1) or (1, 1, 1, 1), in ``like``'s dtype and device.

        The roots are taken in float32 whatever the dtype of ``like``.

        Raises:
            ValueError: a timestep outside [0, T).
        """
        t = torch.as_tensor(t).reshape(-1).cpu()
        if ((t < 0) | (t >= self.train_steps)).any():
            raise ValueError(f"timesteps {t.tolist()} are not in [0, {self.train_steps})")
        alphas = self.alphas_cumprod[t].reshape(-1, 1, 1, 1)
        return alphas.sqrt().to(like), (1 - alphas).sqrt().to(like)

    def blend(self, label: Tensor, noise: Tensor, t: Tensor | int) -> Tensor:
        """Return z_t (Equations 4 and 8).

        Args:
            label, noise: z_y and e, (B, 4, h, w).
            t: timestep of every sample, (B,), or one for all.
        """
        signal, sigma = self.amplitudes(t, label)
        return signal * label + sigma * noise

    def velocity(self, label: Tensor, noise: Tensor, t: Tensor | int) -> Tensor:
        """Return the target v_t (Equations 1 and 9), shaped as ``label``."""
        signal, sigma = self.amplitudes(t, label)
        return signal * noise - sigma * label

    def label_from(self, blended: Tensor, velocity: Tensor, t: Tensor | int) -> Tensor:
        """Return z_y from z_t and v_t (Equation 6): the inverse of :meth:`blend` and :meth:`velocity`."""
        signal, sigma = self.amplitudes(t, blended)
        return signal * blended - sigma * velocity

    def noise_from(self, blended: Tensor, velocity: Tensor, t: Tensor | int) -> Tensor:
        """Return e from z_t and v_t."""
        signal, sigma = self.amplitudes(t, blended)
        return signal * velocity + sigma * blended

    def timesteps(self, steps: int, spacing: Spacing = "leading") -> list[int]:
        """Return the timesteps that inference visits, from high to low.

        ``leading`` (as released) ends at 1: ten steps of 1000 are 901, 801, …, 1.  ``trailing`` starts at T - 1.

        Raises:
            ConfigError: fewer than one step or more than T, or an unknown spacing.
        """
        if not 1 <= steps <= self.train_steps:
            raise ConfigError(f"steps={steps} is not between 1 and {self.train_steps}")
        if spacing == "leading":
            # The offset of 1 is left out where it would pass the end (as many steps as levels).
            return [min(i * (self.train_steps // steps) + 1, self.train_steps - 1) for i in reversed(range(steps))]
        if spacing == "trailing":
            return [round(self.train_steps * (1 - i / steps)) - 1 for i in range(steps)]
        raise ConfigError(f"spacing={spacing!r} is none of leading, trailing")

    def step(self, blended: Tensor, velocity: Tensor, t: int, steps: int) -> tuple[Tensor, Tensor]:
        """Return z_y as predicted at t, and the latent of the next lower visited level (Equations 6, 7; DDIM at eta 0).

        The variance term of DDIM is 0 at eta 0 and is left out, not multiplied by 0: its value is 0/0 where abar is 0.

        Args:
            blended, velocity: z_t and the U-Net's output, (B, 4, h, w).
            t: the timestep of both.
            steps: how many inference takes; the next level is t - T // steps.
        """
        label = self.label_from(blended, velocity, t)
        noise = self.noise_from(blended, velocity, t)
        previous = max(t - self.train_steps // steps, 0)  # below the first level, the first level stands
        return label, self.blend(label, noise, previous)


def multi_resolution_noise(
    like: Tensor, strength: float | Tensor = 0.9, generator: torch.Generator | None = None, halving: bool = False
) -> Tensor:
    """Return Gaussian noise with upsampled coarser noise added, scaled to unit deviation, shaped as ``like``.

    Level i is drawn at the size of the level before divided by r^i, and weighs strength^i; r is random in [2, 4), or 2.
    Marigold trains with it, annealed: ``strength`` = 0.9 t/T.

    Args:
        like: gives shape (B, C, h, w), dtype and device.
        strength: one for all, or one for each sample, (B,).
        generator: on the device of ``like``.
        halving: take r = 2.
    """
    if isinstance(strength, Tensor):
        strength = strength.reshape(-1, 1, 1, 1).to(like)
    options = {"generator": generator, "device": like.device}
    noise = torch.randn(like.shape, **options)
    height, width = size = tuple(like.shape[-2:])
    for level in range(10):
        ratio = 2.0 if halving else float(torch.rand(1, **options) * 2 + 2)
        height, width = max(1, int(height / ratio**level)), max(1, int(width / ratio**level))
        coarse = torch.randn(*like.shape[:2], height, width, **options)
        noise = noise + F.interpolate(coarse, size=size, mode="bilinear") * strength**level
        if 1 in (height, width):
            break
    return (noise / noise.std()).to(like)


def learning_rate_factor(iteration: int, total: int = 25_000, final: float = 0.01, warmup: int = 100) -> float:
    """Return the factor on the learning rate: linear warm-up, then exponential decay to ``final`` at ``total``.

    Raises:
        ConfigError: a warm-up that is not shorter than ``total``, or a final factor that is not positive.
    """
    if not 0 <= warmup < total or final <= 0:
        raise ConfigError(f"the decay needs 0 <= warmup < total and final > 0, got {warmup}, {total}, {final}")
    if iteration < warmup:
        return iteration / warmup
    return final ** min((iteration - warmup) / (total - warmup), 1.0)
