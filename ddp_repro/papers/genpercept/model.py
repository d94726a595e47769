"""GenPercept: the U-Net and VAE of a latent diffusion model that map an image to a dense label.

Both networks are stock diffusers modules.  One object covers the paper's three pipelines (Algorithm of Section 3; see
:class:`~ddp_repro.papers.genpercept.settings.GenPerceptConfig`); one-step inference involves no scheduler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddp_repro.papers.genpercept import losses
from ddp_repro.papers.genpercept.dpt_head import DPTHead, UperNetHead, min_max, up_block_features
from ddp_repro.papers.genpercept.ensemble import ensemble_maps
from ddp_repro.papers.genpercept.lora import add_lora
from ddp_repro.papers.genpercept.parts import check_parts, drop_output_layers
from ddp_repro.papers.genpercept.schedule import BlendSchedule, multi_resolution_noise
from ddp_repro.papers.genpercept.settings import SINGLE_CHANNEL, GenPerceptConfig

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel

MIN_SIZE = 8  # pixels of the shorter side: one position of Stable Diffusion's latent
HEAD_STRIDE = 4  # positions of the latent: the coarsest up-block's output, which the heads fuse without remainder

Generators = torch.Generator | Sequence[torch.Generator] | None


class GenPercept(nn.Module):
    """A U-Net and a VAE as a dense predictor.

    Attributes:
        unet, vae: stock diffusers modules; the VAE is frozen unless its decoder is trained from scratch.
        head: the DPT or UperNet head, or None for the VAE's decoder.
        text_embedding: of the prompt, (1, tokens, width).
    """

    has_noise: bool
    has_steps: bool
    text_embedding: Tensor

    def __init__(
        self,
        unet: UNet2DConditionModel,
        vae: AutoencoderKL,
        text_embedding: Tensor,
        config: GenPerceptConfig | None = None,
        head: DPTHead | UperNetHead | None = None,
    ) -> None:
        """Assemble the parts.

        Args:
            unet: of 4 or 8 input channels, as ``config.input`` asks; it gets a LoRA if ``config.unet`` asks for one.
            vae: whose scaling factor is ``config.scaling_factor``.
            text_embedding: (1, tokens, width); released: of the empty prompt without padding, 2 tokens.
            config: None: one-step depth.
            head: for ``config.decoder`` other than ``vae``.

        Raises:
            ConfigError: parts that do not fit one another or the settings.
        """
        super().__init__()
        self.config = config = config or GenPerceptConfig()
        check_parts(unet, vae, text_embedding, config, head)
        self.unet, self.vae, self.head = unet, vae, head
        self.register_buffer("text_embedding", text_embedding)
        self.schedule = BlendSchedule.of(config)
        self.has_noise, self.has_steps = config.noise == "gaussian", config.steps > 1
        if head is not None:
            drop_output_layers(unet)
        self.vae.requires_grad_(config.loss == "reconstruction")
        if config.decoder_from_scratch and head is None:
            for part in decoder_parts(vae):
                part.requires_grad_(True)
        if config.unet == "frozen" or config.loss == "reconstruction":
            self.unet.requires_grad_(False)
        if config.unet == "lora" and not getattr(unet, "peft_config", None):
            add_lora(unet, config.lora_rank)

    # --- the image's side ------------------------------------------------------------------------------------------

    @property
    def dtype(self) -> torch.dtype:
        """Return the type the U-Net computes in."""
        return next(self.unet.parameters()).dtype

    @property
    def stride(self) -> int:
        """Return the multiple that image sizes are padded to."""
        return self.factor if self.head is None else self.factor * HEAD_STRIDE

    @property
    def factor(self) -> int:
        """Return the pixels of an image for one position of the latent, each way; Stable Diffusion: 8."""
        return 2 ** (len(self.vae.config["block_out_channels"]) - 1)

    def latent(self, image: Tensor) -> Tensor:
        """Return the image's latent, the mode of the VAE's posterior times the scaling factor.

        Args:
            image: in [-1, 1], (B, 3, H, W), H and W multiples of 8.

        Returns:
            (B, 4, H / 8, W / 8).

        Raises:
            ValueError: another shape.
        """
        if image.dim() != 4 or image.shape[1] != 3:
            raise ValueError(f"images have shape (B, 3, H, W), got {tuple(image.shape)}")
        factor = self.factor
        if min(image.shape[-2:]) < factor or any(size % factor for size in image.shape[-2:]):
            raise ValueError(f"an image of {image.shape[-2]}x{image.shape[-1]} pixels: want multiples of {factor}")
        image = image.to(self.vae.dtype)
        return cast(Any, self.vae.encode(image)).latent_dist.mode().to(self.dtype) * self.config.scaling_factor

    def decode(self, latent: Tensor) -> Tensor:
        """Return a label's latent decoded by the VAE, unclipped: (B, 1, 8h, 8w), or 3 channels for tasks of three."""
        decoded = (
            cast(Any, self.vae).decode((latent / self.config.scaling_factor).to(self.vae.dtype).contiguous()).sample
        )
        return decoded.mean(dim=1, keepdim=True) if self.config.task in SINGLE_CHANNEL else decoded

    # --- inference -------------------------------------------------------------------------------------------------

    def velocity(self, image_latent: Tensor, blended: Tensor, t: Tensor | int) -> Tensor:
        """Return the U-Net's v at timestep ``t`` (one, or (B,)); shaped as ``blended``, (B, 4, h, w)."""
        # One memory layout: convolutions of another layout round otherwise, and ten steps would not be one.
        seen = blended if self.config.input == "blended" else torch.cat([image_latent, blended], dim=1)
        seen = seen.contiguous()
        text = self.text_embedding.to(seen).expand(seen.shape[0], -1, -1)
        return self.unet(seen, t, encoder_hidden_states=text, return_dict=False)[0]

    def timesteps(self, steps: int | None = None) -> list[int]:
        """Return the timesteps that inference visits, from high to low."""
        steps = steps or self.config.steps
        if steps == 1 and self.config.timestep is not None:
            return [self.config.timestep]
        return self.schedule.timesteps(steps, self.config.spacing)

    def denoise(self, image_latent: Tensor, steps: int | None = None, generator: Generators = None) -> list[Tensor]:
        """Return the label's latent as predicted at each step, first to last.

        Where betas are 1 and the image is the noise, one step is Equation 12: z_y = -v(z_x).

        Args:
            image_latent: z_x, (B, 4, h, w).
            steps: None: as configured.
            generator: of the Gaussian noise: one for the batch, or one for every image.

        Raises:
            ValueError: as many generators as there are no images.
        """
        return list(self._labels(image_latent, steps, generator))

    def _labels(self, image_latent: Tensor, steps: int | None, generator: Generators) -> Iterator[Tensor]:
        timesteps = self.timesteps(steps)
        if self.config.noise == "image" and self.config.beta_start == 1 and len(timesteps) == 1:
            yield -self.velocity(image_latent, image_latent, timesteps[0])
            return
        latent = image_latent if self.config.noise == "image" else _gaussian(image_latent, generator)
        for t in timesteps:
            label, latent = self.schedule.step(latent, self.velocity(image_latent, latent, t), t, len(timesteps))
            yield label

    def sample(
        self,
        *,
        features: Tensor,
        steps: int | None = None,
        generator: Generators = None,
        return_trajectory: bool = False,
        on_step: Callable[[Tensor], None] | None = None,
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """Return the predicted map of image latents, and on request the map of every step.

        Args:
            features: z_x of :meth:`latent`, (B, 4, h, w).
            steps: denoising steps; None: as configured.
            generator: of the Gaussian noise.
            return_trajectory: decode every step's prediction too.
            on_step: is told the map of every step as it comes; needs ``return_trajectory``.

        Returns:
            (B, C, 8h, 8w): in [-1, 1] by the VAE or the DPT head (stretched by its minimum and maximum), logits by
            UperNet.
        """
        if self.head is not None:
            if steps not in (None, 1):
                raise ValueError(f"steps={steps}: a head reads the features of one step")
            raw = self._head_output(features)
            result = raw if self.config.decoder == "upernet" else min_max(raw) * 2 - 1
            if on_step:
                on_step(result)
            return (result, [result]) if return_trajectory else result
        if not return_trajectory:
            return self.decode(self.denoise(features, steps, generator)[-1]).clamp(-1, 1)
        trajectory = []
        for label in self._labels(features, steps, generator):
            trajectory.append(self.decode(label).clamp(-1, 1))
            if on_step:
                on_step(trajectory[-1])
        return trajectory[-1], trajectory

    @torch.no_grad()
    def predict(self, image: Tensor, steps: int | None = None, generator: Generators = None) -> Tensor:
        """Return the prediction for images of any size from 8 pixels on, at their size, float32.

        The image is padded by its border at the right and the bottom to a multiple of 8 (32 under a head), and the
        prediction is cropped.  Without Gaussian noise the result is the same bit for bit on one machine.

        Args:
            image: uint8, or float in [0, 1], (B, 3, H, W).
            steps: denoising steps; None: as configured.
            generator: of the Gaussian noise: one for the batch, or one for every image.

        Returns:
            (B, 1, H, W) in [0, 1] for depth, disparity, foreground and matte; (B, 3, H, W) unit normals in [-1, 1];
            (B, 3, H, W) in [0, 1] for a colour map; (B, K, H, W) logits by UperNet.

        Raises:
            ValueError: another shape or range, or an image below 8 pixels.
        """
        height, width = image.shape[-2:]
        latent = self.latent(pad_to(_to_signed(image).to(self.text_embedding.device), self.stride))
        members = [self._member(latent, steps, generator) for _ in range(self.config.ensemble)]
        if self.config.ensemble == 1:
            return members[0][..., :height, :width]
        return ensemble_maps(torch.stack(members, dim=1)[..., :height, :width], self.config.task)

    def forward(self, image: Tensor) -> Tensor:
        """Return :meth:`predict` of the images, for callers that expect a module to be called."""
        return self.predict(image)

    def _member(self, latent: Tensor, steps: int | None, generator: Generators) -> Tensor:
        output = self.sample(features=latent, steps=steps, generator=generator)
        assert isinstance(output, Tensor)
        output = output.float()
        if self.config.decoder == "upernet":
            return output
        return F.normalize(output, dim=1) if self.config.task == "normals" else (output + 1) / 2

    def _head_output(self, image_latent: Tensor) -> Tensor:
        assert self.head is not None
        if any(size % HEAD_STRIDE for size in image_latent.shape[-2:]):
            raise ValueError(
                f"a head needs images of multiples of {self.stride} pixels, got a latent of {tuple(image_latent.shape)}"
            )
        with up_block_features(self.unet) as features:
            self.velocity(image_latent, image_latent, self.timesteps()[0])
        output = self.head(features)
        if self.factor == MIN_SIZE:
            return output
        size = [positions * self.factor for positions in image_latent.shape[-2:]]
        return F.interpolate(output, size, mode="bilinear")  # heads end at eight times the latent's size

    # --- training --------------------------------------------------------------------------------------------------

    def enable_gradient_checkpointing(self) -> None:
        """Recompute activations of the U-Net and the VAE in the backward pass."""
        self.unet.enable_gradient_checkpointing()
        self.vae.enable_gradient_checkpointing()

    def loss(
        self, image: Tensor, label: Tensor, valid: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the configured loss of a batch (Section 3), a scalar.

        Timesteps are random in [0, T) unless ``config.timestep`` fixes them.  Losses on the decoded map go through
        the frozen decoder to the U-Net.

        Args:
            image: in [-1, 1], (B, 3, H, W), H and W multiples of 8.
            label: in [-1, 1], (B, 1 or 3, H, W); class indices, (B, H, W), 255 ignored, for UperNet.
            valid: bool, (B, 1, H, W); None: all pixels.
            generator: of timesteps and Gaussian noise, on the device of ``image``.

        Raises:
            ValueError: a label of another shape, or values that are not finite at valid pixels.
        """
        with torch.no_grad():
            z_x = self.latent(image)
        if self.head is not None:
            return self._map_loss(self._head_output(z_x).float(), label, valid)
        valid = torch.ones_like(image[:, :1], dtype=torch.bool) if valid is None else valid
        label = _three_channels(label, image, valid)
        with torch.no_grad():
            z_y = self.latent(label)
        t = self._training_timesteps(len(image), image.device, generator)
        noise = z_x if self.config.noise == "image" else self._training_noise(z_x, t, generator)
        blended = self.schedule.blend(z_y, noise, t)
        v = self.velocity(z_x, blended, t)
        latent_loss = losses.latent_mse(
            v.float(), self.schedule.velocity(z_y, noise, t).float(), losses.latent_mask(valid, self.factor)
        )
        if self.config.loss == "latent":
            return latent_loss
        decoded = self.decode(self.schedule.label_from(blended, v, t)).float()
        target = label.mean(dim=1, keepdim=True) if self.config.task in SINGLE_CHANNEL else label
        loss = self._map_loss(decoded, target.float(), valid)
        return loss + self.config.latent_weight * latent_loss if self.config.latent_weight else loss

    def _map_loss(self, prediction: Tensor, label: Tensor, valid: Tensor | None) -> Tensor:
        if self.config.loss == "cross_entropy":
            if valid is not None:
                label = torch.where(valid[:, 0], label, 255)
            # The mean over no pixel would be NaN.
            counted = (label != 255).sum().clamp(min=1)
            return F.cross_entropy(prediction, label, ignore_index=255, reduction="sum") / counted
        if prediction.shape != label.shape:
            raise ValueError(f"a label of shape {tuple(label.shape)} for a prediction of {tuple(prediction.shape)}")
        if self.config.loss == "angular":
            return losses.angular_loss(prediction, label, valid)
        if self.config.loss == "customised":
            valid = torch.ones_like(label, dtype=torch.bool) if valid is None else valid
            return losses.depth_loss(prediction, label, valid, ssi=self.config.ssi, axes=self.config.gradient_axes)
        return losses.image_mse(prediction, label, valid)

    def _training_timesteps(self, count: int, device: torch.device, generator: torch.Generator | None) -> Tensor:
        if self.config.timestep is not None:
            return torch.full((count,), self.config.timestep, device=device)
        return torch.randint(0, self.config.train_steps, (count,), generator=generator, device=device)

    def _training_noise(self, like: Tensor, t: Tensor, generator: torch.Generator | None) -> Tensor:
        if not self.config.multi_resolution_noise:
            return torch.randn(like.shape, generator=generator, device=like.device).to(like)
        annealed = self.config.multi_resolution_noise * t / self.config.train_steps
        return multi_resolution_noise(like, annealed, generator)


def decoder_parts(vae: AutoencoderKL) -> list[nn.Module]:
    """Return the VAE's modules that decode: the decoder and, where the VAE has one, the 1x1 convolution before it."""
    return [vae.decoder, *([] if vae.post_quant_conv is None else [vae.post_quant_conv])]


def pad_to(image: Tensor, stride: int) -> Tensor:
    """Return the image padded by its border, at the right and the bottom, to multiples of ``stride``.

    Raises:
        ValueError: not (B, C, H, W), or below 8 pixels.
    """
    if image.dim() != 4:
        raise ValueError(f"images have shape (B, 3, H, W), got {tuple(image.shape)}")
    height, width = image.shape[-2:]
    if min(height, width) < MIN_SIZE:
        raise ValueError(f"an image of {height}x{width} pixels is below {MIN_SIZE}x{MIN_SIZE}")
    return F.pad(image, (0, -width % stride, 0, -height % stride), mode="replicate")


def _to_signed(image: Tensor) -> Tensor:
    """Return uint8, or float in [0, 1], as float32 in [-1, 1]."""
    if image.dtype == torch.uint8:
        return image.float() / 255 * 2 - 1
    if not image.is_floating_point():
        raise ValueError(f"images are uint8, or float in [0, 1]; got {image.dtype}")
    if not image.isfinite().all() or image.min() < 0 or image.max() > 1:
        raise ValueError("a float image has values that are not finite or outside [0, 1]")
    return image.float() * 2 - 1


def _three_channels(label: Tensor, image: Tensor, valid: Tensor) -> Tensor:
    if label.dim() != 4 or label.shape[1] not in (1, 3) or label.shape[-2:] != image.shape[-2:]:
        raise ValueError(f"a label of shape {tuple(label.shape)} for images of shape {tuple(image.shape)}")
    if not torch.where(valid, label, 0).isfinite().all():
        raise ValueError("the label is not finite at valid pixels")
    # The VAE sees all pixels: what is unknown must be a number.
    return torch.where(label.isfinite(), label, -1).expand(-1, 3, -1, -1)


def _gaussian(like: Tensor, generator: Generators) -> Tensor:
    """Return Gaussian noise drawn where the generators live, shaped as ``like``."""
    if generator is None or isinstance(generator, torch.Generator):
        device = like.device if generator is None else generator.device
        return torch.randn(like.shape, generator=generator, device=device, dtype=like.dtype).to(like.device)
    if len(generator) != len(like):
        raise ValueError(f"{len(generator)} generators for {len(like)} images")
    return torch.cat([_gaussian(image[None], own) for image, own in zip(like, generator, strict=True)])
