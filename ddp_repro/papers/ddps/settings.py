"""The settings of a DDPS model.  Defaults are the released ones; a comment names the switch to the sound one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal

from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.kinds import ModelSettings
from ddp_repro.settings.recipe import EvalConfig, Recipe
from ddp_repro.settings.setting import setting

SMALLEST = {"segformer_": "segformer_b0", "deeplabv3plus_": "deeplabv3plus_mobilenet_v2"}  # by how names begin


@dataclass(frozen=True, kw_only=True)
class DDPSConfig(ModelSettings):
    """A mask prior on a frozen segmentor.

    Raises:
        ConfigError: settings that contradict each other or do not exist.
    """

    kind: ClassVar[str] = "papers.ddps"
    paper: ClassVar[str] = "ddps"
    builder: ClassVar[str] = "ddp_repro.papers.ddps.build:build_model"
    task: ClassVar[str] = "segmentation"
    diffusion: ClassVar[bool] = True  # a prediction depends on the noise, in both stages

    # a key of papers.ddps.segmentors.SEGMENTORS, "recipe:NAME" or "transformers:FOLDER or hub name"
    segmentor: str = setting("segformer_b2", decides="weights")
    # C, of the data set; the prior has K = C + 1, with symbol 0 for unlabelled pixels
    num_classes: int = setting(150, decides="weights", at_least=1, at_most=10_000)
    # single: one step from a random map (stage 1)
    stage: Literal["single", "multi"] = setting("multi", decides="weights")
    # what training noises at steps > 0 (finding 2)
    noised: Literal["prediction", "ground_truth"] = setting("prediction", decides="weights", loose=True)
    timesteps: int = setting(100, decides="weights", at_least=1, at_most=10_000)  # T; 20 for Cityscapes
    schedule: Literal["linear", "cos"] = setting("linear", decides="weights")
    # width of the U-Net; 128 on SegFormer-B0, ResNet-50 and MobileNetV2
    dim: int = setting(256, decides="weights", at_least=8, at_most=8192, multiple_of=8)
    multipliers: tuple[int, ...] = setting((1, 1, 1), decides="weights", at_least=1, at_most=64)
    out_channels: int = setting(256, decides="weights", at_least=1, at_most=65_536)
    embedding_channels: int = setting(16, decides="weights", at_least=1, at_most=65_536)
    # of channels, before the classifier
    dropout: float = setting(0.1, decides="weights", at_least=0, below=1, loose=True)
    # share of training images whose condition is zeroed, for guidance
    condition_dropout: float = setting(0.0, decides="weights", at_least=0, at_most=1, loose=True)
    # finding 3; none: the segmentor's own prediction, without the prior
    sampler: Literal["free", "strict", "strict_released", "none"] = setting("free", decides="scores")
    # n of the default visited steps; None visits all T
    steps: int | None = setting(None, decides="scores", at_least=1)
    # 1: off, as in the released code; the released inference file has 0.4
    guidance: float = setting(1.0, decides="scores")
    average_steps: bool = setting(False, decides="scores")
    # sound: labelled
    loss_mean: Literal["all_pixels", "labelled"] = setting("all_pixels", decides="weights", loose=True)
    # whether a prediction may be "unlabelled"; sound: dropped
    class_zero: Literal["kept", "dropped"] = setting("kept", decides="scores")

    def modules(self) -> tuple[str, ...]:
        """Return the builder's module, and those of the model that the segmentor is."""
        from ddp_repro.workbook.catalogue import recipe

        start, _, name = self.segmentor.partition(":")
        return (*super().modules(), *(recipe(name).model.modules() if start == "recipe" else ()))

    def small(self) -> DDPSConfig:
        """Return a narrow prior with few levels on the smallest segmentor of the same kind."""
        kind = next((small for start, small in SMALLEST.items() if self.segmentor.startswith(start)), self.segmentor)
        return dataclasses.replace(
            self, segmentor=kind, dim=min(self.dim, 16), out_channels=min(self.out_channels, 16),
            embedding_channels=min(self.embedding_channels, 8), timesteps=min(self.timesteps, 8), steps=None,
        )  # fmt: skip

    def check(self) -> None:
        """Refuse more steps than the model has.

        Raises:
            ConfigError: names T.
        """
        if self.steps is not None and self.steps > self.levels:
            raise ConfigError(f"steps must be in 1..T = {self.levels}; got {self.steps}")

    def check_evaluation(self, evaluation: EvalConfig) -> None:
        """Refuse numbers of sampling steps beyond T.

        Raises:
            ConfigError: names them and T.
        """
        if max(evaluation.steps) > self.levels:
            raise ConfigError(
                f"evaluation.steps is {evaluation.steps}, but a model of stage {self.stage!r} has T = {self.levels}"
            )

    @property
    def symbols(self) -> int:
        """K, the classes and symbol 0."""
        return self.num_classes + 1

    @property
    def levels(self) -> int:
        """T of the model: 1 in stage 1."""
        return 1 if self.stage == "single" else self.timesteps

    @property
    def output_classes(self) -> int:
        """K', channels of a prediction: C, and one more where it may say "unlabelled"."""
        return self.num_classes + (self.class_zero == "kept")


def settings_of(recipe: Recipe) -> DDPSConfig:
    """Return the model settings of a recipe of DDPS.

    Raises:
        ConfigError: its model is another.
    """
    if not isinstance(recipe.model, DDPSConfig):
        raise ConfigError(f"{recipe.name} is no recipe of DDPS: its model is a {recipe.model.kind}")
    return recipe.model
