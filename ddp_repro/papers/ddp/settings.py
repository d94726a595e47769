"""Settings of DDP's models of one picture: segmentation and depth."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.kinds import ModelSettings
from ddp_repro.settings.recipe import Recipe
from ddp_repro.settings.setting import setting

SMALLEST = {"swin_": "swin_tiny_patch4_window7_224", "convnext_": "convnext_atto"}  # by how timm's names begin

SMALL_SCALE = 0.5  # of small models: at the usual ones their maps would hardly matter, nor what is done with them


def smallest_backbone(name: str) -> str:
    """Return the smallest timm encoder of the same kind, for those kinds that have large ones."""
    return next((small for start, small in SMALLEST.items() if name.startswith(start)), name)


@dataclass(frozen=True, kw_only=True)
class ModelConfig(ModelSettings):
    """DDP (Sections 3.2 and 3.3), or its non-diffusion baseline."""

    kind: ClassVar[str] = "papers.ddp"
    paper: ClassVar[str] = "ddp"
    builder: ClassVar[str] = "ddp_repro.papers.ddp.build:image_model"

    task: Literal["segmentation", "depth"] = setting("segmentation", decides="weights")
    backbone: str = setting("swin_tiny_patch4_window7_224", decides="weights")  # a timm name
    # Swin only; None keeps the timm model's own
    window_size: int | None = setting(None, decides="weights", at_least=2, at_most=64, loose=True)
    drop_path_rate: float = setting(0.3, decides="weights", at_least=0, below=1, loose=True)
    # segmentation only; None: as many as the data set names
    num_classes: int | None = setting(150, decides="weights", at_least=1, at_most=10_000)
    # D: width of the image feature, the noisy map and the decoder; the position encoding takes quarters of it
    channels: int = setting(256, decides="weights", at_least=4, at_most=8192, multiple_of=4)
    # L: deformable-attention layers of the map decoder (Table 5d)
    layers: int = setting(6, decides="weights", at_least=1, at_most=256)
    heads: int = setting(8, decides="weights", at_least=1, at_most=1024)
    points: int = setting(4, decides="weights", at_least=1, at_most=64)
    feedforward_channels: int = setting(1024, decides="weights", at_least=1, at_most=65_536)
    diffusion: bool = setting(True, decides="weights")  # False: the "Non-diffusion Baseline" row of Table 1
    encoding: Literal["embedding", "onehot", "analog_bits"] = setting("embedding", decides="weights")  # Table 5a
    scale: float = setting(0.01, decides="weights", above=0, at_most=1e3)  # Table 5b
    # Table 5c; gamma: depth
    schedule: Literal["cosine", "linear", "gamma"] = setting("cosine", decides="weights")
    sampler: Literal["ddim", "ddpm"] = setting("ddim", decides="scores")
    # td of the asymmetric time intervals
    time_difference: int = setting(1, decides="scores", at_least=0, at_most=1000)
    # mean softmax over steps: official for ADE20K, not for Cityscapes
    average_steps: bool = setting(False, decides="scores")
    time_conditioned: bool = setting(True, decides="weights")  # False: the released depth decoder ignores the time
    min_depth: float = setting(1e-3, decides="weights", above=0, at_most=1e6)  # metres; depth only
    max_depth: float = setting(80.0, decides="weights", above=0, at_most=1e6)  # metres; depth only
    # metres that an untrained decoder reads out, about; 0: by chance, as released, often too few for any gradient
    initial_depth: float = setting(0.0, decides="weights", at_least=0, at_most=1e6)

    def small(self) -> ModelConfig:
        """Return a narrow, shallow model on the smallest encoder of the same kind."""
        return dataclasses.replace(
            self, backbone=smallest_backbone(self.backbone), channels=32, layers=min(self.layers, 2),
            heads=math.gcd(self.heads, 32), feedforward_channels=64,
            scale=SMALL_SCALE,
        )  # fmt: skip

    def check(self) -> None:
        """Refuse a width that the heads do not divide, an empty range of depths, and a start beyond it.

        Raises:
            ConfigError: says which field has to change.
        """
        if self.channels % self.heads:
            raise ConfigError(f"channels ({self.channels}) must be a multiple of heads ({self.heads})")
        if self.min_depth >= self.max_depth:
            raise ConfigError(f"min_depth ({self.min_depth}) must be below max_depth ({self.max_depth})")
        if self.initial_depth >= self.max_depth:
            raise ConfigError(
                f"initial_depth ({self.initial_depth}) must be below max_depth ({self.max_depth}), "
                f"e.g. model.initial_depth={self.max_depth / 2:g}"
            )


def picture_settings(recipe: Recipe) -> ModelConfig:
    """Return the model settings of a recipe for pictures.

    Raises:
        ConfigError: its model is another.
    """
    if not isinstance(recipe.model, ModelConfig):
        raise ConfigError(f"{recipe.name} is no recipe of DDP for pictures: its model is a {recipe.model.kind}")
    return recipe.model
