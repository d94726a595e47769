"""Segmentation: label maps as code words, logits as predictions, cross-entropy with an auxiliary head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddp_repro.diffusion import ENCODINGS
from ddp_repro.networks.decoder import LabelDecoder
from ddp_repro.networks.initialization import initialize_convolution
from ddp_repro.papers.ddp.model import DDP, Baseline, Batch, ImageModel
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.tasks.segmentation.loss import IGNORE_INDEX, segmentation_loss

AUXILIARY_WEIGHT = 0.4


class AuxiliaryHead(nn.Sequential):
    """A small classifier on the image feature; trains the encoder and is not used at test time."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Dropout2d(0.1),
            nn.Conv2d(channels, num_classes, 1),
        )
        convolution, classifier = cast(nn.Conv2d, self[0]), cast(nn.Linear, self[4])  # a 1×1 convolution, with a bias
        initialize_convolution(convolution)
        nn.init.normal_(classifier.weight, std=0.01)
        nn.init.zeros_(classifier.bias)


class Segmentation(ImageModel):
    """What a segmentation model has with and without diffusion."""

    auxiliary_head: AuxiliaryHead

    def losses(self, prediction: Tensor, features: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of logits (B, K, h, w) ("decode") and 0.4 of the auxiliary head's ("auxiliary").

        Args:
            batch: "label" (B, H, W) with 255 = ignore.
        """
        decode = segmentation_loss(prediction, batch["label"])
        auxiliary = AUXILIARY_WEIGHT * segmentation_loss(self.auxiliary_head(features), batch["label"])
        return {"loss": decode + auxiliary, "decode": decode.detach(), "auxiliary": auxiliary.detach()}

    def finish(self, decoded: Sequence[Tensor], average_steps: bool) -> Tensor:
        """Logits of the last step, or the mean of the steps' softmax."""
        if not average_steps:
            return decoded[-1]
        return torch.stack([step.softmax(1) for step in decoded]).mean(0)


class SegmentationBaseline(Segmentation, Baseline):
    """Table 1's "Non-diffusion Baseline"."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, LabelDecoder.of(config, time_channels=0))
        self.auxiliary_head = AuxiliaryHead(config.channels, cast(int, config.num_classes))


class SegmentationDDP(Segmentation, DDP):
    """DDP for segmentation."""

    def __init__(self, config: ModelConfig) -> None:
        encoding = ENCODINGS[config.encoding](cast(int, config.num_classes), config.scale, config.channels)
        super().__init__(config, LabelDecoder.of(config), encoding.channels)
        self.encoding = encoding
        self.auxiliary_head = AuxiliaryHead(config.channels, cast(int, config.num_classes))

    def target_map(self, batch: Batch, shape: tuple[int, int]) -> Tensor:
        """Labels (B, H, W) -> encoded (B, M, h, w); nearest neighbour, the ignore label as class K."""
        label = batch["label"]
        label = label.masked_fill(label == IGNORE_INDEX, self.config.num_classes)
        return self.encoding.encode(F.interpolate(label[:, None].float(), size=shape, mode="nearest")[:, 0].long())

    def clean_map(self, prediction: Tensor) -> Tensor:
        """Logits -> code words of the most likely classes."""
        return self.encoding.encode(prediction.argmax(1))

    def project_clean(self, prediction: Tensor) -> Tensor:
        """As the general one, by projecting the K + 1 code words instead of every pixel."""
        return self.project_map(self.encoding.codes())[prediction.argmax(1).flatten(1)]
