"""Multinomial diffusion: the released numbers, Bayes' rule by enumeration, and the samplers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ddp_repro.diffusion.discrete import (
    LABEL_SCHEDULES,
    LabelSchedule,
    check_labels,
    denoise_labels,
    draw_labels,
    guide,
    label_schedule,
    log_marginal,
    log_posterior,
    log_posterior_released,
    noise_labels,
    re_noise,
    transition_matrix,
    visited_steps,
)
from ddp_repro.diffusion.label_noise import ImageLabelNoise, StreamLabelNoise

pytestmark = pytest.mark.numerics

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "siblings" / "ddps_core.npz")
SAMPLERS = ("free", "strict", "strict_released")


def golden(name: str) -> Tensor:
    return torch.from_numpy(GOLDEN[name])


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-5) -> None:
    assert ours.shape == theirs.shape
    assert (ours.double() - theirs.double()).abs().max() <= tolerance


@pytest.mark.parametrize(
    "name", [key[:-3] for key in GOLDEN.files if key.endswith("_at") and key[:3] in ("lin", "cos")]
)
def test_schedules_are_the_released_ones(name: str) -> None:
    kind, timesteps, classes = name.split("_")
    timesteps, classes = int(timesteps[1:]), int(classes[1:])
    schedule = label_schedule(kind, timesteps)
    close(schedule.one_step, golden(f"{name}_at"))
    close(schedule.cumulative, golden(f"{name}_att"))
    close((1 - schedule.one_step) / classes, golden(f"{name}_bt"))
    close((1 - schedule.cumulative) / classes, golden(f"{name}_btt"))


def test_transitions_are_the_released_ones() -> None:
    schedule = label_schedule("linear", 8)
    close(transition_matrix(schedule.one_step, 5), golden("Q_linear_T8_K5"), 1e-6)
    close(transition_matrix(schedule.cumulative[:-1], 5), golden("Qbar_linear_T8_K5"), 1e-6)


@pytest.mark.parametrize("kind", sorted(LABEL_SCHEDULES))
@pytest.mark.parametrize(("timesteps", "classes"), [(1, 2), (8, 5), (100, 151)])
def test_one_step_transitions_multiply_to_the_cumulative_ones(kind: str, timesteps: int, classes: int) -> None:
    schedule = label_schedule(kind, timesteps)
    product = torch.eye(classes, dtype=torch.float64)
    for level in range(timesteps):
        product = product @ transition_matrix(schedule.one_step[level], classes)
        close(product, transition_matrix(schedule.cumulative[level], classes), 1e-12)


def test_marginals_and_samples_are_the_released_ones() -> None:
    schedule, clean, level = label_schedule("linear", 20).float(), golden("q_x0"), golden("q_t")
    close(log_marginal(clean, schedule.cumulative[level], 7), golden("q_pred_log"))
    close(log_marginal(clean, schedule.cumulative[level - 1], 7), golden("q_pred_log_tm1"))
    uniform = StreamLabelNoise((7, 4, 5), 3, torch.Generator().manual_seed(1)).uniform(0)
    expected = golden("q_pred_sample_seed1")
    assert torch.equal(draw_labels(log_marginal(clean, schedule.cumulative[level], 7), uniform), expected)
    assert torch.equal(noise_labels(clean, schedule.cumulative[level], uniform), expected)


def test_posteriors_are_the_released_and_the_true_ones() -> None:
    schedule, clean, level = label_schedule("linear", 20), golden("q_x0"), golden("q_t")
    noisy = golden("q_posterior_xt")
    released = log_posterior_released(noisy, clean, level, schedule, 7)
    close(released, golden("q_posterior_log_official"))
    close(released.softmax(1).movedim(1, -1), golden("q_posterior_official_normalised"))
    exact = log_posterior(noisy, clean, level, level - 1, schedule, 7).exp()
    close(exact.movedim(1, -1), golden("q_posterior_exact"), 1e-6)


@settings(deadline=None, max_examples=30)
@given(
    kind=st.sampled_from(sorted(LABEL_SCHEDULES)),
    timesteps=st.integers(1, 12),
    classes=st.integers(2, 7),
    stride=st.integers(1, 12),
)
def test_posterior_is_bayes_rule_by_enumeration(kind: str, timesteps: int, classes: int, stride: int) -> None:
    """Every (x_t, x_0) pair is a pixel, every level an image; ``stride`` levels at once, down to the clean map."""
    schedule = label_schedule(kind, timesteps)
    level = torch.arange(timesteps)
    before = (level - stride).clamp(min=-1)
    noisy, clean = torch.meshgrid(torch.arange(classes), torch.arange(classes), indexing="ij")
    table = log_posterior(
        *(x.expand(timesteps, -1, -1) for x in (noisy, clean)), level, before, schedule, classes
    ).exp()
    for t in range(timesteps):
        product = torch.eye(classes, dtype=torch.float64)
        for u in range(int(before[t]) + 1, t + 1):
            product = product @ transition_matrix(schedule.one_step[u], classes)
        marginal = transition_matrix(schedule.cumulative[before[t]], classes)
        joint = marginal[:, :, None] * product[None]  # (x_0, x_s, x_t)
        expected = joint / joint.sum(1, keepdim=True)
        close(table[t], expected.permute(1, 2, 0), 1e-10)


def test_noise_has_the_marginal_distribution() -> None:
    torch.manual_seed(0)
    kept, clean = torch.tensor([0.3]), torch.full((1, 100, 100), 2)
    drawn = noise_labels(clean, kept, torch.rand(1, 4, 100, 100))
    share = torch.bincount(drawn.flatten(), minlength=4) / drawn.numel()
    assert (share - torch.tensor([0.175, 0.175, 0.475, 0.175])).abs().max() < 0.02


def test_posterior_sampling_recovers_the_marginal() -> None:
    """x_t from x_0, then x_s from both, is distributed as x_s from x_0."""
    torch.manual_seed(0)
    schedule, clean = label_schedule("cos", 10), torch.full((1, 120, 120), 1)
    t, s = torch.tensor([7]), torch.tensor([3])
    noisy = noise_labels(clean, schedule.cumulative[t], torch.rand(1, 3, 120, 120))
    drawn = draw_labels(log_posterior(noisy, clean, t, s, schedule, 3), torch.rand(1, 3, 120, 120))
    share = torch.bincount(drawn.flatten(), minlength=3) / drawn.numel()
    expected = transition_matrix(schedule.cumulative[s], 3)[0, 1]
    assert (share - expected).abs().max() < 0.02


def perfect(target: Tensor, classes: int) -> Callable[[Tensor, int], Tensor]:
    logits = torch.nn.functional.one_hot(target, classes).permute(0, 3, 1, 2).float()
    return lambda noisy, step: logits


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("count", [None, 1, 3])
def test_a_perfect_predictor_gives_the_map(sampler: str, count: int | None) -> None:
    target = torch.randint(6, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    noise = ImageLabelNoise((6, 8, 8), 2, torch.Generator().manual_seed(1))
    schedule = label_schedule("linear", 20)
    steps = list(denoise_labels(perfect(target, 6), schedule, visited_steps(20, count), noise, sampler))
    assert torch.equal(steps[-1].logits.argmax(1), target)
    if sampler != "strict_released":  # whose posterior hardly looks at the prediction
        assert torch.equal(steps[-1].noisy, target)  # level 0 keeps 0.99999 of the pixels


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_level_is_the_single_step(sampler: str) -> None:
    noise = ImageLabelNoise((5, 4, 6), 3, torch.Generator().manual_seed(0))
    seen = []

    def predict(noisy: Tensor, step: int) -> Tensor:
        seen.append((noisy, step))
        return torch.nn.functional.one_hot(noisy, 5).permute(0, 3, 1, 2).float()

    (only,) = denoise_labels(predict, label_schedule("linear", 1), visited_steps(1), noise, sampler)
    assert len(seen) == 1 and seen[0][1] == 0
    assert torch.equal(only.noisy, noise.start()) and torch.equal(only.logits.argmax(1), noise.start())
    assert label_schedule("linear", 1).cumulative[0] < 1e-5  # the one level is the random one, not the clean one


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_free_re_noising_forgets_the_noisy_map_and_strict_does_not(sampler: str) -> None:
    schedule, clean = label_schedule("linear", 20), torch.zeros(1, 40, 40, dtype=torch.long)
    uniform = torch.rand(1, 5, 40, 40, generator=torch.Generator().manual_seed(0))
    moved = [re_noise(sampler, clean, torch.full_like(clean, value), 10, 9, schedule, uniform) for value in (1, 2)]
    assert torch.equal(*moved) == (sampler == "free")


@pytest.mark.parametrize(
    ("timesteps", "count", "expected"),
    [
        (20, 2, [0, 10, 19]),
        (20, 3, [0, 6, 12, 18, 19]),
        (20, None, list(range(20))),
        (100, 10, [*range(0, 100, 10), 99]),
        (20, 1, [0, 19]),
        (1, 1, [0]),
    ],
)
def test_visited_steps(timesteps: int, count: int | None, expected: list[int]) -> None:
    assert visited_steps(timesteps, count) == expected


@pytest.mark.parametrize(("timesteps", "count"), [(20, 0), (20, 21), (0, 1), (0, None)])
def test_step_counts_that_do_not_fit(timesteps: int, count: int | None) -> None:
    with pytest.raises(ValueError, match=r"steps must be in 1\.\.T"):
        visited_steps(timesteps, count)


@pytest.mark.parametrize("steps", [[], [1, 2], [0, 5, 5], [0, 20], [0, 3, 2]])
def test_chosen_steps_that_do_not_fit(steps: list[int]) -> None:
    noise = ImageLabelNoise((3, 2, 2), 1)
    target = torch.zeros(1, 2, 2, dtype=torch.long)
    with pytest.raises(ValueError, match="begin at 0, rise, and stay below T = 20"):
        next(denoise_labels(perfect(target, 3), label_schedule("linear", 20), steps, noise))


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="linear, cos; got 'cosine'"):
        label_schedule("cosine", 20)
    with pytest.raises(ValueError, match="at least 1; got 0"):
        label_schedule("linear", 0)
    with pytest.raises(ValueError, match="abar must fall"):
        LabelSchedule.of(torch.tensor([0.5, 0.6]))
    with pytest.raises(ValueError, match=r"class 7; expected 0\.\.6"):
        check_labels(torch.tensor([[0, 7]]), 7)
    with pytest.raises(ValueError, match=r"class -1; expected 0\.\.6"):
        check_labels(torch.tensor([[-1, 3]]), 7)
    with pytest.raises(ValueError, match="integers"):
        check_labels(torch.tensor([[0.5]]), 7)
    with pytest.raises(ValueError, match="2 generators for 3 images"):
        ImageLabelNoise((3, 2, 2), 3, [torch.Generator(), torch.Generator()])
    noise, target = ImageLabelNoise((3, 2, 2), 1), torch.zeros(1, 2, 2, dtype=torch.long)
    with pytest.raises(ValueError, match="free, strict or strict_released; got 'ddim'"):
        list(denoise_labels(perfect(target, 3), label_schedule("linear", 4), [0, 1], noise, "ddim"))


def test_noise_belongs_to_image_and_step() -> None:
    def generators(*seeds: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    together = ImageLabelNoise((5, 3, 4), 2, generators(3, 4))
    for index, seed in enumerate((3, 4)):
        alone = ImageLabelNoise((5, 3, 4), 1, generators(seed))
        assert torch.equal(together.start()[index], alone.start()[0])
        assert torch.equal(together.uniform(7)[index], alone.uniform(7)[0])
    assert not torch.equal(together.uniform(7), together.uniform(8))
    generator = torch.Generator().manual_seed(3)
    first, second = (ImageLabelNoise((5, 3, 4), 1, generator).uniform(7) for _ in range(2))
    assert torch.equal(first, together.uniform(7)[:1]) and not torch.equal(first, second)  # another run, other noise


def test_noise_does_not_depend_on_the_other_steps() -> None:
    target = torch.randint(5, (1, 6, 6), generator=torch.Generator().manual_seed(0))
    schedule = label_schedule("linear", 20)

    def last_map(steps: list[int]) -> Tensor:
        noise = ImageLabelNoise((5, 6, 6), 1, torch.Generator().manual_seed(3))
        return list(denoise_labels(perfect(target, 5), schedule, steps, noise))[-1].noisy

    assert torch.equal(last_map([0, 9]), last_map([0, 2, 5, 9]))
    assert not torch.equal(last_map([0, 9]), last_map([0, 8]))


def test_guidance() -> None:
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 4.0])
    close(guide(a, b, 0.4), torch.tensor([1.2, 1.2]), 1e-6)
    assert torch.equal(guide(a, b, 0.0), a)
