import itertools
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddp_repro.diffusion import (
    SCHEDULES,
    corrupt,
    ddim_step,
    ddpm_step,
    draw_noise,
    draw_times,
    image_generator,
    time_pairs,
)

pytestmark = pytest.mark.numerics

GOLDEN = Path(__file__).parents[1] / "golden" / "ddp"
COSINE = SCHEDULES["cosine"]


def test_time_pairs_match_the_released_ones() -> None:
    for key, expected in json.loads((GOLDEN / "time_pairs.json").read_text()).items():
        steps, td, low = (part.lstrip("Ttdlo") for part in key.split("_"))
        assert torch.tensor(time_pairs(int(steps), int(td), float(low))).flatten().tolist() == pytest.approx(
            torch.tensor(expected).flatten().tolist(), abs=2e-7
        ), key


@given(steps=st.integers(1, 50), td=st.integers(0, 5))
def test_times_fall(steps: int, td: int) -> None:
    pairs = time_pairs(steps, td)
    assert len(pairs) == steps and pairs[0][0] == 1 and pairs[-1][1] == pytest.approx(0, abs=1e-12)
    assert all(now > following >= 0 for now, following in pairs)
    assert all(a[0] > b[0] for a, b in itertools.pairwise(pairs))


@pytest.mark.parametrize(("steps", "td"), [(0, 1), (-1, 1), (3, -1)])
def test_impossible_time_pairs(steps: int, td: int) -> None:
    with pytest.raises(ValueError, match="steps|time_difference"):
        time_pairs(steps, td)


@settings(deadline=None)
@given(steps=st.integers(1, 12), td=st.integers(0, 2), schedule=st.sampled_from(sorted(SCHEDULES)))
def test_a_perfect_prediction_is_reached(steps: int, td: int, schedule: str) -> None:
    """With the clean map as every prediction, DDIM ends at that map (up to the noise left at t = 0)."""
    torch.manual_seed(0)
    clean = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    noisy = torch.randn_like(clean)
    for now, following in torch.tensor(time_pairs(steps, td), dtype=torch.float64):
        noisy = ddim_step(noisy, clean, now, following, SCHEDULES[schedule])
    alpha, sigma = SCHEDULES[schedule].alpha_sigma(torch.tensor(0.0, dtype=torch.float64))
    assert (noisy - alpha * clean).abs().max() <= 20 * sigma


def test_ddim_keeps_the_noise() -> None:
    """A corrupted map moved to another time is the same map corrupted there with the same noise."""
    torch.manual_seed(0)
    clean, noise = torch.randn(2, 1, 4, 5, 5, dtype=torch.float64)
    now, following = torch.tensor([0.8, 0.3], dtype=torch.float64)
    moved = ddim_step(corrupt(clean, noise, now.view(1), COSINE), clean, now, following, COSINE)
    torch.testing.assert_close(moved, corrupt(clean, noise, following.view(1), COSINE))


def test_ddpm_has_the_marginal_of_the_forward_process() -> None:
    """q(z_s | z_0) is recovered by sampling z_t, then z_s given z_t and z_0."""
    torch.manual_seed(0)
    clean = torch.full((1, 1, 400, 500), 0.7, dtype=torch.float64)
    now, following = torch.tensor([0.8, 0.3], dtype=torch.float64)
    noisy = corrupt(clean, torch.randn_like(clean), now.view(1), COSINE)
    moved = ddpm_step(noisy, clean, now, following, COSINE, torch.randn_like(clean))
    alpha, sigma = COSINE.alpha_sigma(following)
    assert moved.mean().item() == pytest.approx((alpha * 0.7).item(), abs=5e-3)
    assert moved.std().item() == pytest.approx(sigma.item(), rel=1e-2)


def test_ddpm_adds_no_noise_at_the_end() -> None:
    clean, noisy = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    now, end = torch.tensor([0.5, 0.0])
    a, b = (ddpm_step(noisy, clean, now, end, COSINE, torch.full_like(noisy, scale)) for scale in (0.0, 100.0))
    assert torch.equal(a, b)


@pytest.mark.parametrize("step", [ddim_step, ddpm_step])
def test_steps_are_linear(step: object) -> None:
    """What lets the sampler carry a projected map: a step commutes with any linear map."""
    torch.manual_seed(0)
    noisy, clean, noise = torch.randn(3, 7, 4, dtype=torch.float64)
    projection = torch.randn(4, 6, dtype=torch.float64)
    now, following = torch.tensor([0.6, 0.2], dtype=torch.float64)
    last = () if step is ddim_step else (noise,)
    direct = step(noisy, clean, now, following, COSINE, *last) @ projection
    carried = step(noisy @ projection, clean @ projection, now, following, COSINE, *(n @ projection for n in last))
    torch.testing.assert_close(direct, carried)


def test_noise_belongs_to_the_image() -> None:
    ids = ["a", "b", "ü"]
    together = draw_noise((2, 3, 4), 3, [image_generator(7, i) for i in ids])
    for index, image in enumerate(ids):
        assert torch.equal(together[index], draw_noise((2, 3, 4), 1, image_generator(7, image))[0])
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(together[0], draw_noise((2, 3, 4), 1, image_generator(8, "a"))[0])


def test_one_generator_per_image_or_one_for_all() -> None:
    with pytest.raises(ValueError, match="2 generators for 3 images"):
        draw_noise((1, 2, 2), 3, [image_generator(0, "a"), image_generator(0, "b")])


def test_times_are_drawn_below_one() -> None:
    torch.manual_seed(0)
    t = draw_times(10_000)
    assert t.min() >= 0 and t.max() < 0.999 and t.mean().item() == pytest.approx(0.4995, abs=0.01)
