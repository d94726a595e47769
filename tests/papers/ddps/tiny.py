"""A small DDPS model: the released tiny head on a segmentor of the same structure."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from ddp_repro.papers.ddps.layers import Segmentor
from ddp_repro.papers.ddps.model import DDPS
from ddp_repro.papers.ddps.segformer import SegformerHead
from ddp_repro.papers.ddps.settings import DDPSConfig

from . import golden

CHANNELS = (8, 12, 16, 20)
CONFIG = DDPSConfig(num_classes=4, timesteps=20, dim=16, out_channels=12, embedding_channels=4, dropout=0.0)


class Pyramid(nn.Module):
    """Strided convolutions in place of an encoder: four maps at strides 4 to 32."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, *CHANNELS)
        self.stages = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], 4 if i == 0 else 2, stride=4 if i == 0 else 2) for i in range(4)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            x = stage(nn.functional.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2)))
            maps.append(x)
        return maps


class TinySegmentor(Segmentor):
    def __init__(self, num_classes: int = 4, stride: int = 4) -> None:
        super().__init__(num_classes, 16, stride)
        self.backbone = Pyramid()
        self.decode_head = SegformerHead(CHANNELS, 16, num_classes)
        self.runs = 0

    def feature(self, images: Tensor) -> Tensor:
        self.runs += 1
        return self.decode_head.feature(self.backbone(images))

    @property
    def classifier(self) -> nn.Module:
        return self.decode_head.conv_seg


def model(**changes: object) -> DDPS:
    """The released tiny head; in stage 1 without its noise tables."""
    torch.manual_seed(0)
    ddps = DDPS(dataclasses.replace(CONFIG, **changes), TinySegmentor()).eval()
    weights = golden.weights("head_tiny")
    base = {key: value for key, value in weights.items() if key.startswith(("convs", "fusion"))}
    ddps.segmentor.decode_head.load_state_dict(base, strict=False)
    expected = ddps.prior.state_dict()
    if changes.keys() <= {
        "stage",
        "noised",
        "sampler",
        "steps",
        "guidance",
        "average_steps",
        "class_zero",
        "loss_mean",
    }:
        ddps.prior.load_state_dict({key: value for key, value in weights.items() if key in expected})
    return ddps


def features() -> Tensor:
    """The golden features of two images, (2, 16, 8, 8)."""
    reference = golden.read("head_tiny")
    with torch.no_grad():
        return model().segmentor.decode_head.feature([reference[f"feat{i}"] for i in range(4)])


def batch(size: tuple[int, int] = (32, 48), images: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    label = torch.randint(4, (images, *size), generator=generator)
    label[:, :3] = 255
    return {"image": torch.randn(images, 3, *size, generator=generator), "label": label}
