"""DeepLabV3+ (Chen et al. 2018) in mmsegmentation's structure and names, on a ResNet or MobileNetV2."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ddp_repro.papers.ddps.layers import ConvNorm, Segmentor, SeparableConvNorm, resize_like

RESNET_BLOCKS = {"r50": (3, 4, 6, 3), "r101": (3, 4, 23, 3)}
RESNET_STRIDES, RESNET_DILATIONS = (1, 2, 1, 1), (1, 1, 2, 4)
EXPANSION = 4
POOLED_DILATIONS = (12, 24, 36)
# expansion, channels, blocks, stride and dilation of the first block
MOBILENET_LAYERS = (
    (1, 16, 1, 1, 1),
    (6, 24, 2, 2, 1),
    (6, 32, 3, 2, 1),
    (6, 64, 4, 1, 2),
    (6, 96, 3, 1, 2),
    (6, 160, 3, 1, 4),
    (6, 320, 1, 1, 4),
)
MOBILENET_FINE, MOBILENET_COARSE = 1, 6  # layers that the head reads


class Bottleneck(nn.Module):
    """ResNet's block, with the stride in its 3×3 convolution."""

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        channels = EXPANSION * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != channels:
            shortcut = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 4·width, h', w')"""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x)).relu()
        return (self.bn3(self.conv3(x)) + shortcut).relu()


class ResNetV1c(nn.Module):
    """ResNet with three 3×3 convolutions as its stem, the last two stages dilated instead of strided."""

    channels = (64 * EXPANSION, 512 * EXPANSION)

    def __init__(self, depth: str) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_stem(3, 32, 2), *_stem(32, 32, 1), *_stem(32, 64, 1))
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        in_channels = 64
        for index, blocks in enumerate(RESNET_BLOCKS[depth]):
            width, dilation = 64 * 2**index, RESNET_DILATIONS[index]
            layer = []
            for block in range(blocks):
                # a stage's first block is dilated half as much as the rest ("contract_dilation")
                stride, spread = (RESNET_STRIDES[index], max(dilation // 2, 1)) if block == 0 else (1, dilation)
                layer.append(Bottleneck(in_channels, width, stride, spread))
                in_channels = EXPANSION * width
            self.add_module(f"layer{index + 1}", nn.Sequential(*layer))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W) -> maps at stride 4 (B, 256, h, w) and 8 (B, 2048, h/2, w/2)."""
        fine = self.get_submodule("layer1")(self.maxpool(self.stem(images)))
        x = fine
        for index in (2, 3, 4):
            x = self.get_submodule(f"layer{index}")(x)
        return fine, x


def _stem(in_channels: int, channels: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
    return [convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


class InvertedResidual(nn.Module):
    """MobileNetV2's block: widen, convolve each channel, narrow."""

    def __init__(self, in_channels: int, channels: int, expansion: int, stride: int, dilation: int) -> None:
        super().__init__()
        hidden = expansion * in_channels
        self.residual = stride == 1 and in_channels == channels
        widen = [] if expansion == 1 else [ConvNorm(in_channels, hidden, 1, activation=nn.ReLU6(inplace=True))]
        depthwise = ConvNorm(hidden, hidden, 3, stride, dilation, hidden, nn.ReLU6(inplace=True))
        self.conv = nn.Sequential(*widen, depthwise, ConvNorm(hidden, channels, 1, activation=nn.Identity()))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h', w')"""
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """MobileNetV2, dilated from stride 8 on."""

    channels = (MOBILENET_LAYERS[MOBILENET_FINE][1], MOBILENET_LAYERS[MOBILENET_COARSE][1])

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvNorm(3, 32, 3, 2, activation=nn.ReLU6(inplace=True))
        in_channels = 32
        for index, (expansion, channels, blocks, stride, dilation) in enumerate(MOBILENET_LAYERS):
            layer = []
            for block in range(blocks):
                step, spread = (stride, dilation) if block == 0 else (1, 1)
                layer.append(InvertedResidual(in_channels, channels, expansion, step, spread))
                in_channels = channels
            self.add_module(f"layer{index + 1}", nn.Sequential(*layer))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W) -> maps at stride 4 (B, 24, h, w) and 8 (B, 320, h/2, w/2)."""
        x, maps = self.conv1(images), []
        for index in range(len(MOBILENET_LAYERS)):
            x = self.get_submodule(f"layer{index + 1}")(x)
            maps.append(x)
        return maps[MOBILENET_FINE], maps[MOBILENET_COARSE]


class SeparableASPPHead(nn.Module):
    """Atrous spatial pyramid pooling on the coarse map, then two convolutions beside the fine one.

    Args:
        in_channels: of the fine and the coarse map.
        num_classes: of the classifier ``conv_seg``.
    """

    def __init__(self, in_channels: Sequence[int], channels: int, num_classes: int, fine_channels: int = 48) -> None:
        super().__init__()
        fine, coarse = in_channels
        self.image_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), ConvNorm(coarse, channels, 1))
        dilated = [SeparableConvNorm(coarse, channels, dilation) for dilation in POOLED_DILATIONS]
        self.aspp_modules = nn.ModuleList([ConvNorm(coarse, channels, 1), *dilated])
        self.bottleneck = ConvNorm((2 + len(dilated)) * channels, channels, 3)
        self.c1_bottleneck = ConvNorm(fine, fine_channels, 1)
        self.sep_bottleneck = nn.Sequential(
            SeparableConvNorm(channels + fine_channels, channels), SeparableConvNorm(channels, channels)
        )
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)

    def feature(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Fuse maps (B, C, h, w) and (B, C', h/2, w/2) into the feature before the classifier (B, F, h, w)."""
        pooled = resize_like(self.image_pool(coarse), coarse)
        x = torch.cat([pooled, *(module(coarse) for module in self.aspp_modules)], dim=1)  # (B, 5·F, h/2, w/2)
        x = resize_like(self.bottleneck(x), fine)  # (B, F, h, w)
        return self.sep_bottleneck(torch.cat([x, self.c1_bottleneck(fine)], dim=1))


class DeepLabV3Plus(Segmentor):
    """DeepLabV3+ at output stride 8.

    Args:
        encoder: r50, r101 or mobilenet_v2.
        num_classes: C.
    """

    def __init__(self, encoder: str, num_classes: int, channels: int = 512) -> None:
        super().__init__(num_classes, channels)
        self.backbone = MobileNetV2() if encoder == "mobilenet_v2" else ResNetV1c(encoder)
        self.decode_head = SeparableASPPHead(self.backbone.channels, channels, num_classes)

    def feature(self, images: Tensor) -> Tensor:
        """Return the feature (B, F, h, w) of normalised images (B, 3, H, W)."""
        return self.decode_head.feature(*self.backbone(images))

    @property
    def classifier(self) -> nn.Module:
        """The 1×1 convolution from the feature to logits."""
        return self.decode_head.conv_seg
