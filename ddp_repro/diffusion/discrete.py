"""Discrete (multinomial) diffusion of label maps (Hoogeboom et al. 2021; DDPS, Section 3).

A label map (B, h, w) holds classes 0..K-1.  One step of noise keeps a pixel's class with probability alpha_t and draws
one of all K otherwise; over steps 0..t the class is kept with probability abar_t = alpha_0 ⋯ alpha_t.

Two clocks run against each other: a noise *level* t goes from 0 (almost clean) to T - 1 (random); a *step* i of the
reverse process goes from 0 (random) to T - 1, and works at level T - 1 - i.  Levels index a schedule; level -1 is the
clean map.

Tensors only: log-probabilities are (B, K, h, w), and no array grows with K².
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ddp_repro.diffusion.label_noise import LabelNoise
from ddp_repro.settings.errors import ConfigError

MAX_KEPT, MIN_KEPT = 0.99999, 0.000009  # abar at the first and last level, of both schedules
MIN_PROBABILITY = 1e-30

SamplerName = Literal["free", "strict", "strict_released"]


# -- schedules ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelSchedule:
    """How likely a pixel keeps its class.

    Attributes:
        cumulative: (T + 1,) abar of levels 0..T-1, then that of level -1, which is 1.
        one_step: (T,) alpha_t = abar_t / abar_{t-1}.
    """

    cumulative: Tensor
    one_step: Tensor

    @classmethod
    def of(cls, cumulative: Tensor) -> LabelSchedule:
        """Build a schedule from abar (T,), which must fall and lie in (0, 1].

        Raises:
            ValueError: it does not.
        """
        clean = cumulative.new_ones(1)
        before = torch.cat([clean, cumulative[:-1]])
        if not len(cumulative) or not bool(((cumulative > 0) & (cumulative <= before)).all()):
            raise ValueError(f"abar must fall from at most 1 and stay above 0; got {cumulative.tolist()}")
        return cls(torch.cat([cumulative, clean]), cumulative / before)

    @property
    def timesteps(self) -> int:
        """T, the number of noise levels."""
        return len(self.one_step)

    def float(self) -> LabelSchedule:
        """Return the schedule in float32, as the released code has it: there 1 - abar_0 is 1.0014e-5, not 1e-5."""
        return LabelSchedule(self.cumulative.float(), self.one_step.float())

    def to(self, device: torch.device | str) -> LabelSchedule:
        """Return the schedule on ``device``."""
        return LabelSchedule(self.cumulative.to(device), self.one_step.to(device))

    def kept_between(self, level: Tensor, before: Tensor) -> Tensor:
        """Return the probability (B,) that a class survives from level ``before`` (B,) to the noisier ``level`` (B,).

        It is computed as a product of one-step probabilities where the levels are neighbours.
        """
        ratio = self.cumulative[level] / self.cumulative[before]
        return torch.where(before == level - 1, self.one_step[level], ratio)


def linear_cumulative(timesteps: int) -> Tensor:
    """Return abar (T,) of the linear schedule, float64: evenly spaced from 0.99999 to 9e-6."""
    if timesteps == 1:  # the only level is that of the random map
        return torch.tensor([MIN_KEPT], dtype=torch.float64, device="cpu")
    level = torch.arange(timesteps, dtype=torch.float64, device="cpu")
    return MAX_KEPT + (MIN_KEPT - MAX_KEPT) * level / (timesteps - 1)


def cos_cumulative(timesteps: int) -> Tensor:
    """Return abar (T,) of the cosine schedule, float64: (cos((t + T)π / 2T) + 1)² scaled to 0.99999 ... 9e-6."""
    if timesteps == 1:
        return torch.tensor([MIN_KEPT], dtype=torch.float64, device="cpu")
    level = torch.arange(timesteps, dtype=torch.float64, device="cpu")
    fall = (torch.cos((level + timesteps) * math.pi / (2 * timesteps)) + 1).square()
    return fall * (MAX_KEPT - MIN_KEPT) + MIN_KEPT


LABEL_SCHEDULES: dict[str, Callable[[int], Tensor]] = {"linear": linear_cumulative, "cos": cos_cumulative}


def label_schedule(name: str, timesteps: int) -> LabelSchedule:
    """Return the schedule ``name`` of T = ``timesteps`` levels, float64, on the CPU (whatever the default device is).

    Raises:
        ValueError: no such schedule, or fewer than one level.
    """
    if name not in LABEL_SCHEDULES:
        raise ValueError(f"label schedule must be one of {', '.join(LABEL_SCHEDULES)}; got {name!r}")
    if timesteps < 1:
        raise ValueError(f"timesteps (T) must be at least 1; got {timesteps}")
    return LabelSchedule.of(LABEL_SCHEDULES[name](timesteps))


def transition_matrix(kept: Tensor, num_classes: int) -> Tensor:
    """Return the transition matrices (..., K, K) alpha·I + (1 - alpha)/K of ``kept`` (...): Q_t of alpha, Q̄_t of abar.

    For figures and tests; sampling never builds them.
    """
    kept = kept[..., None, None]
    return kept * torch.eye(num_classes).to(kept) + (1 - kept) / num_classes


# -- forward process ---------------------------------------------------------------------------------------------------


def check_labels(labels: Tensor, num_classes: int) -> None:
    """Check that ``labels`` holds integers 0..K-1.

    Raises:
        ValueError: it does not.
    """
    if labels.is_floating_point():
        raise ValueError(f"labels must be integers; got {labels.dtype}")
    if not labels.numel():
        return
    low, high = (int(value) for value in torch.aminmax(labels))
    if low < 0 or high >= num_classes:
        raise ValueError(f"labels hold class {low if low < 0 else high}; expected 0..{num_classes - 1}")


def log_marginal(labels: Tensor, kept: Tensor, num_classes: int) -> Tensor:
    """Return log q(x_t = k | x_0), the logarithm of abar [k = x_0] + (1 - abar)/K.

    Args:
        labels: x_0, (B, h, w).
        kept: abar_t (B,); or alpha_t, for one step of noise on x_{t-1}.

    Returns:
        (B, K, h, w) in the dtype of ``kept``; never below log 1e-30.
    """
    other = (1 - kept) / num_classes
    shape = (len(labels), num_classes, *labels.shape[1:])
    table = _log(other).view(-1, 1, 1, 1).expand(shape).contiguous()
    same = _log(kept + other).view(-1, 1, 1, 1).expand(len(labels), 1, *labels.shape[1:])
    return table.scatter_(1, labels[:, None], same)


def draw_labels(log_probability: Tensor, uniform: Tensor) -> Tensor:
    """Draw one class per pixel by Gumbel-max.

    Args:
        log_probability: (B, K, h, w), up to a constant per pixel.
        uniform: U(0, 1) numbers of that shape.

    Returns:
        classes (B, h, w), int64.
    """
    return (log_probability + _gumbel(uniform)).argmax(1)


def noise_labels(labels: Tensor, kept: Tensor, uniform: Tensor) -> Tensor:
    """Draw x_t ~ q(x_t | x_0): :func:`draw_labels` of :func:`log_marginal`, in the memory of ``uniform`` alone.

    Args:
        labels: x_0, (B, h, w).
        kept: abar_t, (B,).
        uniform: U(0, 1) numbers (B, K, h, w).

    Returns:
        x_t, (B, h, w).
    """
    other = (1 - kept) / uniform.shape[1]
    advantage = (_log(kept + other) - _log(other)).to(uniform.dtype).view(-1, 1, 1, 1)
    score = _gumbel(uniform)
    return score.scatter_add_(1, labels[:, None], advantage.expand_as(labels[:, None])).argmax(1)


def _log(probability: Tensor) -> Tensor:
    return probability.clamp(min=MIN_PROBABILITY).log()


def _gumbel(uniform: Tensor) -> Tensor:
    """Draw standard Gumbel numbers; the offsets are the released ones."""
    return uniform.add(MIN_PROBABILITY).log_().neg_().add_(MIN_PROBABILITY).log_().neg_()


# -- reverse process ---------------------------------------------------------------------------------------------------


def log_posterior(
    noisy: Tensor, clean: Tensor, level: Tensor, before: Tensor, schedule: LabelSchedule, num_classes: int
) -> Tensor:
    """Return log q(x_s = j | x_t, x_0) by Bayes' rule, s < t: Q[j, x_t] Q̄_s[x_0, j] / Q̄_t[x_0, x_t].

    Args:
        noisy: x_t, (B, h, w).
        clean: x_0, (B, h, w).
        level: t, (B,).
        before: s, (B,); any level below t, -1 for the clean map.

    Returns:
        (B, K, h, w), normalised over classes; -inf where a class is impossible.
    """
    step, cumulative = schedule.kept_between(level, before), schedule.cumulative
    step_other, before_other = ((1 - kept) / num_classes for kept in (step, cumulative[before]))
    # without logarithms: a sum of products of numbers in [0, 1] loses nothing, and a class may be impossible
    table = step_other.view(-1, 1, 1, 1).expand(len(noisy), num_classes, *noisy.shape[1:]).contiguous()
    table.scatter_add_(1, noisy[:, None], step.view(-1, 1, 1, 1).expand_as(noisy[:, None]))
    at_clean = table.gather(1, clean[:, None]) * cumulative[before].view(-1, 1, 1, 1)
    table.mul_(before_other.view(-1, 1, 1, 1)).scatter_add_(1, clean[:, None], at_clean)
    return table.div_(table.sum(1, keepdim=True)).log_()


def log_posterior_released(
    noisy: Tensor, clean: Tensor, level: Tensor, schedule: LabelSchedule, num_classes: int
) -> Tensor:
    """Return what the released code takes for log q(x_{t-1} = j | x_t, x_0), which Bayes' rule does not give.

    It divides by the vector q(x_t = j | x_0) in place of the number q(x_t | x_0), so that what x_0 says about x_{t-1}
    nearly cancels.

    Args:
        noisy: x_t, (B, h, w).
        clean: x_0, (B, h, w).
        level: t, (B,).

    Returns:
        (B, K, h, w), not normalised.
    """
    table = log_marginal(noisy, schedule.one_step[level], num_classes)
    table += log_marginal(clean, schedule.cumulative[level - 1], num_classes)
    return table.sub_(log_marginal(clean, schedule.cumulative[level], num_classes))


def guide(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Return (1 + scale)·conditional - scale·unconditional, the logits under guidance."""
    return conditional * (1 + scale) - scale * unconditional


def visited_steps(timesteps: int, count: int | None = None) -> list[int]:
    """Return the released steps 0, ⌊T/n⌋, 2⌊T/n⌋, ..., and T - 1 in any case: often more than n.

    Args:
        timesteps: T.
        count: n; None visits all T.

    Raises:
        ConfigError: n is not in 1..T.
    """
    count = timesteps if count is None else count
    if timesteps < 1 or not 1 <= count <= timesteps:
        raise ConfigError(f"the number of steps must be in 1..T = {timesteps}; got {count}")
    steps = list(range(0, timesteps, timesteps // count))
    return steps if steps[-1] == timesteps - 1 else [*steps, timesteps - 1]


def check_steps(steps: Sequence[int], timesteps: int) -> list[int]:
    """Check chosen steps: they begin at 0, rise, and stay below T.

    Raises:
        ConfigError: they do not.
    """
    chosen = [int(step) for step in steps]
    rising = all(a < b for a, b in itertools.pairwise(chosen))
    if not chosen or chosen[0] != 0 or not rising or chosen[-1] >= timesteps:
        raise ConfigError(f"steps must begin at 0, rise, and stay below T = {timesteps}; got {list(steps)}")
    return chosen


def re_noise(
    sampler: SamplerName,
    clean: Tensor,
    noisy: Tensor,
    level: int,
    following: int,
    schedule: LabelSchedule,
    uniform: Tensor,
) -> Tensor:
    """Move from ``noisy`` at ``level`` to the map at the lower level ``following``, given the predicted clean map.

    Args:
        sampler: "free" forgets the noisy map and noises the prediction afresh (the paper's relaxed sampler);
            "strict" draws from the exact posterior between the two levels; "strict_released" from the released
            posterior at ``following``, the level that the released code hands it.
        clean, noisy: (B, h, w).
        uniform: U(0, 1) numbers (B, K, h, w).

    Returns:
        (B, h, w)

    Raises:
        ConfigError: no such sampler.
    """
    num_classes, batch = uniform.shape[1], len(clean)
    t, s = (torch.full((batch,), value, device=clean.device) for value in (level, following))
    if sampler == "free":
        return noise_labels(clean, schedule.cumulative[s], uniform)
    if sampler == "strict":
        return draw_labels(log_posterior(noisy, clean, t, s, schedule, num_classes), uniform)
    if sampler == "strict_released":
        return draw_labels(log_posterior_released(noisy, clean, s, schedule, num_classes), uniform)
    raise ConfigError(f"sampler must be free, strict or strict_released; got {sampler!r}")


@dataclass(frozen=True)
class LabelStep:
    """One step of the reverse process.

    Attributes:
        step: i, in 0..T-1.
        noisy: the map (B, h, w) that the network saw.
        logits: what it made of it, (B, K, h, w).
    """

    step: int
    noisy: Tensor
    logits: Tensor


def denoise_labels(
    predict: Callable[[Tensor, int], Tensor],
    schedule: LabelSchedule,
    steps: Sequence[int],
    noise: LabelNoise,
    sampler: SamplerName = "free",
) -> Iterator[LabelStep]:
    """Run the reverse process, a step at a time (so that nothing is kept that the caller does not keep).

    Args:
        predict: noisy map (B, h, w), step i -> class logits (B, K, h, w).
        steps: the steps to visit, as of :func:`visited_steps`.

    Raises:
        ConfigError: impossible steps, or no such sampler.
    """
    steps = check_steps(steps, schedule.timesteps)
    last_level = schedule.timesteps - 1
    noisy, clean = noise.start(), None
    for index, step in enumerate(steps):
        if clean is not None:
            levels = last_level - steps[index - 1], last_level - step
            noisy = re_noise(sampler, clean, noisy, *levels, schedule, noise.uniform(step))
        logits = predict(noisy, step)
        yield LabelStep(step, noisy, logits)
        clean = logits.argmax(1)
