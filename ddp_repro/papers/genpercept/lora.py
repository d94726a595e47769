"""LoRA on the U-Net's attention (Table 4), by peft: rank equals alpha, Gaussian initialisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ddp_repro.settings.errors import ConfigError

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
ADAPTER = "genpercept"


def add_lora(unet: UNet2DConditionModel, rank: int) -> None:
    """Freeze the U-Net and give every attention projection a trainable update of this rank.

    Raises:
        ConfigError: peft is missing, a rank below 1, or a U-Net that has one already.
    """
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise ConfigError("LoRA needs peft: uv sync --extra genpercept") from error
    if rank < 1:
        raise ConfigError(f"LoRA of rank {rank}: want at least 1")
    if getattr(unet, "peft_config", None):
        raise ConfigError("the U-Net has a LoRA already")
    unet.requires_grad_(False)
    config = LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=list(TARGETS))
    unet.add_adapter(config, adapter_name=ADAPTER)


def merge_lora(unet: UNet2DConditionModel) -> None:
    """Add the updates to the weights and remove the adapter: the U-Net is a stock one again.

    Raises:
        ConfigError: there is none.
    """
    if not getattr(unet, "peft_config", None):
        raise ConfigError("the U-Net has no LoRA to merge")
    unet.fuse_lora(adapter_names=[ADAPTER])
    unet.unload_lora()


def count_lora(unet: UNet2DConditionModel) -> int:
    """Count the parameters of the updates."""
    return sum(parameter.numel() for name, parameter in unet.named_parameters() if "lora_" in name)
