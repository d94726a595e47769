"""From the pictures of several cameras to one BEV feature: Swin, a two-level pyramid, lift-splat."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddp_repro.networks.backbones import Backbone
from ddp_repro.networks.initialization import initialize_convolution
from ddp_repro.papers.ddp.bev.layers import conv_norm_relu
from ddp_repro.papers.ddp.bev.settings import BEVConfig
from ddp_repro.papers.ddp.bev.view_transform import Calibration, ViewTransform
from ddp_repro.settings.errors import ConfigError


class CameraNeck(nn.Module):
    """Top-down pyramid over three maps that concatenates instead of adding; two levels come out.

    Args:
        in_channels: channels of the backbone's maps, finest first.
        channels: of both levels.
    """

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        fine, middle, coarse = in_channels
        self.lateral = nn.ModuleList([conv_norm_relu(fine + channels, channels, 1),
                                      conv_norm_relu(middle + coarse, channels, 1)])  # fmt: skip
        self.smooth = nn.ModuleList(conv_norm_relu(channels, channels, 3) for _ in range(2))
        for module in [*self.lateral.modules(), *self.smooth.modules()]:
            if isinstance(module, nn.Conv2d):
                initialize_convolution(module)

    def pyramid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Three backbone maps -> two levels (B, channels, h_i, w_i), finest first."""
        *finer, above = maps
        levels: list[Tensor] = []
        for level in (1, 0):
            up = F.interpolate(above, size=finer[level].shape[-2:], mode="bilinear", align_corners=False)
            above = self.smooth[level](self.lateral[level](torch.cat([finer[level], up], dim=1)))
            levels.insert(0, above)
        return levels

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Three backbone maps -> the finer level (B, channels, h_0, w_0)."""
        return self.pyramid(maps)[0]


class CameraEncoder(nn.Module):
    """Pictures and calibrations -> BEV feature.

    Raises:
        ConfigError: the backbone has no maps of strides 8, 16 and 32.
    """

    def __init__(self, config: BEVConfig) -> None:
        super().__init__()
        self.image_size = config.image_size
        self.backbone = Backbone(config.backbone, config.drop_path_rate, config.window_size)
        if len(self.backbone.channels) != 4 or self.backbone.stride != 4:
            raise ConfigError(f"{config.backbone} does not return maps of strides 4, 8, 16 and 32")
        self.backbone.norms[0] = nn.Identity()  # the map of stride 4 is not used
        self.neck = CameraNeck(self.backbone.channels[1:], config.channels)
        self.view_transform = ViewTransform(config)

    def image_features(self, images: Tensor) -> Tensor:
        """(B, N, 3, H, W) -> (B, N, C, H / 8, W / 8)

        Raises:
            ValueError: pictures of another size than the model lifts.
        """
        if images.dim() != 5 or tuple(images.shape[-2:]) != self.image_size:
            raise ValueError(f"pictures have shape {tuple(images.shape)}; expected (B, N, 3, *{self.image_size})")
        maps = self.backbone(images.flatten(0, 1))[1:]
        return self.neck(maps).unflatten(0, images.shape[:2])

    def forward(self, images: Tensor, calibration: Calibration) -> Tensor:
        """(B, N, 3, H, W) -> (B, C', x, y)"""
        return self.view_transform(self.image_features(images), calibration)
