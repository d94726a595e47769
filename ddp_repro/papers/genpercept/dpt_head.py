"""Heads on the features of the U-Net's up-blocks: the DPT head (Ranftl et al. 2021) and UperNet (Xiao et al. 2018).

The stock U-Net hands its features over by forward hooks.  Parameters of the DPT head have the released names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ddp_repro.settings.errors import ConfigError

SD_CHANNELS = (320, 640, 1280, 1280)
FUSION_CHANNELS = 256


@contextmanager
def up_block_features(unet: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what the up-blocks return during the passes of the body, finest first.

    For a latent of (h, w) that 4 divides: (B, C0, h, w), (B, C1, h, w), (B, C2, h/2, w/2), (B, C3, h/4, w/4).
    """
    features: list[Tensor] = []
    hooks = [
        block.register_forward_hook(lambda module, inputs, output: features.insert(0, output))
        for block in unet.up_blocks  # type: ignore[union-attr]
    ]
    try:
        yield features
    finally:
        for hook in hooks:
            hook.remove()


class PreActivationResidual(nn.Module):
    """Two 3x3 convolutions, a ReLU before each, around a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.convolution2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, h, w)."""
        return x + self.convolution2(F.relu(self.convolution1(F.relu(x))))


class FusionLayer(nn.Module):
    """Add a finer feature to a coarser one and double its size.

    Args:
        channels: of both features.
        first: the coarsest layer has nothing to add to, so it lacks ``residual_layer1``.
    """

    def __init__(self, channels: int, first: bool) -> None:
        super().__init__()
        self.projection = nn.Conv2d(channels, channels, 1)
        if not first:
            self.residual_layer1 = PreActivationResidual(channels)
        self.residual_layer2 = PreActivationResidual(channels)

    def forward(self, x: Tensor, finer: Tensor | None = None) -> Tensor:
        """Return (B, C, 2h, 2w); ``finer`` is resized to ``x`` where a size was odd."""
        if finer is not None:
            if finer.shape != x.shape:
                finer = F.interpolate(finer, size=x.shape[-2:], mode="bilinear")
            x = x + self.residual_layer1(finer)
        x = F.interpolate(self.residual_layer2(x), scale_factor=2, mode="bilinear", align_corners=True)
        return self.projection(x)


class _Upsample(nn.Module):
    """Double the size, by ``mode``, then convolve if ``channels`` are given."""

    def __init__(self, mode: Literal["nearest", "bilinear"], channels: int | None = None) -> None:
        super().__init__()
        self.mode = mode
        self.conv = nn.Conv2d(channels, channels, 3, padding=1) if channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        align = True if self.mode == "bilinear" else None
        return self.conv(F.interpolate(x, scale_factor=2, mode=self.mode, align_corners=align))


class _FusionStage(nn.Module):
    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FusionLayer(channels, first=level == 0) for level in range(levels))

    def forward(self, features: list[Tensor]) -> Tensor:
        fused = self.layers[0](features[-1])  # (B, C, h/2, w/2)
        for layer, finer in zip(list(self.layers)[1:], reversed(features[:-1]), strict=True):
            fused = layer(fused, finer)
        return fused  # (B, C, 4h, 4w)


class _Neck(nn.Module):
    def __init__(self, in_channels: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(c, channels, 3, padding=1, bias=False) for c in in_channels)
        self.fusion_stage = _FusionStage(channels, len(in_channels))

    def forward(self, features: list[Tensor]) -> Tensor:
        return self.fusion_stage([conv(x) for conv, x in zip(self.convs, features, strict=True)])


class _OutputHead(nn.Module):
    def __init__(self, channels: int, activation: Literal["identity", "relu"]) -> None:
        super().__init__()
        self.projection = nn.Conv2d(channels, channels, 3, padding=1)
        self.head = nn.Sequential(
            nn.Conv2d(channels, channels // 2, 3, padding=1),
            _Upsample("bilinear"),
            nn.Conv2d(channels // 2, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 1, 1),
            nn.ReLU() if activation == "relu" else nn.Identity(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.projection(x)))


class DPTHead(nn.Module):
    """Fuse four features of the U-Net into one map of the image's size: 18.475 M parameters on Stable Diffusion 2.1.

    Args:
        in_channels: of the features, finest first.
        channels: of the fused features.
        activation: last layer: none (released: ``dpt_head_identity``) or a ReLU.
    """

    def __init__(
        self,
        in_channels: tuple[int, ...] = SD_CHANNELS,
        channels: int = FUSION_CHANNELS,
        activation: Literal["identity", "relu"] = "identity",
    ) -> None:
        super().__init__()
        self.feature_upsample_0 = _Upsample("nearest", in_channels[0])
        self.neck = _Neck(in_channels, channels)
        self.head = _OutputHead(channels, activation)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return the raw map, (B, 1, 8h, 8w), for the features of a latent of (h, w); see :func:`up_block_features`."""
        finest = self.feature_upsample_0(features[0])  # (B, C0, 2h, 2w)
        return self.head(self.neck([finest, *features[1:]]))


class UperNetHead(nn.Module):
    """Classify every pixel from the four features, by transformers' UperNet.

    The paper names the head and no more, and no code of it was released: widths and pooling are UperNet's usual ones.
    Its batch normalisation follows a pooling to one pixel: training needs at least two images a batch.

    Args:
        num_classes: K.
        in_channels: of the features, finest first.
        channels: of the head.
    """

    def __init__(self, num_classes: int, in_channels: tuple[int, ...] = SD_CHANNELS, channels: int = 512) -> None:
        super().__init__()
        try:
            from transformers import UperNetConfig
            from transformers.models.upernet.modeling_upernet import UperNetHead as Head
        except ImportError as error:
            raise ConfigError("UperNet needs transformers: uv sync --extra genpercept") from error
        settings: dict[str, Any] = {"hidden_size": channels, "num_labels": num_classes}
        self.head = Head(UperNetConfig(**settings), list(in_channels))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return logits at the image's size, (B, K, 8h, 8w), for the features of a latent of (h, w)."""
        logits = self.head(features)  # (B, K, h, w)
        return F.interpolate(logits, scale_factor=8, mode="bilinear")


def min_max(values: Tensor) -> Tensor:
    """Return every sample stretched to [0, 1] by its own minimum and maximum; a constant map becomes 0.

    Args:
        values: (B, 1, H, W).
    """
    low, high = values.amin((1, 2, 3), keepdim=True), values.amax((1, 2, 3), keepdim=True)
    span = high - low
    return (values - low) / span.where(span > 0, 1)
