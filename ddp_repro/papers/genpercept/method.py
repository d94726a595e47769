"""GenPercept as trainer, evaluator and ``predict`` take a model: batches of a task in, maps of the task out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ddp_repro.diffusion.trajectory import Trajectory
from ddp_repro.papers.genpercept.dpt_head import DPTHead, UperNetHead
from ddp_repro.papers.genpercept.ensemble import ensemble_maps
from ddp_repro.papers.genpercept.labels import class_colours, label_of, label_within
from ddp_repro.papers.genpercept.model import Generators, GenPercept, pad_to
from ddp_repro.papers.genpercept.settings import SINGLE_CHANNEL, ModelConfig
from ddp_repro.papers.genpercept.weights.hub_files import diffusers_class
from ddp_repro.settings.errors import ConfigError

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel

PROMPT_TOKENS = 2  # the empty prompt without padding: its first and its last token
KL_WEIGHT = 1e-4  # of the VAE's posterior, in the stage that trains the VAE


@dataclass(frozen=True)
class Encoded:
    """What an image is encoded to: its latent, and its size before padding."""

    latent: Tensor
    size: tuple[int, int]


class GenPerceptMethod(GenPercept):
    """A pipeline with the parts that every method of the workbook has.

    Images are normalised to [-1, 1]; any size from 8 pixels on is padded by its border and cropped again.  Maps are of
    the image's size: affine-invariant depth or disparity, masks and mattes (B, 1, H, W) in [0, 1], unit normals
    (B, 3, H, W), class scores (B, K, H, W).
    """

    mean = std = (127.5, 127.5, 127.5)
    config: ModelConfig

    def encode_image(self, images: Tensor) -> Encoded:
        """Return the encoding of normalised images (B, 3, H, W).

        Raises:
            ValueError: an image below 8 pixels.
            ConfigError: the settings are of a stage that trains the VAE alone, or the U-Net on images alone.
        """
        if not self.config.predicts:
            stage = "trains the VAE alone" if self.config.loss == "reconstruction" else "learns images alone"
            raise ConfigError(f"model.loss={self.config.loss} {stage}: there is nothing to predict yet")
        height, width = images.shape[-2:]
        return Encoded(self.latent(pad_to(images, self.stride)), (height, width))

    def encode(self, batch: Mapping[str, Tensor]) -> Encoded:
        """Return :meth:`encode_image` of a batch's images."""
        return self.encode_image(batch["image"])

    def sample(
        self,
        *,
        features: Encoded | Tensor,
        steps: int | None = None,
        generator: Generators = None,
        return_trajectory: bool = False,
        on_step: Callable[[Trajectory], None] | None = None,
    ) -> Any:
        """Return the maps of encoded images, or with ``return_trajectory`` those of every step as well.

        Args:
            features: of :meth:`encode_image`; of a latent alone, :meth:`GenPercept.sample` is what is done.
            steps: denoising steps; None: as configured.
            generator: of the Gaussian noise.
            on_step: is told the trajectory so far after every step; needs ``return_trajectory``.
        """
        if isinstance(features, Tensor):
            return super().sample(
                features=features, steps=steps, generator=generator, return_trajectory=return_trajectory
            )
        height, width = features.size
        options: dict[str, Any] = {"features": features.latent, "steps": steps, "generator": generator}
        maps: list[Tensor] = []

        def add(raw: Tensor) -> None:
            maps.append(self._map(raw)[..., :height, :width])
            if on_step:
                on_step(trajectory())

        def trajectory() -> Trajectory:
            return Trajectory(output=maps[-1], decoded=torch.stack(maps), maps=maps[-1].new_empty(0))

        with torch.no_grad():
            if self.config.ensemble > 1:
                members = torch.stack([self._map(cast(Tensor, super(GenPerceptMethod, self).sample(**options)))
                                       for _ in range(self.config.ensemble)], dim=1)  # fmt: skip
                maps.append(ensemble_maps(members[..., :height, :width], self.config.task))
            elif return_trajectory:
                super().sample(**options, return_trajectory=True, on_step=add)
            else:
                add(cast(Tensor, super().sample(**options)))
        return trajectory() if return_trajectory else maps[-1]

    def _map(self, output: Tensor) -> Tensor:
        """Return an output of the pipeline as the task's map, float32."""
        output = output.float()
        if self.config.task in SINGLE_CHANNEL:
            return (output + 1) / 2
        if self.config.task == "normals":
            return F.normalize(output, dim=1)
        if self.config.decoder == "upernet":
            return output
        # The nearer a colour is to a class's, the higher the class's score.
        return -(output[:, None] - self.colours[None, :, :, None, None]).square().sum(2)

    @property
    def colours(self) -> Tensor:
        """Return the colours of the classes in a colour map, (K, 3) in [-1, 1]."""
        return class_colours(self.config.num_classes).to(self.text_embedding)

    # --- training --------------------------------------------------------------------------------------------------

    def training_loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the configured loss of a batch: "image" (B, 3, H, W), normalised, and the task's truth.

        Raises:
            ValueError: a truth that is not finite where it is valid.
        """
        image = pad_to(batch["image"], self.stride)
        if self.config.loss == "denoising":
            return self._denoising(image)
        label = label_of(batch, self.config) if self.config.predicts else label_within(batch, self.config)
        if label is None:
            return self._reconstruction(image)
        bottom, right = (have - want for have, want in zip(image.shape[-2:], label.valid.shape[-2:], strict=True))
        values = F.pad(label.values.float(), (0, right, 0, bottom))
        valid = F.pad(label.valid, (0, right, 0, bottom))
        if self.config.loss == "reconstruction":
            return self._reconstruction(torch.cat([image, values.expand(-1, 3, -1, -1)]))
        if self.config.decoder == "upernet":
            values = values[:, 0].long()
        loss = self.loss(image, values, valid)
        return {"loss": loss, self.config.loss: loss.detach()}

    def _denoising(self, image: Tensor) -> dict[str, Tensor]:
        """Return the loss of a latent diffusion model on images: the mean squared error of v, white noise."""
        with torch.no_grad():
            latent = self.latent(image)
        t = self._training_timesteps(len(image), image.device, None)
        loss = denoising_error(self, latent, torch.randn_like(latent), t).mean()
        return {"loss": loss, "denoising": loss.detach()}

    def _reconstruction(self, pictures: Tensor) -> dict[str, Tensor]:
        """Return the VAE's loss on images and labels: absolute error, and the divergence from a unit Gaussian."""
        vae = cast(Any, self.vae)  # whose outputs may be tuples, if one asks for them
        posterior = vae.encode(pictures).latent_dist
        error = (vae.decode(posterior.sample()).sample - pictures).abs().mean()
        divergence = posterior.kl().mean() / posterior.mean[0].numel()
        return {"loss": error + KL_WEIGHT * divergence, "error": error.detach(), "divergence": divergence.detach()}


def denoising_error(model: GenPercept, latent: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Return the squared error of v of noised latents of images, (B, 4, h, w).

    Args:
        latent, noise: (B, 4, h, w).
        t: timestep of every sample, (B,).
    """
    blended = model.schedule.blend(latent, noise, t)
    return (model.velocity(latent, blended, t) - model.schedule.velocity(latent, noise, t)).square()


def build_model(config: ModelConfig) -> GenPerceptMethod:
    """Build the model that the settings describe, with initial weights; its text embedding is 0 until weights come.

    Raises:
        ConfigError: diffusers is missing.
    """
    unet, head = _unet(config), _head(config)
    return GenPerceptMethod(unet, _vae(config), torch.zeros(1, PROMPT_TOKENS, config.text_width), config, head)


def _unet(config: ModelConfig) -> UNet2DConditionModel:
    return diffusers_class("UNet2DConditionModel")(
        sample_size=96,
        in_channels=config.in_channels,
        out_channels=4,
        block_out_channels=config.unet_channels,
        layers_per_block=config.unet_layers,
        cross_attention_dim=config.text_width,
        attention_head_dim=config.unet_heads,
        use_linear_projection=True,
        norm_num_groups=config.norm_groups,
    )


def _vae(config: ModelConfig) -> AutoencoderKL:
    levels = len(config.vae_channels)
    return diffusers_class("AutoencoderKL")(
        block_out_channels=config.vae_channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=config.vae_layers,
        latent_channels=4,
        norm_num_groups=config.norm_groups,
        sample_size=768,
        scaling_factor=config.scaling_factor,
    )


def _head(config: ModelConfig) -> DPTHead | UperNetHead | None:
    if config.decoder == "dpt":
        return DPTHead(config.unet_channels, config.head_channels, config.head_activation)
    if config.decoder == "upernet":
        return UperNetHead(config.num_classes, config.unet_channels, config.head_channels)
    return None
