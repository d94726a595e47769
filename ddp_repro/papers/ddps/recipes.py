"""DDPS's recipes: the rows of the release's table, and the arms of its findings on small models.

Stage 0 is a finished segmentor.  Stage 1 ("single") trains a prior of one step on it; stage 2 begins from stage 1 and
trains many steps, on first predictions ("multi") or on the ground truth ("truth").  What stage 2 gains by its
iterations alone is told by "longer": stage 1, continued for as many.  Other samplers than free re-noising are recipes
that lend the weights of stage 2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, cast

from ddp_repro.papers.ddps.segmentors import FROM_RECIPE
from ddp_repro.papers.ddps.settings import DDPSConfig
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.presets import check_preset
from ddp_repro.settings.recipe import DataConfig, EvalConfig, Recipe, TrainConfig
from ddp_repro.settings.training_seeds import seeded
from ddp_repro.workbook.catalogue import recipe as named_recipe

Arm = Literal["single", "longer", "truth", "multi"]
ARMS: tuple[Arm, ...] = ("single", "longer", "truth", "multi")
SUFFIXES: dict[Arm, str] = {"single": "_single", "longer": "_longer", "truth": "_truth", "multi": ""}
LABELS: dict[Arm, str] = {
    "single": "stage 1: one step",
    "longer": "stage 1, trained on for as long",
    "truth": "stage 2: noise on the ground truth",
    "multi": "stage 2: noise on the first prediction",
}
Strict = Literal["strict", "strict_released"]
STRICT: dict[Strict, str] = {"strict": "exact posterior", "strict_released": "released posterior"}
FEW, MANY = 1, 10  # sampling steps n that the findings compare: 2 and 11 calls of the prior, with T = 20
PRIOR = ("unet", "conv_seg_new", "embed")  # what stage 2 takes over; its noise tables are its own

TABLES = {"ade20k": "ddps_table1", "cityscapes": "ddps_table2"}  # of the release
WIDTHS = {
    "segformer_b0": 128,
    "segformer_b2": 256,
    "segformer_b5": 256,
    "deeplabv3plus_mobilenet_v2": 128,
    "deeplabv3plus_r50": 128,
    "deeplabv3plus_r101": 256,
}


def recipes(preset: str) -> dict[str, Recipe]:
    """Return the recipes of one preset by name.

    Raises:
        ConfigError: there is no such preset.
    """
    check_preset(preset)
    return {recipe.name: recipe for recipe in _recipes(preset)}


@cache
def _recipes(preset: str) -> tuple[Recipe, ...]:
    if preset == "paper":
        return tuple(stage for name in WIDTHS for base in (ade20k(name), cityscapes(name)) for stage in base)
    if preset not in SMALL:
        return ()
    lent = [strictly(preset, which, sampler) for which in NOISED for sampler in STRICT]
    return (segmentor(preset), *(arm(preset, which) for which in ARMS), unrefined(preset), *lent)


def main_model(preset: str) -> str | None:
    """Return the recipe of stage 2 that figures of one model show; None where there is none."""
    check_preset(preset)
    return {"mini": name_of("mini", "multi"), "camvid": name_of("camvid", "multi"),
            "paper": "ddps_ade20k_segformer_b2"}.get(preset)  # fmt: skip


def name_of(preset: str, arm: Arm) -> str:
    """Return the name of an arm's recipe of a small preset."""
    return f"{_stem(preset)}{SUFFIXES[arm]}"


def segmentor_of(preset: str) -> str:
    """Return the name of stage 0 of a small preset."""
    return f"{_stem(preset)}_segmentor"


def unrefined_of(preset: str) -> str:
    """Return the name of the frozen segmentor's recipe, as the prior sees it."""
    return f"{_stem(preset)}_unrefined"


def sampled_by(preset: str, arm: Arm, sampler: Strict) -> str:
    """Return the name of an arm's recipe with another sampler."""
    return f"{name_of(preset, arm)}_{sampler}"


def _stem(preset: str) -> str:
    return "ddps_" + SMALL[preset].removesuffix("_baseline")


def check_arms(preset: str) -> None:
    """Refuse a preset that has no arms of the findings.

    Raises:
        ConfigError: names those that have.
    """
    if preset not in SMALL:
        raise ConfigError(f"the preset {preset} has no arms of DDPS's findings; {', '.join(SMALL)} have them")


def stages(preset: str, seeds: Sequence[int] = (0,), which: Sequence[Arm] = ARMS) -> list[list[Recipe]]:
    """Return what a small preset trains for some arms, in the order in which one needs the other.

    Each of stage 0, stage 1 and stage 2 can be trained side by side; "longer" counts as stage 2.  What other samplers
    make of stage 2 comes last.

    Raises:
        ConfigError: the preset has no arms.
    """
    check_arms(preset)
    later: list[Arm] = [name for name in ARMS if name in which and name != "single"]
    lent = [strictly(preset, name, sampler) for name in NOISED if name in which for sampler in STRICT]
    lent = [unrefined(preset), *lent]
    plain = [[segmentor(preset)], [arm(preset, "single")], [arm(preset, name) for name in later], lent]
    return [[seeded(recipe, seed) for recipe in stage for seed in seeds] for stage in plain if stage]


# -- the paper's rows --------------------------------------------------------------------------------------------------

# The released multi-step training: AdamW, halved every 20,000 iterations, 8 GPUs of 4 images.
OFFICIAL = TrainConfig(
    iterations=160_000, batch_size=32, device_batch_size=4, betas=(0.9, 0.96), learning_rate=1.5e-4,
    weight_decay=0.045, warmup_iterations=1000, curve="step", step_iterations=20_000, step_factor=0.5,
    min_rate_ratio=1e-6 / 1.5e-4, ema_momentum=0.01, ema_every=25, frozen=("segmentor",), frozen_mode="training",
    backbone_weights=None,
)  # fmt: skip


def ade20k(segmentor: str) -> list[Recipe]:
    """Both stages of the release's ADE20K row of a segmentor, T = 100."""
    model = DDPSConfig(segmentor=segmentor, num_classes=150, dim=WIDTHS[segmentor], timesteps=100)
    return _stages("ade20k", model, DataConfig())


def cityscapes(segmentor: str) -> list[Recipe]:
    """Both stages of the release's Cityscapes row of a segmentor, T = 20."""
    model = DDPSConfig(segmentor=segmentor, num_classes=19, dim=WIDTHS[segmentor], timesteps=20)
    data = DataConfig(
        dataset="cityscapes", root="data/cityscapes", train_split="train", eval_split="val",
        image_scale=(2048, 1024), crop_size=(1024, 1024),
    )  # fmt: skip
    return _stages("cityscapes", model, data)


def _stages(dataset: str, model: DDPSConfig, data: DataConfig) -> list[Recipe]:
    """Stage 1, from mmsegmentation's checkpoint of the segmentor, and stage 2."""
    name = f"ddps_{dataset}_{model.segmentor}"
    multi = Recipe(
        name=name, table=TABLES[dataset], row=f"DDPS {model.segmentor}", model=model, data=data,
        train=dataclasses.replace(OFFICIAL, weights=_from_stage_1(f"{name}_single")),
        evaluation=EvalConfig(steps=(model.timesteps // 10,), boundary=True),
    )  # fmt: skip
    train = dataclasses.replace(
        OFFICIAL, iterations=80_000, step_iterations=10_000, ema_momentum=None,
        weights=(f"segmentor=data/weights/{model.segmentor}_{dataset}.pth",),
    )  # fmt: skip
    return [_single(multi, train), multi]


# -- small models ------------------------------------------------------------------------------------------------------

NOISED: tuple[Arm, ...] = ("truth", "multi")  # of many steps
SMALL = {"mini": "cityscapes_mini_baseline", "camvid": "camvid_small_baseline"}  # whose data and network stage 0 has
TIMESTEPS = 20
# Of the prior; iterations of the three stages.  A prediction may not be "unlabelled", as the segmentor's cannot: the
# released code allows it, counts it as one more class with an IoU of 0, and so scores the prior a twelfth lower.
_SHAPES = {
    "mini": (DDPSConfig(dim=32, out_channels=32, embedding_channels=8, class_zero="dropped"), 120, 80, 80),
    "camvid": (DDPSConfig(dim=32, out_channels=32, class_zero="dropped"), 600, 400, 400),
}


def segmentor(preset: str) -> Recipe:
    """Return stage 0 of a small preset: the encoder and head of DDP's baseline, scored at boundaries too."""
    base = named_recipe(SMALL[preset], preset)
    return dataclasses.replace(
        base, name=segmentor_of(preset), table="ddps_runs", row="frozen segmentor",
        train=dataclasses.replace(base.train, iterations=_SHAPES[preset][1]),
        evaluation=dataclasses.replace(base.evaluation, boundary=True),
    )  # fmt: skip


def arm(preset: str, which: Arm) -> Recipe:
    """Return one arm of the findings on a small preset's segmentor: data, batch and rate are those of stage 0."""
    base = segmentor(preset)
    prior, _, first, second = _SHAPES[preset]
    model = dataclasses.replace(
        prior, segmentor=FROM_RECIPE + base.name, num_classes=cast(Any, base.model).num_classes, timesteps=TIMESTEPS
    )
    train = dataclasses.replace(
        base.train, iterations=second, warmup_iterations=second // 10, betas=(0.9, 0.96), weight_decay=0.045,
        ema_momentum=0.05, frozen=("segmentor",), backbone_weights=None,
        weights=_from_stage_1(name_of(preset, "single")),
    )  # fmt: skip
    multi = dataclasses.replace(
        base, name=name_of(preset, "multi"), row=LABELS["multi"], model=model, train=train,
        evaluation=dataclasses.replace(base.evaluation, steps=(FEW, 3, MANY), seeds=(0,)),
    )  # fmt: skip
    if which == "multi":
        return multi
    if which == "truth":
        model = dataclasses.replace(model, noised="ground_truth")
        return dataclasses.replace(multi, name=name_of(preset, which), row=LABELS[which], model=model)
    if which == "longer":
        longer = dataclasses.replace(train, weights=(f"segmentor={_stage_1(preset)}", f"prior={_stage_1(preset)}"))
        return dataclasses.replace(_single(multi, longer), name=name_of(preset, which), row=LABELS[which])
    sources = (f"segmentor.model={FROM_RECIPE}{base.name}",)
    return dataclasses.replace(
        _single(multi, dataclasses.replace(train, iterations=first, weights=sources)), row=LABELS["single"]
    )


def strictly(preset: str, which: Arm, sampler: Strict) -> Recipe:
    """Return an arm's weights sampled strictly, by the exact posterior or the released one, in many steps."""
    lender = arm(preset, which)
    return dataclasses.replace(
        lender, name=sampled_by(preset, which, sampler), row=f"{lender.row}, {STRICT[sampler]}", weights_of=lender.name,
        model=dataclasses.replace(lender.model, sampler=sampler),
        evaluation=dataclasses.replace(lender.evaluation, steps=(MANY,)),
    )  # fmt: skip


def unrefined(preset: str) -> Recipe:
    """Return the segmentor inside stage 1, without the prior: what a prior is to be held against.

    It gets the prior's padded images.  Scored by itself (:func:`segmentor`) it pads as its encoder does, which at sides
    that are no multiples of its stride is another network: worse by a point on CamVid at 160x120.
    """
    lender = arm(preset, "single")
    return dataclasses.replace(
        lender, name=unrefined_of(preset), row="frozen segmentor, without a prior", weights_of=lender.name,
        model=dataclasses.replace(lender.model, sampler="none"),
    )  # fmt: skip


def _single(multi: Recipe, train: TrainConfig) -> Recipe:
    """Return the recipe of stage 1 of a recipe of stage 2."""
    model = dataclasses.replace(multi.model, stage="single", steps=None)
    evaluation = dataclasses.replace(multi.evaluation, steps=(1,))
    name, row = f"{multi.name}_single", f"{multi.row} single"
    return dataclasses.replace(multi, name=name, row=row, model=model, train=train, evaluation=evaluation)


def _stage_1(preset: str) -> str:
    return FROM_RECIPE + name_of(preset, "single")


def _from_stage_1(single: str) -> tuple[str, ...]:
    parts = ("segmentor", *(f"prior.{part}" for part in PRIOR))
    return tuple(f"{part}={FROM_RECIPE}{single}" for part in parts)
