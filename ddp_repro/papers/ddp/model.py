"""DDP (Ji et al. 2023): an image is encoded once; a cheap decoder then denoises a random map into the prediction.

Algorithm 1 of the paper is :meth:`DDP.training_loss`, Algorithm 2 is :meth:`DDP.sample`, Algorithm 4 is
:meth:`DDP.self_aligned_loss`.  What a task adds is small: how the target is written as a map, how a prediction becomes
a clean map again, and the loss (:mod:`ddp_repro.papers.ddp.segmentation`, :mod:`ddp_repro.papers.ddp.depth`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddp_repro.diffusion import SAMPLERS, SCHEDULES, corrupt, draw_noise, draw_times, time_pairs
from ddp_repro.diffusion.trajectory import Trajectory
from ddp_repro.interop.hub import PretrainedMixin
from ddp_repro.networks.backbones import Backbone
from ddp_repro.networks.decoder import MapDecoder
from ddp_repro.networks.initialization import initialize_convolution, initialize_decoder, initialize_neck
from ddp_repro.networks.neck import Neck
from ddp_repro.networks.precision import full_precision
from ddp_repro.networks.shapes import shape_of, tokens_of
from ddp_repro.networks.time_embedding import TimeEmbedding
from ddp_repro.papers.ddp import released
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.protocols.dialect import Dialect
from ddp_repro.protocols.method import Method

if TYPE_CHECKING:  # so that a change of BEV's settings is none of the others' code
    from ddp_repro.papers.ddp.bev.settings import BEVConfig

Batch = dict[str, Tensor]
Generators = torch.Generator | Sequence[torch.Generator]


class ImageModel(PretrainedMixin, Method):
    """What DDP and its baseline share: encoder, neck, map decoder.

    Args:
        decoder: reads tokens of width ``config.channels``.
    """

    config_type = ModelConfig
    dialects: ClassVar[tuple[Dialect, ...]] = (released,)

    def __init__(self, config: ModelConfig | BEVConfig, decoder: MapDecoder) -> None:
        super().__init__()
        self.config = config
        self.build_encoder()
        self.decoder = decoder
        initialize_decoder(self.decoder)

    def build_encoder(self) -> None:
        """Add the modules that :meth:`encode` runs; a task that does not see one image overrides both."""
        self.backbone = Backbone(self.config.backbone, self.config.drop_path_rate, self.config.window_size)
        self.neck = Neck(self.backbone.channels, self.config.channels)
        initialize_neck(self.neck)

    @classmethod
    def from_config(cls, config: ModelConfig) -> ImageModel:
        """Build the model that ``config`` describes, so that ``DDP.from_pretrained`` finds the task by itself."""
        return config.build()

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
        """Input pixels per pixel of the predicted map."""
        return self.backbone.stride

    def encode_image(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> image feature (B, D, h, w), h ≈ H / stride."""
        return self.neck(self.backbone(images))

    def encode(self, batch: Batch) -> Tensor:
        """Return the feature (B, F, h, w) of a batch's inputs, with F = :attr:`feature_channels`."""
        return self.encode_image(batch["image"])

    @property
    def has_noise(self) -> bool:
        """Return whether predictions start from noise."""
        return self.config.diffusion

    @property
    def has_steps(self) -> bool:
        """Return whether predictions are made in steps."""
        return self.config.diffusion

    def _features_of(self, images: Tensor | None, features: Tensor | None) -> Tensor:
        if features is not None:
            return features
        if images is None:
            raise ValueError("sample needs images, or their features")
        return self.encode_image(images)

    @property
    def feature_channels(self) -> int:
        """F, channels of the feature that the map is fused with."""
        return self.config.channels

    def undecayed(self, name: str) -> bool:
        """Return whether the parameter of this name is left without weight decay, as in the released configurations.

        Of segmentation, the rule there is "no decay where the name contains 'norm'", but it is overruled wherever the
        name contains 'head', and in the official names many normalisations contain neither word.  What is left without
        decay are the layer norms of the *backbone*, where named "norm" (not ConvNeXt's stem and downsampling norms).
        Everything else is decayed: norms of decoder, neck and auxiliary head, biases, layer scale, relative positions,
        label embedding.
        """
        return name.startswith("backbone.") and "norm" in name

    # -- the task ------------------------------------------------------------------------------------------------------

    def losses(self, prediction: Tensor, features: Tensor, batch: Batch) -> dict[str, Tensor]:
        """ "loss" to minimise, and its parts detached, of a decoder output (B, C, h, w)."""
        raise NotImplementedError

    def finish(self, decoded: Sequence[Tensor], average_steps: bool) -> Tensor:
        """Return the model's output, of the last or averaged, from the decoder's of the steps, each (B, C, h, w)."""
        raise NotImplementedError


class Baseline(ImageModel):
    """The same network without diffusion: the decoder reads the image feature alone, once."""

    def decode(self, features: Tensor) -> Tensor:
        """Image feature (B, D, h, w) -> prediction (B, C, h, w)."""
        return self.decoder(tokens_of(features), shape_of(features))

    def training_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of a batch: "image" (B, 3, H, W) and the task's ground truth."""
        features = self.encode(batch)
        return self.losses(self.decode(features), features, batch)

    @torch.no_grad()
    def sample(self, images: Tensor | None = None, *, features: Tensor | None = None) -> Tensor:
        """Images (B, 3, H, W), or their features -> (B, C, h, w).  There is nothing to sample."""
        prediction = self.decode(self._features_of(images, features))
        return self.finish([prediction.to(torch.promote_types(prediction.dtype, torch.float32))], False)


class DDP(ImageModel):
    """The diffusion model; a task adds :meth:`target_map` and :meth:`clean_map`.

    Args:
        map_channels: M, channels of the diffused map.
    """

    def __init__(self, config: ModelConfig | BEVConfig, decoder: MapDecoder, map_channels: int) -> None:
        super().__init__(config, decoder)
        self.map_channels = map_channels
        self.fusion = nn.Linear(self.feature_channels + map_channels, config.channels)
        self.time_embedding = TimeEmbedding(config.channels) if config.time_conditioned else None
        self.schedule = SCHEDULES[config.schedule]
        self.sampler = SAMPLERS[config.sampler]
        initialize_convolution(self.fusion)

    # -- the task ------------------------------------------------------------------------------------------------------

    def target_map(self, batch: Batch, shape: tuple[int, int]) -> Tensor:
        """Return the ground truth as a clean map (B, M, h, w)."""
        raise NotImplementedError

    def clean_map(self, prediction: Tensor) -> Tensor:
        """Return the clean map (B, M, h, w) that a decoder output (B, C, h, w) stands for."""
        raise NotImplementedError

    def project_clean(self, prediction: Tensor) -> Tensor:
        """:meth:`project_map` of :meth:`clean_map`, as tokens (B, h·w, D)."""
        return self.project_map(tokens_of(self.clean_map(prediction)))

    def noise_level(self, t: Tensor) -> Tensor:
        """Return what the time embedding is told about times ``t`` (B,)."""
        return self.schedule.log_snr(t)

    # -- the network: image feature, noisy map, time -> prediction -----------------------------------------------------

    def project_features(self, features: Tensor) -> Tensor:
        """Image half of the fusion, (B, D, h, w) -> tokens (B, h·w, D).  Computed once per image."""
        return F.linear(tokens_of(features), self.fusion.weight[:, : self.feature_channels], self.fusion.bias)

    def project_map(self, noisy_map: Tensor) -> Tensor:
        """Map half of the fusion, (..., M) -> (..., D).  Linear, so a map may be projected before it is updated.

        The map is carried in this form from step to step, and so in full precision under any autocast.
        """
        with full_precision(noisy_map.device):
            return F.linear(noisy_map, self.fusion.weight[:, self.feature_channels :])

    def denoise(self, fused: Tensor, shape: tuple[int, int], t: Tensor) -> Tensor:
        """Fused tokens (B, h·w, D) at times t (B,) -> prediction (B, C, h, w)."""
        with full_precision(t.device):
            time = self.time_embedding(self.noise_level(t)) if self.time_embedding else None
        return self.decoder(fused, shape, time)

    def decode(self, features: Tensor, noisy_map: Tensor, t: Tensor | float) -> Tensor:
        """One pass of the map decoder, as published: fuse, then decode.

        Args:
            features: (B, D, h, w) from :meth:`encode_image`.
            noisy_map: (B, M, h, w).
            t: times (B,), or one for all.

        Returns:
            prediction (B, C, h, w): class logits, or depth in metres.
        """
        t = torch.as_tensor(t, dtype=torch.float32, device=features.device).expand(features.shape[0])
        fused = F.linear(tokens_of(torch.cat([features, noisy_map], dim=1)), self.fusion.weight, self.fusion.bias)
        return self.denoise(fused, shape_of(features), t)

    # -- Algorithm 1 ---------------------------------------------------------------------------------------------------

    def training_loss(self, batch: Batch, t: Tensor | None = None, noise: Tensor | None = None) -> dict[str, Tensor]:
        """Algorithm 1: encode the image, encode and corrupt the true map, decode, compare.

        Args:
            batch: "image" (B, 3, H, W) and the task's ground truth.
            t: times (B,); drawn from U(0, 0.999) where None.
            noise: (B, M, h, w); drawn where None.

        Returns:
            "loss" to minimise, and its parts, detached.
        """
        features = self.encode(batch)
        clean = self.target_map(batch, shape_of(features))
        t = draw_times(len(features), features.device) if t is None else t
        noise = torch.randn_like(clean) if noise is None else noise
        prediction = self.decode(features, corrupt(clean, noise, t, self.schedule), t)
        return self.losses(prediction, features, batch)

    # -- Algorithm 4 ---------------------------------------------------------------------------------------------------

    def self_aligned_loss(
        self,
        batch: Batch,
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
        features = self.encode(batch)
        shape = (len(features), *self.noise_shape(features))
        noise = torch.randn(shape, device=features.device) if noise is None else noise
        with torch.no_grad():
            prediction = self.decode(features, noise, 1.0)
        clean = self.clean_map(prediction)
        t = draw_times(len(features), features.device) if t is None else t
        if variant == "fresh_noise":
            noise = torch.randn_like(noise) if fresh_noise is None else fresh_noise
        prediction = self.decode(features, corrupt(clean, noise, t, self.schedule), t)
        return self.losses(prediction, features, batch)

    # -- Algorithm 2 ---------------------------------------------------------------------------------------------------

    def noise_shape(self, features: Tensor) -> tuple[int, int, int]:
        """Shape (M, h, w) of one image's start noise, given image features (B, D, h, w)."""
        return self.map_channels, *shape_of(features)

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
        on_step: Callable[[Trajectory], None] | None = None,
    ) -> Any:
        """Algorithm 2: denoise a random map into the prediction in a few steps.

        The map enters the decoder through a linear layer only, so it is carried in projected form: exactly the
        published computation, with the image half of the fusion done once.

        Args:
            images: (B, 3, H, W), normalised.
            steps: decoder passes.
            noise: start noise (B, M, h, w); drawn where None.
            generator: where the noise comes from: one generator, one per image, or None (torch's global one).
            average_steps: average the steps' predictions (softmax, or depth) instead of returning the last step's
                (logits, or depth); None: the model's default.
            return_trajectory: return a :class:`Trajectory` instead of its output alone.
            features: of :meth:`encode_image`, in place of images.
            step_noise: the ancestral sampler's noise of each step; drawn where None.
            on_step: is told the trajectory so far after every step; needs ``return_trajectory``.

        Returns:
            (B, C, h, w), or a :class:`Trajectory` where it is asked for.
        """
        features = self._features_of(images, features)
        shape, device = shape_of(features), features.device
        if noise is None:
            noise = draw_noise(self.noise_shape(features), len(features), generator).to(device)
        image_part = self.project_features(features)
        noisy = self.project_map(tokens_of(noise))
        average = self.config.average_steps if average_steps is None else average_steps
        maps, decoded = [noisy], []

        def trajectory() -> Trajectory:
            passed = torch.stack(maps).transpose(2, 3).unflatten(-1, shape)
            return Trajectory(self.finish(decoded, average), torch.stack(decoded), passed)

        for index, (now, following) in enumerate(time_pairs(steps, self.config.time_difference)):
            t_now, t_next = torch.tensor([now, following], device=device)
            prediction = self.denoise(image_part + noisy, shape, t_now.expand(len(features)))
            decoded.append(prediction.to(noisy.dtype))
            if index == steps - 1 and not return_trajectory:
                break
            extra = {}
            if self.config.sampler == "ddpm":
                drawn = step_noise[index] if step_noise else draw_noise(noise.shape[1:], len(noise), generator)
                extra = {"noise": self.project_map(tokens_of(drawn.to(device)))}
            noisy = self.sampler(noisy, self.project_clean(decoded[-1]), t_now, t_next, self.schedule, **extra)
            maps.append(noisy)
            if on_step:
                on_step(trajectory())
        return trajectory() if return_trajectory else self.finish(decoded, average)
