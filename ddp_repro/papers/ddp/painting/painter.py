"""A latent diffusion model with a ControlNet, as diffusers' own pipeline, and the pictures that it paints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ddp_repro.settings.errors import ConfigError

if TYPE_CHECKING:
    from diffusers import StableDiffusionControlNetPipeline

# Of Figure 10 at full size.  This ControlNet was trained on label maps in ADE20K's colours, as DDP predicts them.
BASE, CONTROL = "stable-diffusion-v1-5/stable-diffusion-v1-5", "lllyasviel/control_v11p_sd15_seg"
WIDTHS = (16, 32, 96, 256)  # of the layers that make a map as small as a latent, ControlNet's own


@dataclass(frozen=True)
class Painter:
    """A pipeline of diffusers and what its U-Net attends to.

    Attributes:
        embedding: of the prompt, (1, tokens, width).
    """

    pipeline: StableDiffusionControlNetPipeline
    embedding: Tensor

    @classmethod
    def load(
        cls, base: str | Path = BASE, control: str | Path | None = CONTROL, prompt: str = "", *, device: str = "cpu"
    ) -> Painter:
        """Load a latent diffusion model and a ControlNet from the hub, or from folders of ``save_pretrained``.

        Args:
            control: None: a new ControlNet, which changes nothing until it is trained.
            prompt: for all pictures.  A model without text encoder knows none.

        Raises:
            ConfigError: diffusers is missing, the files cannot be had, or the prompt has no reader.
        """
        diffusers = _diffusers()
        try:
            index = diffusers.StableDiffusionControlNetPipeline.load_config(base)
            lacks = {name: None for name in ("text_encoder", "tokenizer") if not any(index.get(name) or ())}
            unet = diffusers.UNet2DConditionModel.from_pretrained(base, subfolder="unet")
            vae = diffusers.AutoencoderKL.from_pretrained(base, subfolder="vae")
            net = _control(control, unet, vae)
            pipeline = diffusers.StableDiffusionControlNetPipeline.from_pretrained(
                base,
                controlnet=net,
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
                **lacks,
            )
        except (OSError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ConfigError(f"no latent diffusion model {base} with ControlNet {control}: {reason}") from error
        pipeline.to(device)
        return cls(_quiet(pipeline), _embed(pipeline, prompt))

    @classmethod
    def assemble(
        cls, unet: Any, vae: Any, embedding: Tensor, scheduler: Any, control: str | Path | None = None
    ) -> Painter:
        """Give a latent diffusion model that has no text encoder a ControlNet.

        Args:
            unet, vae, scheduler: of diffusers.
            embedding: what the U-Net attends to, (1, tokens, width).
            control: id or folder; None: a new one.
        """
        pipeline = _diffusers().StableDiffusionControlNetPipeline(
            vae=vae, text_encoder=None, tokenizer=None, unet=unet, controlnet=_control(control, unet, vae),
            scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
        return cls(_quiet(pipeline), embedding)

    @property
    def stride(self) -> int:
        """Return the multiple that heights and widths of pictures must be of."""
        unet = self.pipeline.unet.config["block_out_channels"]
        return self.pipeline.vae_scale_factor * 2 ** (len(unet) - 1)

    @torch.no_grad()
    def paint(self, maps: np.ndarray, seeds: Sequence[int], *, steps: int = 50, strength: float = 1.0) -> np.ndarray:
        """Paint one picture of every map.

        Args:
            maps: label maps in colours, uint8 (N, H, W, 3), H and W multiples of :attr:`stride`.
            seeds: of the noise, N of them; a picture hangs on its own seed alone.
            steps: of the pipeline's sampler.
            strength: weight of what the ControlNet adds; 0 paints without the map.

        Returns:
            uint8 (N, H, W, 3).

        Raises:
            ValueError: another shape, or another number of seeds.
        """
        height, width = maps.shape[1:3]
        if maps.ndim != 4 or maps.shape[3] != 3 or height % self.stride or width % self.stride:
            raise ValueError(f"maps have shape (N, H, W, 3), sides multiples of {self.stride}; got {maps.shape}")
        if len(seeds) != len(maps):
            raise ValueError(f"{len(maps)} maps need as many seeds; got {len(seeds)}")
        device = self.pipeline.unet.device
        painted: Any = self.pipeline(
            prompt_embeds=self.embedding.to(device).expand(len(maps), -1, -1), image=on_unit_scale(maps).to(device),
            num_inference_steps=steps, guidance_scale=1.0, controlnet_conditioning_scale=strength, output_type="np",
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        )  # fmt: skip
        return (np.asarray(painted.images) * 255).round().astype(np.uint8)


def on_unit_scale(maps: np.ndarray) -> Tensor:
    """Return pictures uint8 (N, H, W, 3) as (N, 3, H, W) in [0, 1], as the ControlNet reads them."""
    return torch.from_numpy(maps).movedim(-1, 1).float() / 255


def _control(source: str | Path | None, unet: Any, vae: Any) -> Any:
    """Return the ControlNet of an id or folder, or a new one from the U-Net's encoder, whose last layers are 0."""
    kind = _diffusers().ControlNetModel
    if source is not None:
        return kind.from_pretrained(source)
    halvings = len(vae.config["block_out_channels"]) - 1  # Stable Diffusion's: three
    return kind.from_unet(unet, conditioning_embedding_out_channels=WIDTHS[: halvings + 1])


def _embed(pipeline: Any, prompt: str) -> Tensor:
    if pipeline.text_encoder is None:
        if prompt:
            raise ConfigError(f"the model has no text encoder, which the prompt {prompt!r} needs")
        return torch.zeros(1, 1, pipeline.unet.config["cross_attention_dim"], device=pipeline.unet.device)
    with torch.no_grad():
        return pipeline.encode_prompt(prompt, pipeline.unet.device, 1, False)[0]


def _quiet(pipeline: Any) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _diffusers() -> Any:
    try:
        import diffusers
    except ImportError as error:
        raise ConfigError("Figure 10 needs diffusers: uv sync --extra genpercept") from error
    return diffusers
