from pathlib import Path

import pytest
import torch
from torch import Tensor

from ddp_repro.diffusion import ENCODINGS, image_generator, time_pairs
from ddp_repro.diffusion.samplers import SAMPLERS
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.model import DDP, Baseline
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings.overrides import override

pytestmark = pytest.mark.numerics

TINY = ModelConfig(
    backbone="resnet10t", drop_path_rate=0.0, channels=16, layers=2, heads=2, feedforward_channels=32, num_classes=5
)


def tiny(**changes: object) -> DDP:
    torch.manual_seed(0)
    model = build_model(override(TINY, changes)).eval()
    for module in model.modules():  # fresh attention looks at whole pixels only: make it less special
        if hasattr(module, "sampling_offsets"):
            torch.nn.init.normal_(module.sampling_offsets.weight, std=0.3)
    return model


def published_sampling(model: DDP, images: Tensor, noise: Tensor, steps: int) -> list[Tensor]:
    """The released formulation: the whole fusion at every step, the map updated before it is fused."""
    features, noisy, outputs = model.encode_image(images), noise, []
    for now, following in time_pairs(steps, model.config.time_difference):
        outputs.append(model.decode(features, noisy, now))
        clean = model.encoding.encode(outputs[-1].argmax(1))
        noisy = SAMPLERS["ddim"](noisy, clean, torch.tensor(now), torch.tensor(following), model.schedule)
    return outputs


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("td", [0, 1, 2])
@torch.no_grad()
def test_sampling_equals_the_published_formulation(encoding: str, schedule: str, td: int) -> None:
    model = tiny(encoding=encoding, schedule=schedule, time_difference=td, scale=1.0)
    images = torch.randn(2, 3, 40, 56)
    noise = torch.randn(2, *model.noise_shape(model.encode_image(images)))
    expected = published_sampling(model, images, noise, steps=4)
    ours = model.sample(images, steps=4, noise=noise, return_trajectory=True)
    scores = torch.stack(expected)
    assert (ours.decoded - scores).abs().max() <= 2e-5 * scores.abs().max()  # those near zero are rounded like the rest
    average = model.sample(images, steps=4, noise=noise, average_steps=True)
    torch.testing.assert_close(average, scores.softmax(2).mean(0), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_a_batch_gives_what_its_images_give(sampler: str) -> None:
    model, ids = tiny(sampler=sampler), ["a", "b", "c"]
    images = torch.randn(3, 3, 37, 53)
    together = model.sample(images, generator=[image_generator(1, i) for i in ids])
    for index, name in enumerate(ids):
        alone = model.sample(images[index : index + 1], generator=[image_generator(1, name)])
        torch.testing.assert_close(alone[0], together[index], atol=1e-4, rtol=1e-4)


def test_features_may_be_given_instead_of_images() -> None:
    model, images = tiny(), torch.randn(1, 3, 32, 32)
    features = model.encode_image(images)  # where gradients are on, the encoder's layout and rounding are another
    a, b = (
        model.sample(generator=image_generator(0, "x"), **kwargs)
        for kwargs in ({"images": images}, {"features": features})
    )
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_average_of_one_step_is_its_softmax() -> None:
    model, images = tiny(), torch.randn(1, 3, 32, 32)
    logits, average = (
        model.sample(images, steps=1, generator=image_generator(0, "x"), average_steps=a) for a in (False, True)
    )
    torch.testing.assert_close(logits.softmax(1), average)


def test_steps_must_be_positive() -> None:
    with pytest.raises(ValueError, match="steps must be at least 1"):
        tiny().sample(torch.randn(1, 3, 32, 32), steps=0)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_training_loss_reaches_every_parameter(encoding: str) -> None:
    model = tiny(encoding=encoding).train()
    label = torch.randint(0, 5, (2, 32, 48))
    label[:, :4] = 255
    losses = model.training_loss({"image": torch.randn(2, 3, 32, 48), "label": label})
    losses["loss"].backward()
    assert losses["loss"].item() == pytest.approx((losses["decode"] + losses["auxiliary"]).item())
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_loss_counts_ignored_pixels_in_its_mean() -> None:
    model = tiny()
    batch = {"image": torch.randn(1, 3, 32, 32), "label": torch.randint(0, 5, (1, 32, 32))}
    t, noise = torch.tensor([0.5]), torch.zeros(1, 16, 8, 8)
    half = batch["label"].clone()
    half[:, 16:] = 255
    full = {"image": batch["image"], "label": torch.full_like(half, 255)}
    assert model.training_loss(full, t, noise)["loss"] == 0
    lower, upper = half, batch["label"].clone()
    upper[:, :16] = 255
    # with fixed logits the two halves' losses would add up; with one step of feedback excluded they do
    features = model.encode_image(batch["image"])
    logits = model.decode(features, noise, t)
    parts = [model.losses(logits, features, {"label": label})["loss"] for label in (lower, upper)]
    torch.testing.assert_close(sum(parts), model.losses(logits, features, batch)["loss"])


def test_self_aligned_training_never_sees_the_true_map() -> None:
    """The corrupted map is made from the model's own prediction: only the loss knows the ground truth."""
    model, seen = tiny(), []
    decode = model.decode
    model.decode = lambda features, noisy, t: seen.append((noisy, t)) or decode(features, noisy, t)
    image, noise, t = torch.randn(1, 3, 32, 32), torch.randn(1, 16, 8, 8), torch.tensor([0.4])
    for label in (torch.zeros(1, 32, 32).long(), torch.ones(1, 32, 32).long()):
        model.self_aligned_loss({"image": image, "label": label}, "same_noise", t, noise)
    (first, t_first), (second, _), (again, _), (second_again, _) = seen
    assert t_first == 1.0 and torch.equal(first, noise) and torch.equal(first, again)
    assert torch.equal(second, second_again)
    prediction = decode(model.encode_image(image), noise, 1.0).argmax(1)
    alpha, sigma = model.schedule.alpha_sigma(t)
    torch.testing.assert_close(second, alpha * model.encoding.encode(prediction) + sigma * noise)


def test_self_aligned_variants_differ_in_their_noise() -> None:
    model = tiny(scale=1.0)
    batch = {"image": torch.randn(1, 3, 32, 32), "label": torch.randint(0, 5, (1, 32, 32))}
    noise, fresh, t = torch.randn(1, 16, 8, 8), torch.randn(1, 16, 8, 8), torch.tensor([0.9])
    same = model.self_aligned_loss(batch, "same_noise", t, noise, fresh)["loss"]
    other = model.self_aligned_loss(batch, "fresh_noise", t, noise, fresh)["loss"]
    assert not torch.isclose(same, other)
    with pytest.raises(ValueError, match="same_noise or fresh_noise"):
        model.self_aligned_loss(batch, "old_noise")


def test_baseline_has_neither_time_nor_map() -> None:
    model = build_model(override(TINY, {"diffusion": False})).eval()
    assert isinstance(model, Baseline)
    assert not [n for n, _ in model.named_parameters() if "modulation" in n or "time" in n or "fusion" in n]
    images = torch.randn(2, 3, 40, 56)
    assert torch.equal(model.sample(images), model.sample(images))
    batch = {"image": images, "label": torch.randint(0, 5, (2, 40, 56))}
    model.train().training_loss(batch)["loss"].backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("changes", [{}, {"diffusion": False}, {"task": "depth", "schedule": "gamma"}])
def test_saved_models_come_back_as_what_they_were(tmp_path: Path, changes: dict[str, object]) -> None:
    model = build_model(override(TINY, changes)).eval()
    model.save_pretrained(tmp_path)
    again = DDP.from_pretrained(tmp_path)
    assert type(again) is type(model) and again.config == model.config
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))


def test_impossible_settings() -> None:
    with pytest.raises(ValueError, match="multiple of heads"):
        build_model(override(TINY, {"heads": 3}))
    with pytest.raises(ValueError, match="no model 'resnet_of_dreams'"):
        build_model(override(TINY, {"backbone": "resnet_of_dreams"}))
    with pytest.raises(ValueError, match="Swin backbones only"):
        build_model(override(TINY, {"window_size": 7}))
