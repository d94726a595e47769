from collections.abc import Callable

import pytest
import torch
from papers.genpercept.conftest import tiny_unet, tiny_vae
from torch import Tensor

from ddp_repro.papers.genpercept.model import GenPercept
from ddp_repro.papers.genpercept.settings import GenPerceptConfig, pipeline_config
from ddp_repro.settings.errors import ConfigError

pytestmark = pytest.mark.numerics

STOCHASTIC = {"noise": "gaussian", "input": "concatenated"}
HEADS = [
    {"decoder": "dpt", "task": "affine_depth", "space": "disparity", "loss": "image"},
    {"decoder": "upernet", "task": "segmentation", "loss": "cross_entropy", "num_classes": 5},
]
Build = Callable[..., GenPercept]


@pytest.mark.parametrize("fields", [{"noise": "image"}, STOCHASTIC])
def test_ten_steps_are_one_at_beta_one(fields: dict, build: Build, images: Tensor) -> None:
    model = build(**fields)
    one, ten = (model.predict(images, steps, torch.Generator().manual_seed(0)) for steps in (1, 10))
    assert torch.equal(one, ten)


def test_steps_matter_at_other_betas(build: Build, images: Tensor) -> None:
    model = build(beta_start=0.00085, beta_end=0.012)
    assert not torch.allclose(model.predict(images, 1), model.predict(images, 10), atol=1e-3)


@pytest.mark.parametrize("fields", [{}, {"task": "normals"}, *HEADS])
def test_one_step_is_deterministic_and_a_batch_is_its_images(fields: dict, build: Build, images: Tensor) -> None:
    model = build(**fields)
    batch = model.predict(images)
    assert torch.equal(batch, model.predict(images))
    assert batch.shape == (2, model.config.output_channels, 32, 64) and batch.isfinite().all()
    for i in range(2):
        single = model.predict(images[i : i + 1])
        # Random weights give normals near length 0, whose direction carries rounding further.
        tolerance = 1e-3 if model.config.task == "normals" else 1e-5
        torch.testing.assert_close(batch[i : i + 1], single, atol=tolerance, rtol=1e-5)


@pytest.mark.parametrize("ensemble", [1, 3])
def test_a_stochastic_batch_is_its_images_too(ensemble: int, build: Build, images: Tensor) -> None:
    model = build(**STOCHASTIC, beta_start=0.00085, beta_end=0.012, steps=2, ensemble=ensemble)
    batch = model.predict(images, generator=[torch.Generator().manual_seed(seed) for seed in (5, 6)])
    for i, seed in enumerate((5, 6)):
        single = model.predict(images[i : i + 1], generator=torch.Generator().manual_seed(seed))
        # The ensemble's alignment is an optimiser's result: it carries rounding further.
        torch.testing.assert_close(batch[i : i + 1], single, atol=1e-5 if ensemble == 1 else 1e-3, rtol=1e-4)
    assert not torch.equal(batch, model.predict(images, generator=torch.Generator().manual_seed(7)))


def test_normals_ensemble_has_unit_length(build: Build, images: Tensor) -> None:
    model = build(task="normals", **STOCHASTIC, beta_start=0.00085, beta_end=0.012, steps=1, ensemble=2)
    result = model.predict(images, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(result.norm(dim=1), torch.ones(2, 32, 64))


@pytest.mark.parametrize("size", [(8, 8), (33, 47), (17, 64)])
@pytest.mark.parametrize("fields", [{}, HEADS[0]])
def test_any_size_from_eight_pixels_on(size: tuple[int, int], fields: dict, build: Build) -> None:
    result = build(**fields).predict(torch.rand(1, 3, *size))
    assert result.shape == (1, 1, *size) and result.isfinite().all() and result.min() >= 0 and result.max() <= 1


def test_padding_leaves_multiples_alone(build: Build, images: Tensor) -> None:
    model = build()
    latent = model.latent(images * 2 - 1)
    sampled = model.sample(features=latent)
    assert torch.equal(model.predict(images), (sampled + 1).detach() / 2)


def test_uint8_is_float(build: Build, images: Tensor) -> None:
    model, eight_bit = build(), (images * 255).round().to(torch.uint8)
    torch.testing.assert_close(model.predict(eight_bit), model.predict(eight_bit.float() / 255), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(7, 64), (64, 1)])
def test_small_images_are_refused(size: tuple[int, int], build: Build) -> None:
    with pytest.raises(ValueError, match="below 8x8"):
        build().predict(torch.rand(1, 3, *size))


def test_bad_images_are_refused(build: Build, images: Tensor) -> None:
    model = build()
    for bad in (images * 2, images - 1, images * torch.nan):
        with pytest.raises(ValueError, match="outside"):
            model.predict(bad)
    with pytest.raises(ValueError, match="uint8"):
        model.predict((images * 255).int())
    with pytest.raises(ValueError, match="shape"):
        model.predict(images[0])
    with pytest.raises(ValueError, match="shape"):
        model.predict(images[:, :1])
    with pytest.raises(ValueError, match="multiples"):
        model.latent(images[..., :-1])
    with pytest.raises(ValueError, match="generators"):
        build(**STOCHASTIC).predict(images, generator=[torch.Generator()])


def test_channels_must_be_the_pipelines() -> None:
    text = torch.zeros(1, 2, 32)
    with pytest.raises(ConfigError, match="takes 8 channels.*gives 4"):
        GenPercept(tiny_unet(8), tiny_vae(), text)
    with pytest.raises(ConfigError, match="takes 4 channels.*gives 8"):
        GenPercept(tiny_unet(4), tiny_vae(), text, pipeline_config("stochastic"))


def test_parts_must_fit() -> None:
    text = torch.zeros(1, 2, 32)
    with pytest.raises(ConfigError, match="scaling factor is 0.13025"):
        GenPercept(tiny_unet(), tiny_vae(0.13025), text)
    with pytest.raises(ConfigError, match="wide"):
        GenPercept(tiny_unet(), tiny_vae(), torch.zeros(1, 2, 16))
    with pytest.raises(ConfigError, match="tokens"):
        GenPercept(tiny_unet(), tiny_vae(), text[0])
    with pytest.raises(ConfigError, match="DPTHead"):
        GenPercept(tiny_unet(), tiny_vae(), text, GenPerceptConfig("affine_depth", decoder="dpt", loss="image"))


@pytest.mark.parametrize(
    "fields",
    [
        {"task": "pose"},
        {"noise": "gaussian"},
        {"ensemble": 2},
        {"beta_start": 0.0},
        {"beta_start": 0.5, "beta_end": 0.1},
        {"steps": 0},
        {"steps": 2, "timestep": 500},
        {"timestep": 1000},
        {"decoder": "dpt"},
        {"decoder": "dpt", "loss": "image", "steps": 2},
        {"decoder": "dpt", "loss": "image", "task": "normals"},
        {"decoder": "upernet", "loss": "cross_entropy"},
        {"loss": "angular"},
        {"loss": "customised", "task": "matting"},
        {"loss": "cross_entropy"},
        {"decoder_from_scratch": True},
        {"multi_resolution_noise": 0.9},
        {"scaling_factor": 0.0},
        {"lora_rank": 0},
    ],
)
def test_contradicting_settings_are_refused(fields: dict) -> None:
    with pytest.raises(ConfigError):
        GenPerceptConfig(**fields)


LOSSES = [
    {},
    {"timestep": 500},
    {**STOCHASTIC, "beta_start": 0.00085, "beta_end": 0.012, "multi_resolution_noise": 0.9},
    {"loss": "image"},
    {"loss": "customised", "latent_weight": 1.0},
    {"loss": "angular", "task": "normals"},
    {"loss": "image", "decoder_from_scratch": True},
    *HEADS,
]


@pytest.mark.parametrize("fields", LOSSES)
def test_gradients_reach_what_is_trained_and_nothing_else(fields: dict, build: Build, images: Tensor) -> None:
    model = build(**fields)
    label = torch.nn.functional.normalize(images - 0.5, dim=1) if model.config.output_channels == 3 else images[:, :1]
    if model.config.decoder == "upernet":
        label = (images[:, 0] * 5).long()
    loss = model.loss(images * 2 - 1, label, generator=torch.Generator().manual_seed(0))
    loss.backward()
    assert loss.isfinite()
    missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    strays = [name for name, p in model.named_parameters() if not p.requires_grad and p.grad is not None]
    # Batch normalisation hides the biases before it, but hands on a gradient; nothing may be cut off.
    assert not strays and not missing
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    expected = {"unet"} | ({"head"} if model.head is not None else set())
    assert trained == expected | ({"vae"} if model.config.decoder_from_scratch else set())


def test_latent_loss_at_beta_one_is_the_error_of_one_step(build: Build, images: Tensor) -> None:
    model = build(timestep=1)
    image, label = images * 2 - 1, images[:, :1]
    with torch.no_grad():
        z_x, z_y = model.latent(image), model.latent(label.expand(-1, 3, -1, -1))
        expected = (model.denoise(z_x)[0] - z_y).square().mean()
        torch.testing.assert_close(model.loss(image, label), expected)


def test_checkpointing_changes_no_gradient(build: Build, images: Tensor) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = build(loss="image", timestep=1).train()
        if checkpointing:
            model.enable_gradient_checkpointing()
        model.loss(images * 2 - 1, images[:, :1]).backward()
        gradients.append(model.unet.conv_in.weight.grad)
    torch.testing.assert_close(*gradients)


def test_masked_pixels_never_reach_a_loss(build: Build, images: Tensor) -> None:
    valid = torch.ones(2, 1, 32, 64, dtype=torch.bool)
    valid[:, :, :8, :16] = False
    for fields in ({}, {"loss": "customised"}):
        model = build(timestep=1, **fields)
        spoiled = torch.where(valid, images[:, :1], torch.nan)
        filled = torch.where(valid, images[:, :1], -1)
        with torch.no_grad():
            losses = [model.loss(images * 2 - 1, label, valid) for label in (spoiled, filled)]
        assert losses[0].isfinite() and torch.equal(*losses)
    with pytest.raises(ValueError, match="not finite"):
        model.loss(images * 2 - 1, spoiled)
    with pytest.raises(ValueError, match="shape"):
        model.loss(images * 2 - 1, images[..., :8])


def test_labels_of_other_channels_are_refused(build: Build, images: Tensor) -> None:
    with pytest.raises(ValueError, match="prediction"):
        build(**HEADS[0]).loss(images * 2 - 1, images)


def test_frozen_unet_trains_the_head_alone(build: Build, images: Tensor) -> None:
    model = build(unet="frozen", **HEADS[0])
    model.loss(images * 2 - 1, images[:, :1]).backward()
    assert {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None} == {"head"}


def test_trajectory_ends_in_the_prediction(build: Build, images: Tensor) -> None:
    model = build(beta_start=0.00085, beta_end=0.012, steps=3)
    with torch.no_grad():
        latent = model.latent(images * 2 - 1)
        result, trajectory = model.sample(features=latent, return_trajectory=True)
    assert len(trajectory) == 3 and torch.equal(trajectory[-1], result)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.1), (torch.float16, 0.02)])
def test_half_precision_is_near(dtype: torch.dtype, tolerance: float, build: Build, images: Tensor) -> None:
    full, half = build(), build().to(dtype)
    difference = (half.predict(images) - full.predict(images)).abs()
    assert half.predict(images).dtype == torch.float32 and difference.max() < tolerance
