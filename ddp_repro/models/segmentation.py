"""DDP for segmentation, and the same network without diffusion.

An image is encoded once; a cheap decoder then turns a noisy label map into a cleaner one, a few times over.
Algorithm 1 of the paper is :meth:`DDP.training_loss`, Algorithm 2 is :meth:`DDP.sample`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddp_repro.config import ModelConfig
from ddp_repro.diffusion import ENCODINGS, SAMPLERS, SCHEDULES, corrupt, draw_noise, draw_times, time_pairs
from ddp_repro.models.backbones import Backbone
from ddp_repro.models.decoder import MapDecoder
from ddp_repro.models.initialization import initialize_convolution, initialize_decoder, initialize_neck
from ddp_repro.models.losses import IGNORE_INDEX, segmentation_loss
from ddp_repro.models.neck import Neck
from ddp_repro.models.time_embedding import TimeEmbedding

AUXILIARY_WEIGHT = 0.4
Generators = torch.Generator | Sequence[torch.Generator]


@dataclass(frozen=True)
class Trajectory:
    """Everything a sampling run went through, at the decoder's resolution.

    Attributes:
        output: what :meth:`DDP.sample` returns, (B, K, h, w).
        logits: of every step, (S, B, K, h, w).
        maps: the noisy map at the decoder's input before each step and after the last, (S + 1, B, D, h, w).
    """

    output: Tensor
    logits: Tensor
    maps: Tensor

    @property
    def probabilities(self) -> Tensor:
        """(S, B, K, h, w)"""
        return self.logits.softmax(2)

    @property
    def predictions(self) -> Tensor:
        """Most likely class of every step, (S, B, h, w)."""
        return self.logits.argmax(2)


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
        initialize_convolution(self[0])
        nn.init.normal_(self[4].weight, std=0.01)
        nn.init.zeros_(self[4].bias)


class SegmentationModel(nn.Module):
    """What DDP and its baseline share: encoder, neck, map decoder, auxiliary head."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config.backbone, config.drop_path_rate, config.window_size)
        self.neck = Neck(self.backbone.channels, config.channels)
        self.decoder = MapDecoder(
            config.channels,
            config.num_classes,
            config.layers,
            config.heads,
            config.points,
            config.feedforward_channels,
            time_channels=4 * config.channels if config.diffusion else 0,
        )
        self.auxiliary_head = AuxiliaryHead(config.channels, config.num_classes)
        initialize_neck(self.neck)
        initialize_decoder(self.decoder)

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of the image normalisation, RGB on the 0..255 scale."""
        return self.backbone.mean

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of the image normalisation, RGB on the 0..255 scale."""
        return self.backbone.std

    @property
    def stride(self) -> int:
        """Input pixels per pixel of the label map."""
        return self.backbone.stride

    def encode_image(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> image feature (B, D, h, w), h ≈ H / stride."""
        return self.neck(self.backbone(images))

    def losses(self, logits: Tensor, features: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Total to minimise, and its two parts detached."""
        decode = segmentation_loss(logits, label)
        auxiliary = AUXILIARY_WEIGHT * segmentation_loss(self.auxiliary_head(features), label)
        return {"loss": decode + auxiliary, "decode": decode.detach(), "auxiliary": auxiliary.detach()}


class Baseline(SegmentationModel):
    """ "Non-diffusion Baseline" of Table 1: the decoder reads the image feature alone, once."""

    def decode(self, features: Tensor) -> Tensor:
        """Image feature (B, D, h, w) -> logits (B, K, h, w)."""
        return self.decoder(_tokens(features), _shape(features))

    def training_loss(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of a batch {"image": (B, 3, H, W), "label": (B, H, W)}."""
        features = self.encode_image(batch["image"])
        return self.losses(self.decode(features), features, batch["label"])

    @torch.no_grad()
    def sample(self, images: Tensor | None = None, *, features: Tensor | None = None) -> Tensor:
        """Images (B, 3, H, W), or their features -> logits (B, K, h, w).  There is nothing to sample."""
        return self.decode(self.encode_image(images) if features is None else features)


class DDP(SegmentationModel):
    """Diffusion model for dense prediction, segmentation (Ji et al. 2023)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.encoding = ENCODINGS[config.encoding](config.num_classes, config.scale, config.channels)
        self.fusion = nn.Linear(config.channels + self.encoding.channels, config.channels)
        self.time_embedding = TimeEmbedding(config.channels)
        self.schedule = SCHEDULES[config.schedule]
        self.sampler = SAMPLERS[config.sampler]
        initialize_convolution(self.fusion)

    # -- the network: image feature, noisy map, time -> logits ---------------------------------------------------------

    def project_features(self, features: Tensor) -> Tensor:
        """Image half of the fusion, (B, D, h, w) -> tokens (B, h·w, D).  Computed once per image."""
        return F.linear(_tokens(features), self.fusion.weight[:, : self.config.channels], self.fusion.bias)

    def project_map(self, noisy_map: Tensor) -> Tensor:
        """Map half of the fusion, (..., M) -> (..., D).  Linear, so a map may be projected before it is updated."""
        return F.linear(noisy_map, self.fusion.weight[:, self.config.channels :])

    def denoise(self, fused: Tensor, shape: tuple[int, int], t: Tensor) -> Tensor:
        """Fused tokens (B, h·w, D) at times t (B,) -> logits (B, K, h, w)."""
        return self.decoder(fused, shape, self.time_embedding(self.schedule.log_snr(t)))

    def decode(self, features: Tensor, noisy_map: Tensor, t: Tensor | float) -> Tensor:
        """One pass of the map decoder, as published: fuse, then decode.

        Args:
            features: (B, D, h, w) from :meth:`encode_image`.
            noisy_map: (B, M, h, w).
            t: times (B,), or one for all.

        Returns:
            logits (B, K, h, w)
        """
        t = torch.as_tensor(t, dtype=torch.float32, device=features.device).expand(len(features))
        fused = F.linear(_tokens(torch.cat([features, noisy_map], dim=1)), self.fusion.weight, self.fusion.bias)
        return self.denoise(fused, _shape(features), t)

    # -- Algorithm 1 ---------------------------------------------------------------------------------------------------

    def training_loss(
        self, batch: dict[str, Tensor], t: Tensor | None = None, noise: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Algorithm 1: encode the image, encode and corrupt the label map, decode, compare.

        Args:
            batch: "image" (B, 3, H, W) and "label" (B, H, W) with 255 = ignore.
            t: times (B,); drawn from U(0, 0.999) where None.
            noise: (B, M, h, w); drawn where None.

        Returns:
            "loss" to minimise; its parts "decode" and "auxiliary", detached.
        """
        features = self.encode_image(batch["image"])
        clean = self.encoding.encode(self._shrink(batch["label"], _shape(features)))
        t = draw_times(len(features), features.device) if t is None else t
        noise = torch.randn_like(clean) if noise is None else noise
        logits = self.decode(features, corrupt(clean, noise, t, self.schedule), t)
        return self.losses(logits, features, batch["label"])

    def self_aligned_loss(
        self,
        batch: dict[str, Tensor],
        variant: str = "same_noise",
        t: Tensor | None = None,
        noise: Tensor | None = None,
        fresh_noise: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Algorithm 4: corrupt the model's own first prediction instead of the ground truth.

        Args:
            variant: "same_noise" corrupts with the noise that the prediction started from (released code),
                "fresh_noise" with a new draw (as printed).
            t, noise, fresh_noise: as in :meth:`training_loss`; drawn where None.

        Raises:
            ValueError: no such variant.
        """
        if variant not in ("same_noise", "fresh_noise"):
            raise ValueError(f"variant must be same_noise or fresh_noise; got {variant!r}")
        features = self.encode_image(batch["image"])
        shape = (len(features), self.encoding.channels, *_shape(features))
        noise = torch.randn(shape, device=features.device) if noise is None else noise
        with torch.no_grad():
            prediction = self.decode(features, noise, 1.0).argmax(1)
        clean = self.encoding.encode(prediction)
        t = draw_times(len(features), features.device) if t is None else t
        if variant == "fresh_noise":
            noise = torch.randn_like(noise) if fresh_noise is None else fresh_noise
        logits = self.decode(features, corrupt(clean, noise, t, self.schedule), t)
        return self.losses(logits, features, batch["label"])

    def _shrink(self, label: Tensor, shape: tuple[int, int]) -> Tensor:
        """Labels (B, H, W) -> the decoder's resolution, nearest neighbour; ignore becomes class K."""
        label = label.masked_fill(label == IGNORE_INDEX, self.config.num_classes)
        return F.interpolate(label[:, None].float(), size=shape, mode="nearest")[:, 0].long()

    # -- Algorithm 2 ---------------------------------------------------------------------------------------------------

    def noise_shape(self, features: Tensor) -> tuple[int, int, int]:
        """Shape (M, h, w) of one image's start noise, given image features (B, D, h, w)."""
        return self.encoding.channels, *_shape(features)

    @torch.no_grad()
    def sample(
        self,
        images: Tensor | None = None,
        steps: int = 3,
        noise: Tensor | None = None,
        generator: Generators | None = None,
        average_steps: bool | None = None,
        return_trajectory: bool = False,
        *,
        features: Tensor | None = None,
        step_noise: Sequence[Tensor] | None = None,
    ) -> Tensor | Trajectory:
        """Algorithm 2: denoise a random map into the prediction in a few steps.

        The map enters the decoder through a linear layer only, so it is carried in projected form: exactly the
        published computation, with the image half of the fusion done once and label codes looked up in a table.

        Args:
            images: (B, 3, H, W), normalised.
            steps: decoder passes.
            noise: start noise (B, M, h, w); drawn where None.
            generator: where the noise comes from: one generator, one per image, or None (torch's global one).
            average_steps: mean of the steps' softmax instead of the last step's logits; None: the model's default.
            return_trajectory: return a :class:`Trajectory` instead of its output alone.
            features: of :meth:`encode_image`, in place of images.
            step_noise: the ancestral sampler's noise of each step; drawn where None.

        Returns:
            (B, K, h, w): logits of the last step, or averaged probabilities.
        """
        features = self.encode_image(images) if features is None else features
        shape, device = _shape(features), features.device
        if noise is None:
            noise = draw_noise(self.noise_shape(features), len(features), generator).to(device)
        image_part = self.project_features(features)
        codes = self.project_map(self.encoding.codes())
        noisy = self.project_map(_tokens(noise))
        maps, logits = [noisy], []
        for index, (now, following) in enumerate(time_pairs(steps, self.config.time_difference)):
            t_now, t_next = torch.tensor([now, following], device=device)
            logits.append(self.denoise(image_part + noisy, shape, t_now.expand(len(features))))
            if index == steps - 1 and not return_trajectory:
                break
            clean = codes[logits[-1].argmax(1).flatten(1)]
            extra = {}
            if self.config.sampler == "ddpm":
                drawn = step_noise[index] if step_noise else draw_noise(noise.shape[1:], len(noise), generator)
                extra = {"noise": self.project_map(_tokens(drawn.to(device)))}
            noisy = self.sampler(noisy, clean, t_now, t_next, self.schedule, **extra)
            maps.append(noisy)
        average = self.config.average_steps if average_steps is None else average_steps
        output = torch.stack(logits).softmax(2).mean(0) if average else logits[-1]
        if not return_trajectory:
            return output
        return Trajectory(output, torch.stack(logits), torch.stack(maps).transpose(2, 3).unflatten(-1, shape))


def _shape(features: Tensor) -> tuple[int, int]:
    return features.shape[-2], features.shape[-1]


def _tokens(maps: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h·w, C)"""
    return maps.flatten(2).transpose(1, 2)


def build_model(config: ModelConfig) -> DDP | Baseline:
    """The model that ``config`` describes, with initial weights (backbone: from scratch).

    Raises:
        ValueError: an impossible combination of settings.
    """
    return DDP(config) if config.diffusion else Baseline(config)
