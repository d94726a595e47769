"""What the frozen segmentors share: their interface, and convolutions under mmsegmentation's names."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

IMAGENET_MEAN = (123.675, 116.28, 103.53)  # RGB, 0..255
IMAGENET_STD = (58.395, 57.12, 57.375)


class Segmentor(nn.Module):
    """A segmentor whose last feature can be had before its classifier.

    Attributes:
        num_classes: C.
        feature_channels: F.
        stride: image pixels per pixel of the feature.
        mean, std: of the image normalisation, RGB on the 0..255 scale.
    """

    def __init__(
        self,
        num_classes: int,
        feature_channels: int,
        stride: int = 4,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.num_classes, self.feature_channels, self.stride = num_classes, feature_channels, stride
        self.mean, self.std = mean, std

    def feature(self, images: Tensor) -> Tensor:
        """Return the feature (B, F, ⌈H/stride⌉, ⌈W/stride⌉) of normalised images (B, 3, H, W)."""
        raise NotImplementedError

    @property
    def classifier(self) -> nn.Module:
        """The layer that reads classes off the feature; the prior does not need it."""
        raise NotImplementedError

    def classify(self, feature: Tensor) -> Tensor:
        """Return the logits (B, C, h, w) of a feature (B, F, h, w)."""
        return self.classifier(feature)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, C, h, w) of normalised images (B, 3, H, W)."""
        return self.classify(self.feature(images))


class ConvNorm(nn.Module):
    """Convolution, batch norm, activation (ReLU, or none)."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.conv = nn.Conv2d(
            in_channels, channels, kernel, stride, padding, dilation=dilation, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(channels)
        self.activate = nn.ReLU(inplace=True) if activation is None else activation

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h', w')"""
        return self.activate(self.bn(self.conv(x)))


class SeparableConvNorm(nn.Module):
    """3×3 depthwise convolution, then 1×1, each with norm and ReLU."""

    def __init__(self, in_channels: int, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.depthwise_conv = ConvNorm(in_channels, in_channels, 3, dilation=dilation, groups=in_channels)
        self.pointwise_conv = ConvNorm(in_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h, w)"""
        return self.pointwise_conv(self.depthwise_conv(x))


def resize_like(x: Tensor, target: Tensor) -> Tensor:
    """Resize (B, C, h, w) bilinearly to the height and width of ``target``."""
    return F.interpolate(x, target.shape[-2:], mode="bilinear", align_corners=False)


class InputCatcher:
    """Catches what a module is given, while a network runs.

    Args:
        module: whose first argument is wanted.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, network: Callable[..., object], *arguments: object, **keywords: object) -> Tensor:
        """Run ``network`` and return the module's input."""
        caught: list[Tensor] = []
        handle = self.module.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
        try:
            network(*arguments, **keywords)
        finally:
            handle.remove()
        if len(caught) != 1:
            raise RuntimeError(f"the classifier ran {len(caught)} times; expected once")
        return caught[0]
