"""Parameters and floating-point operations of GenPercept at Stable Diffusion 2.1's size (Table 11), on ``meta``.

Nothing is allocated or computed: shapes alone are propagated.  One multiply-accumulate counts as two operations;
convolutions, linear layers and attention's products are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ddp_repro.papers.genpercept.dpt_head import DPTHead, UperNetHead, up_block_features
from ddp_repro.papers.genpercept.model import decoder_parts, drop_output_layers
from ddp_repro.papers.genpercept.settings import GenPerceptConfig
from ddp_repro.settings.errors import ConfigError

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel

PROMPT_TOKENS = 2  # the empty prompt without padding: its first and its last token
TEXT_WIDTH = 1024

SD21_UNET = {
    "sample_size": 96,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "cross_attention_dim": TEXT_WIDTH,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
    "norm_num_groups": 32,
}
SD21_VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "norm_num_groups": 32,
    "sample_size": 768,
    "scaling_factor": 0.18215,
}


def sd21_unet(in_channels: int = 4) -> UNet2DConditionModel:
    """Return a U-Net of Stable Diffusion 2.1's shape with random weights, on the current default device.

    Raises:
        ConfigError: diffusers is missing.
    """
    try:
        from diffusers import UNet2DConditionModel
    except ImportError as error:
        raise ConfigError("GenPercept needs diffusers: uv sync --extra genpercept") from error
    settings: dict[str, Any] = {**SD21_UNET, "in_channels": in_channels}
    return UNet2DConditionModel(**settings)


def sd21_vae() -> AutoencoderKL:
    """Return a VAE of Stable Diffusion 2.1's shape with random weights, on the current default device.

    Raises:
        ConfigError: diffusers is missing.
    """
    try:
        from diffusers import AutoencoderKL
    except ImportError as error:
        raise ConfigError("GenPercept needs diffusers: uv sync --extra genpercept") from error
    return AutoencoderKL(**SD21_VAE)


@dataclass(frozen=True)
class Parameters:
    """Numbers of parameters.

    Attributes:
        unet, vae: complete.
        decoder: the VAE's decoder with its 1x1 convolution.
        dpt: the DPT head.
    """

    unet: int
    vae: int
    decoder: int
    dpt: int


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of a pipeline's parts for one image.

    Attributes:
        encode, unet, decode: of the VAE's encoder, one pass of the U-Net, and the decoder or head.
        passes: of the U-Net: denoising steps times ensemble members.
        members: how many latents are decoded.
    """

    encode: int
    unet: int
    decode: int
    passes: int = 1
    members: int = 1

    @property
    def total(self) -> int:
        """Return the operations of the whole inference; the image is encoded once."""
        return self.encode + self.passes * self.unet + self.members * self.decode


@cache
def parameters() -> Parameters:
    """Count parameters at full size."""
    with torch.device("meta"):
        unet, vae, head = sd21_unet(), sd21_vae(), DPTHead()
    return Parameters(count(unet), count(vae), sum(map(count, decoder_parts(vae))), count(head))


def count(module: nn.Module) -> int:
    """Count a module's parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


@cache
def flops(config: GenPerceptConfig, height: int = 768, width: int = 768) -> Flops:
    """Count the operations of one image's inference under the settings.

    Args:
        config: pipeline, steps, ensemble and decoder.
        height, width: of the image, multiples of 8 (32 under a head).

    Raises:
        ConfigError: a size that is no such multiple.
    """
    stride = 8 if config.decoder == "vae" else 32
    if height < stride or width < stride or height % stride or width % stride:
        raise ConfigError(f"{height}x{width} pixels: want multiples of {stride}")
    with torch.device("meta"):
        unet, vae = sd21_unet(config.in_channels).eval(), sd21_vae().eval()
        image = torch.zeros(1, 3, height, width)
        latent = torch.zeros(1, 4, height // 8, width // 8)
        seen = torch.zeros(1, config.in_channels, *latent.shape[-2:])
        text = torch.zeros(1, PROMPT_TOKENS, TEXT_WIDTH)
        head = _head(config)
    with up_block_features(unet) as features, torch.no_grad():
        if head is not None:
            drop_output_layers(unet)
        encode = _counted(lambda: vae.encode(image))
        # A tensor: a number would be put on the CPU by the U-Net's embedding of time.
        one_pass = _counted(lambda: unet(seen, torch.ones(1, device="meta"), text))
        decode = _counted(lambda: cast(Any, vae).decode(latent) if head is None else head(features))
    return Flops(encode, one_pass, decode, config.steps * config.ensemble, config.ensemble)


def _head(config: GenPerceptConfig) -> DPTHead | UperNetHead | None:
    if config.decoder == "dpt":
        return DPTHead(activation=config.head_activation)
    return UperNetHead(config.num_classes).eval() if config.decoder == "upernet" else None


def _counted(function: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()
