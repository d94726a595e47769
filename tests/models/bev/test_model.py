"""The whole BEV model at a size that runs in a moment: sensors to map, training, batches, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ddp_repro.evaluation.views import inference_mode
from ddp_repro.interop import load_checkpoint, save_weights
from ddp_repro.papers.ddp.bev.model import BEVDDP
from ddp_repro.papers.ddp.bev.settings import NUSCENES_CAMERA, NUSCENES_FUSION, BEVConfig
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.settings.errors import CheckpointError, ConfigError
from ddp_repro.settings.overrides import override, to_dict
from ddp_repro.tasks.bev.settings import MAP_CLASSES
from tests.golden_recipe_bev import calibration, lidar_points, masks, normal

pytestmark = pytest.mark.numerics

TINY = {
    "backbone": "resnet10t", "drop_path_rate": 0.0, "image_size": (32, 64), "lift_range": 6.4, "map_range": 6.0,
    "depth_range": (1.0, 13.0), "view_channels": 8, "channels": 32, "layers": 1, "heads": 4,
    "feedforward_channels": 32, "noise_samples": 2,
}  # fmt: skip
CONFIGS = {
    "camera": override(NUSCENES_CAMERA, TINY | {"bev_widths": (8, 8, 8)}),
    "fusion": override(NUSCENES_FUSION, TINY | {"bev_widths": (8, 8), "lidar_widths": (4, 4, 4, 4)}),
}
RANGE = CONFIGS["fusion"].point_range


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest) -> BEVDDP:
    torch.manual_seed(0)
    return build_model(CONFIGS[request.param]).eval()


def batch(samples: int = 2) -> dict[str, Any]:
    shrunk = torch.diag(torch.tensor([0.04, 0.04, 1.0, 1.0])).expand(6, 4, 4)
    rig = calibration("calib", shrunk, torch.eye(4).expand(samples, 4, 4))
    return {
        "image": normal("image", (2, 6, 3, 32, 64))[:samples],
        "camera_to_lidar": rig.camera_to_lidar,
        "intrinsics": rig.intrinsics,
        "image_augmentation": rig.image_augmentation,
        "lidar_augmentation": rig.lidar_augmentation,
        "points": [lidar_points("points", 200 + 100 * n, RANGE) for n in range(samples)],
        "masks": masks("truth", (2, 6, 24, 24))[:samples],
    }


def part(whole: dict[str, Any], sample: int) -> dict[str, Any]:
    return {key: value[sample : sample + 1] for key, value in whole.items()}


def test_batch_gives_what_its_samples_give(model: BEVDDP) -> None:
    whole, noise = batch(), normal("noise", (2, 2, 32, 16, 16))
    together = model.sample(whole, noise=noise)
    assert together.shape == (2, 6, 24, 24) and together.min() >= 0 and together.max() <= 1
    for sample in range(2):
        alone = model.sample(part(whole, sample), noise=noise[sample : sample + 1])
        torch.testing.assert_close(alone[0], together[sample], rtol=0, atol=1e-5)


def test_every_parameter_learns(model: BEVDDP) -> None:
    model.train()
    losses = model.training_loss(batch())
    assert set(losses) == {"loss", *MAP_CLASSES}
    assert losses["loss"].item() == pytest.approx(sum(losses[name].item() for name in MAP_CLASSES), rel=1e-6)
    losses["loss"].backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []  # DistributedDataParallel would wait
    assert not any(p.grad.isnan().any() for p in model.parameters() if p.grad is not None)


def test_bf16_moves_probabilities_little_and_trains(model: BEVDDP) -> None:
    """With autocast's dtypes in every part, cameras and LiDAR."""
    model.eval()
    noise = normal("noise", (2, 2, 32, 16, 16))
    exact = model.sample(batch(), steps=2, noise=noise)
    with inference_mode(model, "bf16"):
        narrow = model.sample(batch(), steps=2, noise=noise)
    assert narrow.dtype == torch.float32 and 0 < (narrow - exact).abs().mean() < 0.02
    with torch.autocast("cpu", torch.bfloat16):
        model.train().training_loss(batch())["loss"].backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_loss_falls_on_one_batch(model: BEVDDP) -> None:
    torch.manual_seed(0)
    model.train()
    optimizer, whole = torch.optim.AdamW(model.parameters(), lr=3e-3), batch(1)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = model.training_loss(whole, t=torch.tensor([0.9]))["loss"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.85 * losses[0]


def test_without_lidar() -> None:
    model = build_model(CONFIGS["fusion"]).eval()
    with torch.no_grad():
        absent = model.encode(batch(1) | {"points": None})
        present = model.encode(batch(1))
    assert absent.shape == present.shape and not torch.equal(absent, present)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([torch.zeros(0, 5)], "the LiDAR cloud of sample 0 is empty"),
        ([torch.full((5, 5), float("inf"))], "the LiDAR cloud of sample 0: 5 of 5 points are not finite"),
        ([], "0 LiDAR clouds for 1 samples; expected one each"),
    ],
)
def test_unusable_clouds(points: list[torch.Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(CONFIGS["fusion"]).encode(batch(1) | {"points": points})


def test_pictures_of_another_size(model: BEVDDP) -> None:
    with pytest.raises(ValueError, match=r"expected \(B, N, 3, \*\(32, 64\)\)"):
        model.encode(batch(1) | {"image": torch.zeros(1, 6, 3, 64, 64)})


def test_saved_weights_come_back(model: BEVDDP, tmp_path: Path) -> None:
    save_weights(model, tmp_path / "model.safetensors")
    other = build_model(model.config).eval()
    assert load_checkpoint(other, tmp_path / "model.safetensors").origin == "ddp_repro"
    noise = normal("noise", (1, 2, 32, 16, 16))
    assert torch.equal(model.sample(batch(1), noise=noise), other.sample(batch(1), noise=noise))


def test_model_comes_back_from_a_folder(tmp_path: Path) -> None:
    model = build_model(CONFIGS["camera"]).eval()
    model.save_pretrained(tmp_path)
    other, noise = BEVDDP.from_pretrained(tmp_path), normal("noise", (1, 2, 32, 16, 16))
    assert other.config == model.config
    assert torch.equal(model.sample(batch(1), noise=noise), other.sample(batch(1), noise=noise))


def test_weights_of_other_settings_are_refused(tmp_path: Path) -> None:
    model = build_model(CONFIGS["camera"])
    recipe = {"model": to_dict(model.config)}
    save_weights(model, tmp_path / "model.safetensors", {"recipe": json.dumps(recipe)})
    with pytest.raises(CheckpointError, match=r"model\.scale is 0\.01 in the checkpoint, 0\.1 in the model"):
        load_checkpoint(build_model(override(model.config, {"scale": 0.1})), tmp_path / "model.safetensors")
    load_checkpoint(build_model(override(model.config, {"noise_samples": 1})), tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bev_widths": (8, 8)}, "bev_widths of a camera model takes 3 values"),
        ({"classes": ()}, "classes takes one or more values"),
        ({"classes": tuple("abcdefghijklm")}, "classes takes 1 to 12 names"),
        ({"noise_samples": 0}, "noise_samples must be at least 1"),
        ({"image_size": (30, 64)}, "image_size must be .* a multiple of 32"),
        ({"lift_cell": 0.5}, "the 205 lifted cells of a side must be a multiple of 8"),
        ({"map_range": 60.0}, "map_range 60.0 exceeds lift_range 51.2"),
        ({"sensors": "fusion", "bev_widths": (8, 8), "voxel_size": (0.2, 0.2, 0.2)}, "8 voxels must be as wide as 2"),
        ({"sensors": "fusion", "bev_widths": (8, 8), "voxel_size": (0.1, 0.1, 0.4)}, "20 layers of voxels are too few"),
    ],
)
def test_settings_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_model(BEVConfig(**changes))
