"""LiDAR encoder: points to voxels, a sparse 3-D network, and its sites flattened onto the ground (SECOND)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddp_repro.networks.precision import full_precision
from ddp_repro.papers.ddp.bev.settings import BEVConfig
from ddp_repro.papers.ddp.bev.sparse import (
    Rulebook,
    Sites,
    SparseConv3d,
    Triple,
    strided_rulebook,
    submanifold_rulebook,
)
from ddp_repro.papers.ddp.bev.voxels import POINT_FEATURES, voxelize
from ddp_repro.settings.errors import ConfigError

BLOCKS = 2  # residual blocks per resolution
# kernel, stride and padding of the three downsampling convolutions and of the last one, which joins heights only
DOWNSAMPLING: tuple[tuple[Triple, Triple, Triple], ...] = (
    ((3, 3, 3), (2, 2, 2), (1, 1, 1)),
    ((3, 3, 3), (2, 2, 2), (1, 1, 1)),
    ((3, 3, 3), (2, 2, 2), (1, 1, 0)),
)
OUTPUT: tuple[Triple, Triple, Triple] = ((1, 1, 3), (1, 1, 2), (0, 0, 0))


def _norm(channels: int) -> nn.BatchNorm1d:
    return nn.BatchNorm1d(channels, eps=1e-3)


class SparseConvNormReLU(nn.Module):
    """Sparse convolution, BatchNorm over the sites, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: Triple = (3, 3, 3)) -> None:
        super().__init__()
        self.conv, self.norm = SparseConv3d(inputs, outputs, kernel), _norm(outputs)

    def forward(self, features: Tensor, rulebook: Rulebook) -> Tensor:
        """Convolve the features (N, C) of the sites; (N', C')."""
        return self.norm(self.conv(features, rulebook)).relu()


class SparseBasicBlock(nn.Module):
    """Two submanifold convolutions around an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = SparseConv3d(channels, channels), _norm(channels)
        self.conv2, self.bn2 = SparseConv3d(channels, channels), _norm(channels)

    def forward(self, features: Tensor, rulebook: Rulebook) -> Tensor:
        """Return the block's output (N, C) at the same sites."""
        out = self.bn1(self.conv1(features, rulebook)).relu()
        return (self.bn2(self.conv2(out, rulebook)) + features).relu()


class SparseEncoder(nn.Module):
    """Four resolutions of residual blocks, then the heights as channels.

    Args:
        widths: channels at the four resolutions.
        shape: input voxels along x, y and z.

    Raises:
        ConfigError: too few layers of voxels for the four halvings of the height.
    """

    def __init__(self, widths: Sequence[int], shape: Triple) -> None:
        super().__init__()
        self.shape: Triple = (shape[0], shape[1], shape[2] + 1)  # one more layer above, as released
        self.input = SparseConvNormReLU(POINT_FEATURES, widths[0])
        self.stages = nn.ModuleList(nn.ModuleList(SparseBasicBlock(w) for _ in range(BLOCKS)) for w in widths)
        self.downsamples = nn.ModuleList(
            SparseConvNormReLU(a, b, geometry[0])
            for a, b, geometry in zip(widths[:-1], widths[1:], DOWNSAMPLING, strict=True)
        )
        self.output = SparseConvNormReLU(widths[-1], widths[-1], OUTPUT[0])
        height = self.shape[2]
        for kernel, stride, padding in (*DOWNSAMPLING, OUTPUT):
            height = (height + 2 * padding[2] - kernel[2]) // stride[2] + 1
        if height < 1:
            raise ConfigError(f"{shape[2]} layers of voxels are too few; lower voxel_size or widen lidar_height")
        self.out_channels = widths[-1] * height

    def stage_features(self, features: Tensor, sites: Sites) -> list[tuple[Tensor, Sites]]:
        """Sites and features (N, 5) -> those after each resolution's last layer (downsampling included)."""
        rulebook, results = submanifold_rulebook(sites), []
        features = self.input(features, rulebook)
        for number, stage in enumerate(self.stages):
            for block in stage.children():
                features = block(features, rulebook)
            if number < len(DOWNSAMPLING):
                down = strided_rulebook(rulebook.sites, *DOWNSAMPLING[number])
                features, rulebook = self.downsamples[number](features, down), submanifold_rulebook(down.sites)
            results.append((features, rulebook.sites))
        return results

    def forward(self, features: Tensor, sites: Sites) -> Tensor:
        """Sites and features (N, 5) -> (B, C·z, x, y) at 1/8 of the voxels; channel c · z_size + z."""
        features, sites = self.stage_features(features, sites)[-1]
        rulebook = strided_rulebook(sites, *OUTPUT)
        dense = rulebook.sites.dense(self.output(features, rulebook))
        return dense.movedim(-1, 2).flatten(1, 2)


class LidarEncoder(nn.Module):
    """Clouds -> BEV feature, in float32."""

    def __init__(self, config: BEVConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = SparseEncoder(config.lidar_widths, config.voxel_shape)
        self.out_channels = self.encoder.out_channels

    def forward(self, clouds: Sequence[Tensor]) -> Tensor:
        """B clouds (P_i, 5) -> (B, C, x, y).

        Raises:
            ValueError: a cloud is empty, not finite, or has no point in range; names the sample.
        """
        with full_precision(clouds[0].device):
            return self.encoder(*self.voxels(clouds))

    def voxels(self, clouds: Sequence[Tensor]) -> tuple[Tensor, Sites]:
        """B clouds (P_i, 5) -> features (V, 5) of the occupied sites of the batch."""
        features, coordinates = [], []
        for sample, points in enumerate(clouds):
            voxels = voxelize(
                points.float(),
                self.config.point_range,
                self.config.voxel_size,
                self.config.max_points,
                self.config.max_voxels[0 if self.training else 1],
                f"the LiDAR cloud of sample {sample}",
            )
            features.append(voxels.features)
            coordinates.append(F.pad(voxels.coordinates, (1, 0), value=sample))
        return sorted_sites(torch.cat(features), torch.cat(coordinates), self.encoder.shape, len(clouds))

    def nothing_like(self, feature: Tensor) -> Tensor:
        """Return the feature of no LiDAR at all: zeros (B, C, x, y) beside a camera feature (B, C', x, y)."""
        return feature.new_zeros(len(feature), self.out_channels, *feature.shape[2:])


def sorted_sites(features: Tensor, coordinates: Tensor, shape: Triple, batch: int) -> tuple[Tensor, Sites]:
    """Features (N, C) and coordinates (N, 4) in any order -> in the order of :class:`Sites`."""
    order = Sites(coordinates, shape, batch).keys().argsort()
    return features[order], Sites(coordinates[order], shape, batch)
