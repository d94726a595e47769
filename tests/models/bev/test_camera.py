"""Parity of the camera branch: Swin, neck, lift-splat, camera-only BEV encoder."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from ddp_repro.papers.ddp.bev.camera import CameraNeck
from ddp_repro.papers.ddp.bev.encoder import CameraBEVEncoder
from ddp_repro.papers.ddp.bev.model import BEVDDP
from ddp_repro.papers.ddp.bev.pool import bev_pool, plan_pooling
from ddp_repro.papers.ddp.bev.settings import NUSCENES_CAMERA
from ddp_repro.papers.ddp.bev.view_transform import Calibration, ViewTransform
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.settings.overrides import override
from tests.golden_recipe_bev import calibration, fill, normal, reference, weight
from tests.models.bev.test_head import assert_close

pytestmark = pytest.mark.numerics

SMALL_VIEW = {
    "image_size": (64, 96), "lift_range": 12.8, "lift_cell": 0.8, "depth_range": (1.0, 13.0), "channels": 16,
    "view_channels": 8, "map_range": 12.0,
}  # fmt: skip
TINY = SMALL_VIEW | {"bev_widths": (8, 8, 8), "layers": 1, "feedforward_channels": 16, "drop_path_rate": 0.0}


@pytest.fixture(scope="module")
def swin() -> BEVDDP:
    model = build_model(override(NUSCENES_CAMERA, TINY)).eval()
    fill(model, "camera_aspublished", "encoders.camera.backbone.")
    return model


@pytest.mark.parametrize("size", [(64, 96), (72, 100)])
@torch.no_grad()
def test_swin(swin: BEVDDP, size: tuple[int, int]) -> None:
    golden = reference(f"swin_t_{size[0]}x{size[1]}")
    maps = swin.camera.backbone(normal("swin.img", (1, 3, *size)))[1:]
    for level, ours in enumerate(maps):
        assert_close(ours[:, ::6], golden[f"out{level}"], 1e-4)


def fill_with(module: torch.nn.Module, prefix: str, names: dict[str, str]) -> None:
    """Reference weights of a module on its own; ``names``: our prefix -> the official one below ``prefix``."""
    state = module.state_dict()
    for ours, tensor in state.items():
        head, _, leaf = ours.rpartition(".")
        if leaf != "num_batches_tracked":
            tensor.copy_(weight(f"{prefix}{names[head]}.{leaf}", tuple(tensor.shape)))


@torch.no_grad()
def test_neck() -> None:
    golden, neck = reference("neck_generalized_lssfpn"), CameraNeck([192, 384, 768], 256).eval()
    parts = {"lateral": "lateral_convs", "smooth": "fpn_convs"}
    names = {f"{ours}.{i}.{j}": f"{theirs}.{i}.{leaf}" for ours, theirs in parts.items() for i in (0, 1)
             for j, leaf in ((0, "conv"), (1, "bn"))}  # fmt: skip
    fill_with(neck, "encoders.camera.neck.", names)
    maps = [normal("neck.c3", (2, 192, 8, 22)), normal("neck.c4", (2, 384, 4, 11)), normal("neck.c5", (2, 768, 2, 6))]
    for level, ours in enumerate(neck.pyramid(maps)):
        assert_close(ours[:, ::16], golden[f"out{level}"], 1e-4)
    assert torch.equal(neck(maps), neck.pyramid(maps)[0])


@torch.no_grad()
def test_bev_encoder() -> None:
    golden, encoder = reference("decoder_camera"), CameraBEVEncoder(80, (160, 320, 640), 256).eval()
    names = {"merge.0": "neck.fuse.0", "merge.1": "neck.fuse.1", "merge.3": "neck.fuse.3", "merge.4": "neck.fuse.4",
             "upsampled.0": "neck.upsample.1", "upsampled.1": "neck.upsample.2"}  # fmt: skip
    for key in encoder.state_dict():
        if key.startswith("stages."):
            names[key.rpartition(".")[0]] = key.rpartition(".")[0].replace("stages.", "backbone.")
    fill_with(encoder, "decoder.", names)
    feature = normal("dec.cam", (1, 80, 32, 32))
    for stage, ours in enumerate(encoder.stage_maps(feature)):
        assert_close(ours[:, :: 8 * 4], golden[f"stage{stage}"], 1e-4)
    assert_close(encoder(feature)[:, :: 4 * 8, ::2, ::2], golden["out"], 1e-4)


# -- lift-splat --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published_view() -> ViewTransform:
    return ViewTransform(dataclasses.replace(NUSCENES_CAMERA, channels=8, view_channels=2))


def test_geometry(published_view: ViewTransform) -> None:
    golden = reference("lss_geometry")
    assert_close(published_view.cell, golden["dx"], 0)
    assert_close(published_view.first_centre, golden["bx"], 0)
    assert published_view.frustum.shape == tuple(golden["frustum_shape"])
    corners = published_view.frustum[[0, 0, -1, -1], [0, -1, 0, -1], [0, -1, 0, -1]]
    assert_close(corners, golden["frustum_corners"], 1e-4)
    points = published_view.points(calibration())[0]
    assert_close(points[:, ::39, ::7, ::11], golden["geom_test"], 1e-3)
    image, lidar = torch.from_numpy(golden["img_aug"]), torch.from_numpy(golden["lidar_aug"])[None]
    augmented = calibration("calib", image, lidar)
    assert_close(published_view.points(augmented)[0, :, ::39, ::7, ::11], golden["geom_aug"], 1e-3)


def test_points_project_back_to_their_pixels(published_view: ViewTransform) -> None:
    rig = calibration()
    points = published_view.points(rig)[0].double()
    to_camera = torch.linalg.inv(rig.camera_to_lidar[0].double())
    for camera, one in enumerate(points):
        seen = one @ to_camera[camera, :3, :3].T + to_camera[camera, :3, 3]
        torch.testing.assert_close(seen[..., 2], published_view.frustum[..., 2].double(), rtol=0, atol=1e-4)
        pixels = (seen @ rig.intrinsics[0, camera].double().T) / seen[..., 2:]
        picture = pixels[..., :2] * 0.48 - torch.tensor([32.0, 176.0])
        torch.testing.assert_close(picture, published_view.frustum[..., :2].double(), rtol=0, atol=1e-2)


def test_points_per_cell(published_view: ViewTransform) -> None:
    golden = reference("bev_pool_counts")
    cells = published_view.cells(calibration())
    kept = (cells[0] >= 0).flatten(1).sum(1)
    ones = torch.ones(1, 6, 1, 32, 88)
    counts = bev_pool(ones, torch.ones(1, 6, 118, 32, 88), plan_pooling(cells, (256, 256)))[0, 0]
    assert (kept.numpy() == golden["kept_per_cam"]).all()
    assert (counts.numpy() == golden["counts"]).all()


@pytest.fixture(scope="module")
def small_view() -> ViewTransform:
    view = ViewTransform(override(NUSCENES_CAMERA, SMALL_VIEW)).eval()
    names = {key.rpartition(".")[0]: key.rpartition(".")[0].replace("depth_net", "depthnet")
             for key in view.state_dict()}  # fmt: skip
    with torch.no_grad():
        fill_with(view, "small_vtransform.", names)
    return view


def small_calibration() -> Calibration:
    golden = reference("lss_small")
    image = torch.from_numpy(golden["img_aug"]).expand(6, 4, 4)
    return calibration("calib_small", image, torch.from_numpy(golden["lidar_aug"]))


@torch.no_grad()
def test_view_transform(small_view: ViewTransform) -> None:
    golden, features = reference("lss_small"), normal("smallvt.feat", (2, 6, 16, 8, 12))
    assert_close(small_view.splat(features, small_calibration()), golden["pooled"], 1e-3)
    assert_close(small_view(features, small_calibration()), golden["out"], 1e-3)


@torch.no_grad()
def test_batch_gives_what_its_samples_give(small_view: ViewTransform) -> None:
    features, both = normal("smallvt.feat", (2, 6, 16, 8, 12)), small_calibration()
    together = small_view(features, both)
    for sample in range(2):
        alone = Calibration(*(getattr(both, f.name)[sample : sample + 1] for f in dataclasses.fields(both)))
        torch.testing.assert_close(small_view(features[sample : sample + 1], alone), together[sample : sample + 1])


def test_pooling_is_a_sum_over_points() -> None:
    torch.manual_seed(0)
    context, depth = torch.randn(2, 3, 4, 2, 2), torch.rand(2, 3, 5, 2, 2)
    cells = torch.randint(-1, 6, (2, 3, 5, 2, 2), dtype=torch.int32)
    expected = torch.zeros(2, 4, 6)
    for b, n, d, h, w in np.ndindex(*cells.shape):
        if (cell := int(cells[b, n, d, h, w])) >= 0:
            expected[b, :, cell] += depth[b, n, d, h, w] * context[b, n, :, h, w]
    torch.testing.assert_close(bev_pool(context, depth, plan_pooling(cells, (2, 3))).flatten(2), expected)


def test_gradient_of_pooling() -> None:
    torch.manual_seed(0)
    context = torch.randn(1, 2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    depth = torch.rand(1, 2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    plan = plan_pooling(torch.randint(-1, 6, (1, 2, 3, 2, 2), dtype=torch.int32), (2, 3))
    assert torch.autograd.gradcheck(lambda c, d: bev_pool(c, d, plan), (context, depth))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "intrinsics",
            0.0,
            "intrinsics of sample 1, camera 2 cannot be inverted; expected a finite, invertible matrix",
        ),
        ("intrinsics", float("nan"), "intrinsics of sample 1, camera 2 cannot be inverted"),
        ("image_augmentation", 0.0, "image_augmentation of sample 1, camera 2 cannot be inverted"),
        ("camera_to_lidar", 0.0, "camera_to_lidar of sample 1, camera 2 cannot be inverted"),
        ("camera_to_lidar", float("inf"), "camera_to_lidar of sample 1, camera 2 cannot be inverted"),
        ("lidar_augmentation", float("nan"), "lidar_augmentation of sample 1 cannot be inverted"),
    ],
)
def test_unusable_calibration(small_view: ViewTransform, field: str, value: float, message: str) -> None:
    both = small_calibration()
    matrices = getattr(both, field).clone()
    matrices[(1, 2) if matrices.dim() == 4 else 1] = value
    with pytest.raises(ValueError, match=message):
        small_view(normal("smallvt.feat", (2, 6, 16, 8, 12)), dataclasses.replace(both, **{field: matrices}))


def test_no_point_inside_the_grid(small_view: ViewTransform) -> None:
    both = small_calibration()
    far = both.camera_to_lidar.clone()
    far[1, :, 2, 3] += 1000  # a kilometre above the ground
    with pytest.raises(ValueError, match="no lifted point of sample 1 is inside the grid; expected cameras that see"):
        small_view(normal("smallvt.feat", (2, 6, 16, 8, 12)), dataclasses.replace(both, camera_to_lidar=far))
