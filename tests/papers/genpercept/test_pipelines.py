"""The three pipelines against the released code's outputs on tiny random weights (a file of 6.8 MB each)."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

pytestmark = [pytest.mark.data, pytest.mark.numerics]
TINY, TINY_8 = "genpercept_pipeline_tiny.npz", "genpercept_pipeline_tiny_8ch.npz"


def picture(arrays: dict[str, np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(arrays["image_uint8"]).permute(2, 0, 1)[None]


def close(ours: torch.Tensor, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({}, "onestep_depth"),
        ({}, "eq12_depth"),
        ({"task": "dichotomous"}, "onestep_dis"),
        ({"steps": 10}, "det_beta1_10step"),
        ({"beta_start": 0.00085, "beta_end": 0.012}, "det_beta0.00085_1step"),
    ],
)
def test_deterministic_outputs(fields: dict, key: str, pipeline: Callable) -> None:
    model, arrays = pipeline(TINY, **fields)
    close(model.predict(picture(arrays))[0, 0], arrays[key].reshape(64, 96))


def test_normals_before_they_are_normalised(pipeline: Callable) -> None:
    model, arrays = pipeline(TINY, task="normals")
    image = picture(arrays) / 255 * 2 - 1
    with torch.no_grad():
        decoded = model.sample(features=model.latent(image))
    close((decoded[0].permute(1, 2, 0) + 1) / 2, arrays["onestep_normal"])
    torch.testing.assert_close(model.predict(picture(arrays)).norm(dim=1), torch.ones(1, 64, 96))


def test_latent_and_velocity(pipeline: Callable) -> None:
    model, arrays = pipeline(TINY)
    with torch.no_grad():
        latent = model.latent(picture(arrays) / 255 * 2 - 1)
        close(latent, arrays["rgb_latent"])
        for t in (1, 999):
            close(model.velocity(latent, latent, t), arrays[f"v_pred_t{t}"])


@pytest.mark.parametrize("betas", [(1.0, 1.0), (0.00085, 0.012)])
def test_stochastic_outputs(betas: tuple[float, float], pipeline: Callable) -> None:
    fields = {"noise": "gaussian", "input": "concatenated", "steps": 10}
    model, arrays = pipeline(TINY_8, beta_start=betas[0], beta_end=betas[1], **fields)
    result = model.predict(picture(arrays), generator=torch.Generator().manual_seed(1234))
    close(result[0, 0], arrays[f"stoch_beta{'1' if betas[0] == 1 else betas[0]}_10step"])


def test_hooks_give_the_released_features(pipeline: Callable, siblings) -> None:
    from ddp_repro.papers.genpercept.dpt_head import up_block_features

    model, arrays = pipeline(TINY)
    expected = np.load(siblings / "genpercept_dpt_head_tiny.npz")
    latent = torch.from_numpy(arrays["rgb_latent"])
    with torch.no_grad(), up_block_features(model.unet) as features:
        model.velocity(latent, latent, 1)
    assert len(features) == 4
    for i, feature in enumerate(features):
        close(feature, expected[f"feat{i}"])


def test_dpt_disparity(pipeline: Callable, siblings) -> None:
    model, arrays = pipeline(TINY, task="affine_depth", space="disparity", decoder="dpt", loss="image")
    expected = np.load(siblings / "genpercept_dpt_head_tiny.npz")
    state = {k.removeprefix("sd/identity/"): torch.from_numpy(expected[k]) for k in expected if "sd/identity/" in k}
    model.head.load_state_dict(state)
    close(model.predict(picture(arrays))[0], expected["identity_minmax"])
