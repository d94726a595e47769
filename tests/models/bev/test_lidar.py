"""Parity of the LiDAR branch: voxels and sparse encoder; sparse convolution against dense convolution."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ddp_repro.papers.ddp.bev.lidar import LidarEncoder, SparseEncoder, sorted_sites
from ddp_repro.papers.ddp.bev.settings import NUSCENES_FUSION
from ddp_repro.papers.ddp.bev.sparse import Sites, SparseConv3d, strided_rulebook, submanifold_rulebook
from ddp_repro.papers.ddp.bev.voxels import voxelize
from ddp_repro.settings.overrides import override
from tests.golden_recipe_bev import lidar_points, reference, weight
from tests.models.bev.test_head import assert_close

pytestmark = pytest.mark.numerics

RANGE, VOXEL = (-6.4, -6.4, -5.0, 6.4, 6.4, 3.0), (0.1, 0.1, 0.2)
TINY = {"lift_range": 6.4, "lift_cell": 0.4, "map_range": 6.0, "lidar_widths": (4, 4, 4, 4)}


def golden_cloud() -> Tensor:
    cloud = lidar_points("lidar.pts", 3000, (-7, -7, -5.5, 7, 7, 3.5))
    again = cloud[:500].clone()
    again[:, 0] += 0.001
    again[:, 4] = 0
    return torch.cat([cloud, again])


# -- voxels ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("max_voxels", "max_points"), [(400, 2), (120000, 10)])
def test_voxels(max_voxels: int, max_points: int) -> None:
    golden = reference(f"hard_voxelize_mv{max_voxels}_mp{max_points}")
    voxels = voxelize(golden_cloud(), RANGE, VOXEL, max_points, max_voxels)
    assert (voxels.coordinates.numpy() == golden["coords"]).all()
    assert (voxels.counts.numpy() == golden["num"]).all()
    assert_close(voxels.features[:: 1 if max_points == 2 else 5], golden["mean"], 1e-5)


def test_points_on_the_borders() -> None:
    golden = reference("hard_voxelize_edges")
    voxels = voxelize(torch.from_numpy(golden["points"]), NUSCENES_FUSION.point_range, VOXEL, 10, 100)
    assert (voxels.coordinates.numpy() == golden["coords"]).all()
    assert (voxels.counts.numpy() == golden["num"]).all()


@pytest.mark.parametrize(
    ("cloud", "message"),
    [
        (torch.zeros(0, 5), "is empty; expected at least one LiDAR point"),
        (torch.full((3, 5), float("nan")), "3 of 3 points are not finite; expected finite values"),
        (torch.full((3, 5), 100.0), "none of 3 points is in range; expected points within"),
        (torch.zeros(3, 4), r"has shape \(3, 4\); expected \(P, 5\): x, y, z, intensity, time lag"),
    ],
)
def test_unusable_cloud(cloud: Tensor, message: str) -> None:
    encoder = LidarEncoder(override(NUSCENES_FUSION, TINY)).eval()
    with pytest.raises(ValueError, match=f"the LiDAR cloud of sample 1.*{message}"):
        encoder([lidar_points("lidar.pts", 50, RANGE), cloud])


# -- sparse convolution ------------------------------------------------------------------------------------------------


def random_sites(shape: tuple[int, int, int], batch: int, channels: int, share: float = 0.2) -> tuple[Tensor, Sites]:
    generator = torch.Generator().manual_seed(0)
    coordinates = (torch.rand(batch, *shape, generator=generator) < share).nonzero()
    features = torch.randn(len(coordinates), channels, generator=generator, dtype=torch.float64)
    return sorted_sites(features, coordinates[torch.randperm(len(coordinates), generator=generator)], shape, batch)


def dense_weight(layer: SparseConv3d) -> Tensor:
    return layer.weight.permute(4, 3, 0, 1, 2)


def test_submanifold_equals_dense_at_its_sites() -> None:
    features, sites = random_sites((6, 5, 4), 2, 3)
    layer = SparseConv3d(3, 7).double()
    expected = F.conv3d(sites.dense(features), dense_weight(layer), padding=1)
    b, x, y, z = sites.coordinates.T
    torch.testing.assert_close(layer(features, submanifold_rulebook(sites)), expected[b, :, x, y, z])


@pytest.mark.parametrize(
    "geometry",
    [
        ((3, 3, 3), (2, 2, 2), (1, 1, 1)),
        ((3, 3, 3), (2, 2, 2), (1, 1, 0)),
        ((1, 1, 3), (1, 1, 2), (0, 0, 0)),
    ],
)
def test_strided_equals_dense(geometry: tuple) -> None:
    features, sites = random_sites((6, 5, 7), 2, 3)
    kernel, stride, padding = geometry
    layer = SparseConv3d(3, 4, kernel).double()
    rulebook = strided_rulebook(sites, kernel, stride, padding)
    expected = F.conv3d(sites.dense(features), dense_weight(layer), stride=stride, padding=padding)
    torch.testing.assert_close(rulebook.sites.dense(layer(features, rulebook)), expected)
    reached = F.conv3d(sites.dense(torch.ones_like(features[:, :1])), torch.ones(1, 1, *kernel).double(),
                       stride=stride, padding=padding)  # fmt: skip
    assert torch.equal((reached[:, 0] > 0).nonzero(), rulebook.sites.coordinates)


@pytest.mark.parametrize("strided", [False, True])
def test_gradient_of_sparse_convolution(strided: bool) -> None:
    features, sites = random_sites((4, 3, 4), 2, 2)
    rulebook = strided_rulebook(sites, (3, 3, 3), (2, 2, 2), (1, 1, 0)) if strided else submanifold_rulebook(sites)
    layer = SparseConv3d(2, 3).double()
    inputs = (features.requires_grad_(), layer.weight)
    assert torch.autograd.gradcheck(
        lambda f, w: torch.func.functional_call(layer, {"weight": w}, (f, rulebook)), inputs
    )


# -- encoder -----------------------------------------------------------------------------------------------------------


def encoder(shape: tuple[int, int, int]) -> SparseEncoder:
    encoder, prefix = SparseEncoder((16, 32, 64, 128), shape).eval(), "encoders.lidar.backbone."
    parts = {"input.conv": "conv_input.0", "input.norm": "conv_input.1",
             "output.conv": "conv_out.0", "output.norm": "conv_out.1"}  # fmt: skip
    for stage in range(4):
        official = f"encoder_layers.encoder_layer{stage + 1}"
        parts |= {f"downsamples.{stage}.conv": f"{official}.2.0", f"downsamples.{stage}.norm": f"{official}.2.1"}
        for block, part in itertools.product("01", ("conv1", "bn1", "conv2", "bn2")):
            parts[f"stages.{stage}.{block}.{part}"] = f"{official}.{block}.{part}"
    for name, tensor in encoder.state_dict().items():
        part, _, leaf = name.rpartition(".")
        if leaf != "num_batches_tracked":
            tensor.copy_(weight(f"{prefix}{parts[part]}.{leaf}", tuple(tensor.shape)))
    return encoder


@pytest.mark.parametrize(("name", "shape", "batch"), [("small", (64, 64, 40), 2), ("full", (1024, 1024, 40), 1)])
@torch.no_grad()
def test_sparse_encoder(name: str, shape: tuple[int, int, int], batch: int) -> None:
    golden, network = reference(f"sparse_encoder_{name}"), encoder(shape)
    coordinates = torch.from_numpy(golden["coords"]).long()
    features, sites = sorted_sites(torch.from_numpy(golden["feats"]), coordinates, network.shape, batch)
    for stage, (ours, reached) in enumerate(network.stage_features(features, sites), start=1):
        assert len(reached.coordinates) == golden[f"n_active_{stage}"]
        assert reached.shape == tuple(golden[f"spatial_{stage}"])
        assert ours.double().sum().item() == pytest.approx(golden[f"feat_sum_{stage}"], rel=1e-4)
        assert ours.double().abs().mean().item() == pytest.approx(golden[f"feat_abs_{stage}"], rel=1e-4)
    out = network(features, sites)
    if name == "small":
        assert_close(out[:, ::4], golden["out"], 1e-4 * float(np.abs(golden["out"]).max()))
        return
    assert out.shape == tuple(golden["out_shape"])
    assert out.double().sum().item() == pytest.approx(golden["out_sum"], rel=1e-4)
    cells = (out != 0).any(1).nonzero()
    assert (cells.numpy() == golden["nz_cells"]).all()
    b, x, y = cells[:200:8].T
    assert_close(out[b, :, x, y], golden["out_nz_first200"], 1e-4 * float(out.max()))


@torch.no_grad()
def test_batch_gives_what_its_clouds_give() -> None:
    torch.manual_seed(0)
    network = LidarEncoder(override(NUSCENES_FUSION, TINY)).eval()
    clouds = [lidar_points("lidar.pts", n, RANGE) for n in (300, 500)]
    together = network(clouds)
    assert together.shape == (2, 8, 16, 16) and together.std() > 0
    for sample, cloud in enumerate(clouds):
        torch.testing.assert_close(network([cloud])[0], together[sample])


def test_initial_weights() -> None:
    weights = SparseConv3d(16, 32).weight
    bound = (9 * 16 * 32) ** -0.5
    assert weights.abs().max() <= bound and weights.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
