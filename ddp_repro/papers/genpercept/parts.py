"""Whether the parts of a pipeline fit one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ddp_repro.papers.genpercept.dpt_head import DPTHead, UperNetHead
from ddp_repro.papers.genpercept.settings import GenPerceptConfig
from ddp_repro.settings.errors import ConfigError

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel


def check_parts(
    unet: UNet2DConditionModel,
    vae: AutoencoderKL,
    text_embedding: Tensor,
    config: GenPerceptConfig,
    head: nn.Module | None,
) -> None:
    """Check that the parts of a pipeline fit one another and the settings.

    Raises:
        ConfigError: names what does not fit, and what was expected.
    """
    channels = unet.config["in_channels"]
    if channels != config.in_channels:
        raise ConfigError(
            f"the U-Net takes {channels} channels, input={config.input!r} gives {config.in_channels}: "
            + ("4 are GenPercept's and DMP's, 8 are Marigold's" if channels in (4, 8) else "want 4 or 8")
        )
    factor = vae.config["scaling_factor"]
    if abs(factor - config.scaling_factor) > 1e-6:
        raise ConfigError(f"the VAE's scaling factor is {factor}, the settings' {config.scaling_factor}")
    if vae.config["latent_channels"] != 4:
        raise ConfigError(f"the VAE has {vae.config['latent_channels']} latent channels, want 4")
    if text_embedding.dim() != 3 or len(text_embedding) != 1:
        raise ConfigError(f"the text embedding has shape {tuple(text_embedding.shape)}, want (1, tokens, width)")
    width = unet.config["cross_attention_dim"]
    if text_embedding.shape[-1] != width:
        raise ConfigError(f"the text embedding is {text_embedding.shape[-1]} wide, the U-Net attends to {width}")
    wanted = {"vae": type(None), "dpt": DPTHead, "upernet": UperNetHead}[config.decoder]
    if not isinstance(head, wanted):
        raise ConfigError(
            f"decoder={config.decoder!r} needs a head of type {wanted.__name__}, got {type(head).__name__}"
        )


def drop_output_layers(unet: Any) -> None:
    """Replace the layers that a head makes needless; files of such a U-Net lack their weights."""
    unet.conv_norm_out, unet.conv_out = nn.Identity(), nn.Identity()
