"""Parity with the released BEV head and diffusion: as published (no time in the layers) and with time layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ddp_repro.diffusion import SCHEDULES, MultiLabelEmbedding, corrupt, time_pairs
from ddp_repro.networks.decoder import position_lines
from ddp_repro.papers.ddp.bev.grid import crop_to_map
from ddp_repro.papers.ddp.bev.model import BEVDDP
from ddp_repro.papers.ddp.bev.settings import NUSCENES_CAMERA, paper_plain
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.model import shape_of, tokens_of
from ddp_repro.settings.overrides import override
from ddp_repro.tasks.bev.loss import focal_loss
from tests.golden_recipe_bev import fill, masks, normal, reference, weight

pytestmark = pytest.mark.numerics

HEAD = ("heads.map.", "embedding_table.", "transform.conv.", "time_mlp.")
# 16×16 cells of 0.8 m, cropped to 24×24 of 0.5 m; the camera encoder is not used here
SMALL = {"backbone": "resnet10t", "drop_path_rate": 0.0, "lift_range": 6.4, "map_range": 6.0, "image_size": (32, 64)}


def assert_close(ours: Tensor, theirs: np.ndarray, tolerance: float) -> None:
    assert tuple(ours.shape) == theirs.shape
    np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=0, atol=tolerance)


def position(size: int) -> Tensor:
    """(256, size, size), as the decoder adds it: rows first."""
    rows, columns = position_lines((size, size), 256, torch.device("cpu"))
    return torch.cat([rows[:, None].expand(size, size, 128), columns.expand(size, size, 128)], -1).permute(2, 0, 1)


@pytest.fixture(scope="module", params=["aspublished", "timelayers"])
def variant(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(variant: str) -> BEVDDP:
    model = build_model(override(NUSCENES_CAMERA, SMALL)).eval()
    fill(model, f"camera_{variant}", HEAD)
    return model


def test_schedule() -> None:
    golden = reference("schedule")
    t = torch.from_numpy(golden["t"])
    alpha, sigma = SCHEDULES["cosine"].alpha_sigma(t)
    assert_close(alpha, golden["alpha"], 1e-6)
    assert_close(sigma, golden["sigma"], 1e-6)
    assert_close(SCHEDULES["cosine"].log_snr(t), golden["log_snr_cosine"], 1e-3)
    assert_close(SCHEDULES["linear"].log_snr(t[1:]), golden["log_snr_linear_t1plus"], 1e-3)
    for steps in (1, 3, 10):
        np.testing.assert_allclose(time_pairs(steps), golden[f"pairs_{steps}"], atol=1e-6)


def test_time_embedding() -> None:
    golden = reference("schedule")
    model = build_model(override(NUSCENES_CAMERA, SMALL))
    fill(model, "camera_timelayers", HEAD)
    level = torch.from_numpy(golden["log_snr_cosine"])
    assert_close(model.time_embedding.features(level), golden["sinu"], 1e-5)
    assert_close(model.time_embedding(level)[:, ::64], golden["time_mlp_out_every64"], 1e-4)


def test_label_encoding() -> None:
    golden = reference("label_encoding")
    encoding = MultiLabelEmbedding(6, 0.01, 256)
    encoding.load_state_dict({"embedding_table.weight": weight("embedding_table.weight", (7, 256))})
    truth = masks("gt", (2, 6, 200, 200)).float()
    small = torch.nn.functional.interpolate(truth, size=(128, 128), mode="nearest")
    numbers = torch.arange(1, 7).view(-1, 1, 1)
    assert (small.long() * numbers == torch.from_numpy(golden["gt_down_nearest"])).all()
    encoded = encoding.encode(small)
    assert_close(encoded[:, ::32, ::8, ::8], golden["encoded_ch"], 1e-7)
    assert (encoding.decode(encoded) == small.bool()).all()


@torch.no_grad()
def test_decoder(variant: str, model: BEVDDP) -> None:
    golden = reference(f"head_small_{variant}")
    features, config = normal("head.x", (2, 256, 16, 16)), model.config
    cropped = crop_to_map(features, config.lift_range, config.map_range, config.map_cell)
    if variant == "aspublished":
        assert_close(cropped[:, :8:4], golden["grid_transformed_ch0_8"], 2e-5)
        channels = [0, 1, 2, 3, 64, 127, 128, 129, 200, 255]
        assert_close(position(24)[channels, ::3, ::3], golden["pos_enc_ch"], 2e-5)
    memory: list[Tensor] = []
    hook = model.decoder.layers[-1].register_forward_hook(lambda *call: memory.append(call[2]))
    time = normal("head.time", (2, 1024)) if variant == "timelayers" else None
    logits = model.decoder(tokens_of(cropped), shape_of(cropped), time)
    hook.remove()
    ours = memory[0].transpose(1, 2).unflatten(-1, (24, 24))
    assert_close(ours[:, :16:4, ::2, ::2], golden["memory_ch0_16"], 1e-4)
    assert_close(logits[:, :, ::2], golden["logit"], 1e-4)
    assert_close(logits.sigmoid()[:, :, 1::2], golden["prob"], 1e-5)
    assert_close(focal_loss(logits, masks("head.target", (2, 6, 24, 24))), golden["losses"], 1e-5)


def test_published_grid() -> None:
    golden = reference("head_fullgrid")
    cropped = crop_to_map(normal("head.full", (1, 4, 128, 128)), 51.2, 50.0, 0.5)
    assert_close(cropped[:, :, ::5, ::7], golden["grid_transformed"], 2e-5)
    assert_close(position(200)[::16, ::20, ::20], golden["pos_enc_every20"], 2e-5)


def test_sampling(variant: str, model: BEVDDP) -> None:
    golden = reference(f"ddim_camera_{variant}")
    features, noise = normal("sample.x", (1, 256, 16, 16)), normal("sample.noise", (5, 256, 16, 16))[None]
    trajectory = model.sample(features=features, noise=noise, return_trajectory=True)
    assert_close(trajectory.output, golden["out"], 1e-4)
    assert_close(trajectory.probabilities[:, :, 0, :, ::2, ::2].mean(1), golden["step_mean"], 1e-4)
    for step in (0, 2):
        assert_close(trajectory.probabilities[step, 0, 0, :, ::2, ::2], golden[f"step{step}_sample0"], 1e-4)


def test_training_loss_and_gradients(variant: str, model: BEVDDP) -> None:
    golden = reference(f"train_camera_{variant}")
    features, batch = normal("train.x", (2, 256, 16, 16)), {"masks": masks("train.gt", (2, 6, 24, 24))}
    times, noise = torch.tensor([0.3, 0.8]), normal("train.noise", (2, 256, 16, 16))
    model.zero_grad()
    noisy = corrupt(model.target_map(batch, (16, 16)), noise, times, model.schedule)
    losses = model.losses(model.decode(features, noisy, times), features, batch)
    losses["loss"].backward()
    assert losses["loss"].item() == pytest.approx(golden["total"], abs=1e-5)
    np.testing.assert_allclose([losses[name].item() for name in model.config.classes], golden["losses"], atol=1e-5)
    assert_close(model.encoding.embedding_table.weight.grad, golden["grad_embedding"], 1e-4)
    assert_close(model.decoder.classifier.weight.grad, golden["grad_convseg"], 1e-4)
    gradient = model.fusion.weight.grad
    rows, columns = (len(gradient) // golden["grad_transform_every"].shape[0],
                     gradient.shape[1] // golden["grad_transform_every"].shape[1])  # fmt: skip
    assert_close(gradient[::rows, ::columns], golden["grad_transform_every"], 1e-4)
    unused = [name for name, p in model.named_parameters() if p.grad is None and not name.startswith(ENCODER)]
    assert unused == []


ENCODER = ("camera.", "bev_encoder.")


def test_steps_noise_samples_and_averaging_are_separate(model: BEVDDP) -> None:
    features = normal("sample.x", (1, 256, 16, 16)).expand(2, -1, -1, -1)
    noise = normal("sample.noise", (5, 256, 16, 16))[:2, None]
    trajectory = model.sample(features=features, noise=noise, steps=2, return_trajectory=True)
    probabilities = trajectory.probabilities
    assert probabilities.shape == (2, 1, 2, 6, 24, 24) and trajectory.predictions.dtype == torch.bool
    last = model.sample(features=features, noise=noise, steps=2, average_steps=False)
    assert torch.equal(last, probabilities[1, 0]) and not torch.equal(last, trajectory.output)
    one_by_one = [model.sample(features=features[i : i + 1], noise=noise[i : i + 1], steps=2) for i in range(2)]
    torch.testing.assert_close(torch.cat(one_by_one), trajectory.output, rtol=0, atol=1e-5)
    drawn = [model.sample(features=features, noise_samples=3, steps=1, generator=torch.Generator().manual_seed(s))
             for s in (0, 0, 1)]  # fmt: skip
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    with pytest.raises(ValueError, match="noise holds 1 samples, noise_samples says 4"):
        model.sample(features=features, noise=noise, noise_samples=4)


def test_paper_plain_variant() -> None:
    plain = paper_plain(NUSCENES_CAMERA)
    assert (plain.noise_samples, plain.average_steps) == (1, False)
    assert (NUSCENES_CAMERA.noise_samples, NUSCENES_CAMERA.average_steps) == (5, True)


def test_projected_code_words(model: BEVDDP) -> None:
    prediction = normal("logits", (2, 6, 24, 24))
    with torch.no_grad():
        expected = model.project_map(tokens_of(model.clean_map(prediction)))
        torch.testing.assert_close(model.project_clean(prediction), expected, rtol=0, atol=1e-6)
