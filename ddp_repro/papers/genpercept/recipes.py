"""GenPercept's recipes by preset: the released models, and the same pipelines made small for synthetic rooms."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import cast

from ddp_repro.papers.genpercept import pretraining
from ddp_repro.papers.genpercept.settings import ModelConfig
from ddp_repro.settings.presets import check_preset
from ddp_repro.settings.recipe import DataConfig, EvalConfig, MixedData, Recipe, TrainConfig

# The small VAE of each task: trained for minutes, it carries only the pictures and labels that it has seen.
VAES = {
    "affine_depth": "genpercept_vae_mini",
    "normals": "genpercept_vae_normals_mini",
    "dichotomous": "genpercept_vae_foreground_mini",
    "matting": "genpercept_vae_matte_mini",
    "segmentation": "genpercept_vae_colours_mini",
}
LORA_RANKS = (4, 16)  # of Table 4, as far as the small U-Net is wide
# Rows that a table shows of what stands in another: the baseline, and trainings on more and fewer pictures.
SHARED = {
    5: ("genpercept_depth_latent_mini",),
    12: (
        "genpercept_depth_latent_mini",
        *(pretraining.name_of("depth", start, labels) for start in pretraining.STARTS for labels in pretraining.LABELS),
    ),
    14: ("genpercept_foreground_mini",),
}
PIPELINES = {
    "one_step": {},
    "deterministic": {"beta_start": 0.00085, "beta_end": 0.012, "steps": 10},
    "stochastic": {
        "noise": "gaussian", "input": "concatenated", "beta_start": 0.00085, "beta_end": 0.012, "steps": 10,
    },
}  # fmt: skip


def recipes(preset: str) -> dict[str, Recipe]:
    """Return the recipes of one preset by name.

    Raises:
        ConfigError: there is no such preset.
    """
    check_preset(preset)
    return {recipe.name: recipe for recipe in _recipes(preset)}


@cache
def _recipes(preset: str) -> tuple[Recipe, ...]:
    return tuple({"paper": _paper, "mini": _mini, "small": pretraining.recipes}.get(preset, list)())


def rows_of(number: int, preset: str) -> list[Recipe]:
    """Return the recipes that a table of the paper shows under a preset: its rows, and those that it shares.

    Raises:
        ConfigError: there is no such preset.
    """
    shown = SHARED.get(number, ())
    return [r for r in recipes(preset).values() if r.table == f"genpercept_table{number}" or r.name in shown]


def main_model(preset: str) -> str | None:
    """Return the recipe that figures of one model show; None where there is none."""
    return {"paper": "genpercept_depth", "mini": "genpercept_depth_mini"}.get(preset)


# --- the paper's sizes ------------------------------------------------------------------------------------------------


def _paper() -> list[Recipe]:
    """Return what the authors released, on the test sets of each table.

    Models of depth learn from Hypersim and Virtual KITTI 2 and are evaluated on five other sets; they are validated on
    Hypersim, which no printed number is of.
    """
    foreground = _recipe("genpercept_foreground", 8, ModelConfig(task="dichotomous", loss="image"), _masks())
    tasks = [
        _recipe("genpercept_normals", 7, ModelConfig(task="normals", loss="angular"), _normals()),
        foreground,
        *_parts_of_dis(foreground),
        _recipe("genpercept_matte", 10, ModelConfig(task="matting", loss="image"), _mattes()),
    ]
    return [recipe for name, model in depth_models().items() for recipe in _depth(name, model)] + tasks


def depth_models() -> dict[str, ModelConfig]:
    """Return the settings of the three released models of depth and disparity by recipe."""
    disparity = ModelConfig(space="disparity", loss="customised")
    return {
        "genpercept_depth": ModelConfig(loss="customised"),
        "genpercept_disparity": disparity,
        "genpercept_disparity_dpt": dataclasses.replace(disparity, decoder="dpt"),
    }


def _depth(name: str, model: ModelConfig) -> list[Recipe]:
    """Return a model's training, and its evaluation on every set of Table 6 at the size that the authors take."""
    training = dataclasses.replace(_recipe(name, 6, model, _rendered()), table="genpercept_training")
    # Hypersim has no benchmark: the widest range, without a window.
    training = dataclasses.replace(training, evaluation=dataclasses.replace(training.evaluation, protocol="eth3d"))
    rows = [
        dataclasses.replace(
            _recipe(f"{name}_{dataset}", 6, model, data), weights_of=name,
            evaluation=dataclasses.replace(training.evaluation, protocol=dataset),
        )
        for dataset, data in depth_sets().items()
    ]  # fmt: skip
    return [training, *rows]


def _parts_of_dis(foreground: Recipe) -> list[Recipe]:
    """Return the evaluations of Table 14: every part of DIS5K at the size of training and, but for one, at 1024."""
    parts = ("DIS-VD", "DIS-TE1", "DIS-TE2", "DIS-TE3", "DIS-TE4")
    return [
        dataclasses.replace(
            foreground, name=f"{foreground.name}_{part[4:].lower()}_{side}", table="genpercept_table14",
            data=dataclasses.replace(foreground.data, eval_split=part, image_scale=(side, side)),
            weights_of=foreground.name,
        )
        for side in (768, 1024) for part in parts if (side, part) != (1024, foreground.data.eval_split)
    ]  # fmt: skip


def depth_sets() -> dict[str, DataConfig]:
    """Return the test sets of Table 6 by protocol: native size, but for DIODE (640 pixels) and ETH3D (756)."""
    kitti = dataclasses.replace(_nyu(), dataset="kitti", root="data/kitti", image_scale=(1216, 352))
    return {
        "nyu": _nyu(),
        "kitti": kitti,
        "scannet": dataclasses.replace(_nyu(), dataset="scannet", root="data/scannet"),
        "diode": dataclasses.replace(_nyu(), dataset="diode", root="data/diode", eval_split="val"),
        "eth3d": dataclasses.replace(
            _nyu(), dataset="eth3d", root="data/eth3d", eval_split="training", image_scale=(756, 504)
        ),
    }


def _recipe(name: str, table: int, model: ModelConfig, data: DataConfig) -> Recipe:
    protocol = "nyu" if model.task == "affine_depth" else None
    return Recipe(
        name=name, table=f"genpercept_table{table}", row="GenPercept", model=model, data=data, train=_OFFICIAL,
        evaluation=EvalConfig(steps=(1,), seeds=(0,), protocol=protocol),
    )  # fmt: skip


_OFFICIAL = TrainConfig(
    iterations=30_000, batch_size=32, device_batch_size=1, optimizer="adam", learning_rate=3e-5, weight_decay=0.0,
    warmup_iterations=100, warmup_ratio=0.0, curve="exponential", min_rate_ratio=0.01, decay_iterations=25_000,
    backbone_weights=None, seed=2024, gradient_checkpointing=True, checkpoint_every=1000,
    validate_every=0,
)  # fmt: skip


def _rendered() -> MixedData:
    """Return Hypersim at 480 x 640, and in a tenth of the batches Virtual KITTI 2 as KITTI's benchmark crops it."""
    return MixedData(
        dataset="hypersim", root="data/hypersim", train_split="train", eval_split="val", image_scale=(640, 480),
        crop_size=(480, 640), added_dataset="vkitti", added_root="data/vkitti", added_split="train", added_rate=0.1,
        added_image_scale=None, added_crop_size=(352, 1216),
    )  # fmt: skip


def _nyu() -> DataConfig:
    return DataConfig(
        dataset="nyu", root="data/nyu", train_split="train", eval_split="test", image_scale=(640, 480),
        crop_size=(480, 640),
    )  # fmt: skip


def _normals() -> DataConfig:
    return DataConfig(
        dataset="nyu_normals", root="data/nyu_normals", train_split="train", eval_split="test", image_scale=(768, 768),
        crop_size=(768, 768),
    )  # fmt: skip


def _masks() -> DataConfig:
    return DataConfig(
        dataset="dis5k", root="data/dis5k", train_split="DIS-TR", eval_split="DIS-VD", image_scale=(1024, 1024),
        crop_size=(768, 768),
    )  # fmt: skip


def _mattes() -> DataConfig:
    return DataConfig(
        dataset="p3m10k", root="data/p3m10k", train_split="train", eval_split="P3M-500-NP", image_scale=(1024, 1024),
        crop_size=(768, 768),
    )  # fmt: skip


# --- small ------------------------------------------------------------------------------------------------------------


def _mini() -> list[Recipe]:
    """Return small pipelines on synthetic rooms; no diffusion model was trained before, so they start from scratch.

    A VAE is trained first for every task, on its pictures and labels, and frozen in the others.
    """
    depth = _small("genpercept_depth_mini", 6, small_model(loss="customised"))
    normals = _small("genpercept_normals_mini", 7, small_model(task="normals", loss="angular"), _resized(_normals()))
    foreground = _small(
        "genpercept_foreground_mini", 8, small_model(task="dichotomous", loss="image"), _resized(_masks())
    )
    matte = _small("genpercept_matte_mini", 10, small_model(task="matting", loss="image"), _resized(_mattes()))
    colours = _small("genpercept_colours_mini", 9, _colours(), _streets())
    return [
        *map(_vae, (depth, normals, foreground, matte, colours)),
        depth,
        _small("genpercept_depth_latent_mini", 2, small_model()),
        _small("genpercept_decoder_mini", 2, small_model(loss="customised", decoder_from_scratch=True)),
        *(_small(f"genpercept_{name}_mini", 1, small_model(**PIPELINES[name])) for name in list(PIPELINES)[1:]),
        _small("genpercept_timestep_mini", 3, small_model(timestep=1)),
        _small("genpercept_frozen_mini", 4, small_model(decoder="dpt", loss="image", unet="frozen")),
        *(_lora(depth, rank) for rank in LORA_RANKS),
        _small("genpercept_dpt_mini", 2, small_model(decoder="dpt", loss="image", space="disparity")),
        normals,
        foreground,
        matte,
        colours,
        _small("genpercept_upernet_mini", 9, _upernet(), _streets()),
    ]  # fmt: skip


def small_model(**fields: object) -> ModelConfig:
    """Return the settings of a small one-step pipeline for affine-invariant depth, but for ``fields``."""
    sizes: dict[str, object] = {
        "unet_channels": (16, 32, 32, 32), "unet_heads": (2, 2, 2, 2), "unet_layers": 1, "vae_channels": (8, 16, 32),
        "vae_layers": 1, "text_width": 16, "norm_groups": 8, "head_channels": 16, "scaling_factor": 1.0,
    }  # fmt: skip
    return ModelConfig(**(sizes | fields))  # type: ignore[arg-type]


def _colours() -> ModelConfig:
    return small_model(task="segmentation", loss="image", num_classes=19)


def _upernet() -> ModelConfig:
    return small_model(task="segmentation", decoder="upernet", loss="cross_entropy", num_classes=19)


def _small(name: str, table: int, model: ModelConfig, data: DataConfig | None = None) -> Recipe:
    depth = model.task == "affine_depth"
    train = TrainConfig(
        iterations=120, batch_size=4, device_batch_size=4, learning_rate=1e-3, weight_decay=0.0, warmup_iterations=20,
        warmup_ratio=0.0, curve="cosine", clip_norm=1.0, backbone_weights=None, workers=0, log_every=10,
        checkpoint_every=100, validate_every=0, weights=(f"vae=recipe:{VAES[model.task]}",),
    )  # fmt: skip
    seeds = (0, 1) if model.noise == "gaussian" else (0,)
    steps = (1, model.steps) if model.steps > 1 else (1,)
    return Recipe(
        name=name, preset="mini", table=f"genpercept_table{table}", row=name, model=model, data=data or _rooms(),
        train=train,
        evaluation=EvalConfig(steps=steps, seeds=seeds, batch_size=4, protocol="nyu" if depth else None),
    )  # fmt: skip


def _vae(of: Recipe) -> Recipe:
    """Return the recipe of the small VAE of a recipe's task, which no score is taken of."""
    model = dataclasses.replace(cast(ModelConfig, of.model), loss="reconstruction")
    train = dataclasses.replace(of.train, iterations=300, learning_rate=2e-3, weights=None)
    name = VAES[model.task]
    return dataclasses.replace(of, name=name, row=name, table="genpercept_vae", model=model, train=train)


def _lora(depth: Recipe, rank: int) -> Recipe:
    """Return a cell of Table 4: updates of low rank; at full size of Stable Diffusion's U-Net, here of a random one."""
    model = dataclasses.replace(cast(ModelConfig, depth.model), unet="lora", lora_rank=rank)
    return _small(f"genpercept_lora{rank}_mini", 4, model)


def _rooms() -> DataConfig:
    """Return the synthetic rooms of NYU's layout, at 72 x 96 pixels."""
    return dataclasses.replace(_nyu(), root="data/mini/nyu", image_scale=(96, 72), crop_size=(64, 80))


def _resized(data: DataConfig) -> DataConfig:
    return dataclasses.replace(data, root=f"data/mini/{data.dataset}", image_scale=(96, 72), crop_size=(72, 96))


def _streets() -> DataConfig:
    return DataConfig(
        dataset="cityscapes", root="data/mini/cityscapes", train_split="train", eval_split="val", image_scale=(128, 64),
        crop_size=(64, 96),
    )  # fmt: skip
