"""The settings of a DDPS model.  Defaults are the released ones; a comment names the switch to the sound one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ddp_repro.diffusion.discrete import LABEL_SCHEDULES, SamplerName
from ddp_repro.settings.errors import ConfigError

SAMPLERS: tuple[SamplerName, ...] = ("free", "strict", "strict_released")


@dataclass(frozen=True, kw_only=True)
class DDPSConfig:
    """A mask prior on a frozen segmentor.

    Raises:
        ConfigError: settings that contradict each other or do not exist.
    """

    segmentor: str = "segformer_b2"  # a key of ddp_repro.papers.ddps.segmentors.SEGMENTORS
    num_classes: int = 150  # C, of the data set; the prior has K = C + 1, with symbol 0 for unlabelled pixels
    stage: Literal["single", "multi"] = "multi"  # single: one step from a random map (stage 1)
    noised: Literal["prediction", "ground_truth"] = "prediction"  # what training noises at steps > 0 (finding 2)
    timesteps: int = 100  # T; 20 for Cityscapes
    schedule: Literal["linear", "cos"] = "linear"
    dim: int = 256  # width of the U-Net; 128 on SegFormer-B0, ResNet-50 and MobileNetV2
    multipliers: tuple[int, ...] = (1, 1, 1)
    out_channels: int = 256
    embedding_channels: int = 16
    dropout: float = 0.1  # of channels, before the classifier
    condition_dropout: float = 0.0  # share of training images whose condition is zeroed, for guidance
    sampler: SamplerName = "free"  # finding 3
    steps: int | None = None  # n of the default visited steps; None visits all T
    guidance: float = 1.0  # 1: off, as in the released code; the released inference file has 0.4
    average_steps: bool = False
    loss_mean: Literal["all_pixels", "labelled"] = "all_pixels"  # sound: labelled
    class_zero: Literal["kept", "dropped"] = "kept"  # whether a prediction may be "unlabelled"; sound: dropped
    batch_statistics: Literal["frozen", "moving"] = "frozen"  # of the segmentor in training; released: moving

    def __post_init__(self) -> None:
        if self.num_classes < 1 or self.timesteps < 1:
            raise ConfigError(f"num_classes and timesteps must be at least 1; got {self.num_classes}, {self.timesteps}")
        if self.steps is not None and not 1 <= self.steps <= self.levels:
            raise ConfigError(f"steps must be in 1..T = {self.levels}; got {self.steps}")
        choices = {"schedule": tuple(LABEL_SCHEDULES), "sampler": SAMPLERS, "stage": ("single", "multi")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} must be one of {', '.join(allowed)}; got {getattr(self, name)!r}")

    @property
    def symbols(self) -> int:
        """K, the classes and symbol 0."""
        return self.num_classes + 1

    @property
    def levels(self) -> int:
        """T of the model: 1 in stage 1."""
        return 1 if self.stage == "single" else self.timesteps

    @property
    def diffusion(self) -> bool:
        """True: a prediction depends on the noise, in both stages."""
        return True

    @property
    def task(self) -> str:
        """The task's name."""
        return "segmentation"
