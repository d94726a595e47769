"""Settings of DDP's models of one picture: segmentation and depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ddp_repro.settings.kinds import ModelSettings


@dataclass(frozen=True, kw_only=True)
class ModelConfig(ModelSettings):
    """DDP (Sections 3.2 and 3.3), or its non-diffusion baseline."""

    kind: ClassVar[str] = "papers.ddp"
    paper: ClassVar[str] = "ddp"
    builder: ClassVar[str] = "ddp_repro.papers.ddp.build:build_model"

    task: Literal["segmentation", "depth"] = "segmentation"
    backbone: str = "swin_tiny_patch4_window7_224"  # a timm name
    window_size: int | None = None  # Swin only; None keeps the timm model's own
    drop_path_rate: float = 0.3
    num_classes: int = 150
    channels: int = 256  # D: width of the image feature, the noisy map and the decoder
    layers: int = 6  # L: deformable-attention layers of the map decoder (Table 5d)
    heads: int = 8
    points: int = 4
    feedforward_channels: int = 1024
    diffusion: bool = True  # False: the "Non-diffusion Baseline" row of Table 1
    encoding: Literal["embedding", "onehot", "analog_bits"] = "embedding"  # Table 5a
    scale: float = 0.01  # Table 5b
    schedule: Literal["cosine", "linear", "gamma"] = "cosine"  # Table 5c; gamma: depth
    sampler: Literal["ddim", "ddpm"] = "ddim"
    time_difference: int = 1  # td of the asymmetric time intervals
    average_steps: bool = False  # mean softmax over steps: official for ADE20K, not for Cityscapes
    time_conditioned: bool = True  # False: the released depth decoder, which ignores the time
    min_depth: float = 1e-3  # metres; depth only
    max_depth: float = 80.0  # metres; depth only
