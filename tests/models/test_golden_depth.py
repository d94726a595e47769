"""Parity with the released KITTI Swin-T depth model, and with the same code given a decoder that heeds the time."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.model import DDP
from ddp_repro.papers.ddp.released import rename
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings.overrides import override
from tests.golden_recipe import depths, fill, tagged
from tests.models.test_golden import FORWARD, GOLDEN, GRADIENT, assert_close, reference

pytestmark = pytest.mark.numerics

KITTI = ModelConfig(
    task="depth", backbone="swin_tiny_patch4_window7_224", drop_path_rate=0.0, schedule="gamma", scale=0.1
)
VARIANTS = {"kitti_swin_t": False, "kitti_swin_t_timecond": True}
PARAMETERS = {"kitti_swin_t": 35748867 - 1068040, "kitti_swin_t_timecond": 38897667}  # without the unread time_mlp


def build(name: str, **changes: object) -> DDP:
    model = build_model(override(KITTI, {"time_conditioned": VARIANTS[name], **changes})).eval()
    shapes = json.loads((GOLDEN / "manifests" / f"{name}.json").read_text())
    if not VARIANTS[name]:  # the released decoder never reads its time embedding
        shapes = {key: shape for key, shape in shapes.items() if not key.startswith("time_mlp.")}
    fill(model, shapes)
    return model


@pytest.fixture(scope="module", params=VARIANTS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(name: str) -> DDP:
    return build(name)


def test_parameter_count(name: str, model: DDP) -> None:
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize(
    ("key", "steps", "changes"),
    [
        ("ddim1", 1, {}),
        ("ddim3", 3, {}),
        ("ddim5", 5, {}),
        ("ddim3_td2", 3, {"time_difference": 2}),
        ("ddim3_bitscale1", 3, {"scale": 1.0}),
    ],
)
@torch.no_grad()
def test_sampling(name: str, model: DDP, key: str, steps: int, changes: dict[str, object]) -> None:
    chosen = build(name, **changes) if changes else model
    trajectory = chosen.sample(
        tagged("img", (1, 3, 64, 96)), steps=steps, noise=tagged("noise", (1, 1, 16, 24)), return_trajectory=True
    )
    golden = reference(f"{name}_64x96")
    assert_close(trajectory.decoded[-1], golden[key])  # the reference is from before the clamp
    if key == "ddim3":
        assert_close(trajectory.decoded[0], golden["ddim3_step0_pred"])
        assert_close(trajectory.decoded[1], golden["ddim3_step1_pred"])
    assert trajectory.output.min() >= 1e-3 and trajectory.output.max() <= 80


@torch.no_grad()
def test_whole_images_of_odd_size_and_flip(name: str, model: DDP) -> None:
    golden, size = reference(f"{name}_77x101"), (77, 101)

    def infer(flip: bool, index: int) -> torch.Tensor:
        image = tagged("img", (1, 3, *size))
        depth = model.sample(image.flip(-1) if flip else image, noise=tagged(f"noise_aug{index}", (1, 1, 20, 26)))
        depth = F.interpolate(depth, size=size, mode="bilinear", align_corners=False)
        return depth.flip(-1) if flip else depth

    assert_close(infer(False, 0), golden["inference_rescaled"])
    assert_close((infer(False, 0) + infer(True, 1)) / 2, golden["aug_test_flip"])


@pytest.mark.parametrize("mode", ["eval", "eval_bs1", "eval_valid100"])
def test_training_loss_and_gradients(name: str, mode: str) -> None:
    golden = reference(f"{name}_train")
    model = build(name, **({"scale": 1.0} if mode == "eval_bs1" else {}))
    truth = depths("depth:80", (2, 1, 64, 96), 80.0, p_invalid=0.0 if mode == "eval_valid100" else 0.5)[:, 0]
    batch = {"image": tagged("img", (2, 3, 64, 96)), "depth": truth}
    losses = model.training_loss(batch, t=torch.tensor([0.3, 0.8]), noise=tagged("noise", (2, 1, 16, 24)))
    losses["loss"].backward()
    assert losses["decode"].item() == pytest.approx(golden[f"{mode}.decode.loss_depth"], rel=FORWARD)
    gradients = {key: p.grad for key, p in model.named_parameters()}
    for key, length in zip(golden["grad_keys"], golden[f"{mode}.grad_l2"], strict=True):
        if np.isnan(length):
            assert str(key).startswith("time_mlp.")
        else:
            assert gradients[rename(str(key))].norm().item() == pytest.approx(length, rel=GRADIENT), key


@pytest.mark.parametrize("seed", range(8))
def test_an_untrained_model_may_start_from_a_depth(seed: int) -> None:
    """Where nearly no pixel is above 0 m, nearly none has a gradient."""
    small = {"backbone": "resnet10t", "channels": 32, "heads": 4, "layers": 2, "feedforward_channels": 32}
    torch.manual_seed(seed)
    model = build_model(override(KITTI, {**small, "initial_depth": 2.0})).eval()
    depth = model.sample(torch.randn(2, 3, 64, 96), generator=torch.Generator().manual_seed(seed))
    assert (depth > 0.01).float().mean() > 0.75 and 1 < depth.mean() < 3
    torch.manual_seed(seed)
    released = build_model(override(KITTI, small)).decoder.depth_convolution
    assert torch.equal(released.weight, model.decoder.depth_convolution.weight)
    assert (released.bias.abs() <= (9 * 32) ** -0.5).all()
