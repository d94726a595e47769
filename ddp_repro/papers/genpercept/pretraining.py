"""Diffusion pretraining at small scale: a VAE, a latent diffusion model of pictures, and fine-tunings with and without.

The paper's central claim is that the prior is in the U-Net.  Here both arms share the VAE, the labelled pictures, the
iterations and the seed; one starts from a U-Net that was trained to denoise pictures, the other from random weights.
No text is involved: the embedding that the U-Net attends to is 0 throughout.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from ddp_repro.papers.genpercept.settings import ModelConfig
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import DataConfig, EvalConfig, GatheredData, Recipe, TrainConfig
from ddp_repro.settings.training_seeds import seeded

Task = Literal["depth", "normals"]
Start = Literal["pretrained", "scratch"]

VAE, DIFFUSION = "genpercept_vae_small", "genpercept_diffusion_small"
TABLE = "genpercept_pretraining"
TASKS: tuple[Task, ...] = ("depth", "normals")
STARTS: tuple[Start, ...] = ("pretrained", "scratch")
LABELS = (64, 256, 1000)  # labelled pictures of Table 12 in small
ITERATIONS = {64: 160, 256: 160, 1000: 400}  # of a fine-tuning by labelled pictures: fewer are learnt by heart sooner
CHECKS = 4  # how often its learning curve is looked at
VARIED = 256  # of them in the rows of Table 2
VARIANTS: dict[str, dict[str, Any]] = {
    "image": {"loss": "image"},
    "customised": {"loss": "customised"},
    "decoder": {"loss": "image", "decoder_from_scratch": True},
}  # of depth, beside the latent loss

SIZE = (72, 96)
TEST_PICTURES = 100
# Rendered sets by folder.  Those of the pretraining are of another seed than those of the fine-tuning.
SYNTHETIC: Mapping[str, Mapping[str, Any]] = {
    "data/small/rooms": {"dataset": "nyu", "train": 1500, "val": 1, "size": SIZE, "seed": 1},
    "data/small/rooms_normals": {"dataset": "nyu_normals", "train": 500, "val": 1, "size": SIZE, "seed": 1},
    "data/small/streets": {"dataset": "kitti", "train": 400, "val": 1, "size": SIZE, "seed": 1},
    **{f"data/small/nyu_{n}": {"dataset": "nyu", "train": n, "val": TEST_PICTURES, "size": SIZE} for n in LABELS},
    **{f"data/small/normals_{n}": {"dataset": "nyu_normals", "train": n, "val": TEST_PICTURES, "size": SIZE}
       for n in LABELS},
}  # fmt: skip
# About 1 / standard deviation of the VAE's latents of pictures, as Stable Diffusion's 0.18215 is of its own.
SCALING = 0.406


def recipes() -> list[Recipe]:
    """Return the recipes of the preset ``small``: the two stages, then the fine-tunings."""
    return [_vae(), _diffusion(), *_fine_tunings()]


def fine_tunings(
    labels: Sequence[int] = LABELS, variants: Sequence[str] = tuple(VARIANTS), seeds: Sequence[int] = (0,)
) -> list[Recipe]:
    """Return the fine-tunings to be run, pair by pair: the amounts of data seed by seed, then the variants.

    Args:
        labels: numbers of labelled pictures, of :data:`LABELS`.
        variants: of :data:`VARIANTS`.
        seeds: of training.

    Raises:
        ConfigError: no such number or variant.
    """
    known = {recipe.name: recipe for recipe in _fine_tunings()}
    names = [name_of(task, start, n) for n in labels for task in TASKS for start in STARTS]
    names += [name_of("depth", start, VARIED, variant) for variant in variants for start in STARTS]
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"no fine-tuning {unknown[0]}; labels are of {LABELS}, variants of {', '.join(VARIANTS)}")
    return [seeded_fine_tuning(known[name], seed) for seed in seeds for name in names]


def seeded_fine_tuning(recipe: Recipe, seed: int) -> Recipe:
    """Return a fine-tuning from another seed; all seeds share one VAE and one pretraining."""
    other = seeded(recipe, seed)
    return dataclasses.replace(other, train=dataclasses.replace(other.train, weights=recipe.train.weights))


def name_of(task: Task, start: Start, labels: int, variant: str | None = None) -> str:
    """Return the name of a fine-tuning."""
    return f"genpercept_{task}_small_{start}_n{labels}" + ("" if variant is None else f"_{variant}")


def _model(**fields: Any) -> ModelConfig:
    sizes: dict[str, Any] = {
        "unet_channels": (32, 64, 96, 96), "unet_heads": (2, 4, 4, 4), "unet_layers": 1, "vae_channels": (16, 32, 64),
        "vae_layers": 1, "text_width": 32, "norm_groups": 16, "head_channels": 16, "scaling_factor": SCALING,
    }  # fmt: skip
    return ModelConfig(**(sizes | fields))


def _train(**fields: Any) -> TrainConfig:
    usual: dict[str, Any] = {
        "batch_size": 8, "device_batch_size": 8, "learning_rate": 1e-3, "weight_decay": 0.0, "warmup_iterations": 20,
        "warmup_ratio": 0.0, "curve": "cosine", "clip_norm": 1.0, "backbone_weights": None, "workers": 0,
        "log_every": 10, "checkpoint_every": 100, "validate_every": 0,
    }  # fmt: skip
    return TrainConfig(**(usual | fields))


def _vae() -> Recipe:
    """Return the VAE's training: pictures, depth and normals of rooms, and pictures and depth of the real world."""
    return Recipe(
        name=VAE, preset="small", table="genpercept_vae", row=VAE,
        model=_model(loss="reconstruction", scaling_factor=1.0),
        data=_gathered({"nyu_normals": ("data/small/rooms_normals", "train", 0.35),
                        "sevenscenes": ("data/sevenscenes", "train", 0.1),
                        "camvid": ("data/camvid", "train", 0.15)}),
        train=_train(iterations=2000, batch_size=4, device_batch_size=4, learning_rate=2e-3),
        evaluation=_evaluation("depth"),
    )  # fmt: skip


def _diffusion() -> Recipe:
    """Return the pretraining: a latent diffusion model of pictures alone, with Stable Diffusion's noise levels."""
    model = _model(loss="denoising", noise="gaussian", input="blended", beta_start=0.00085, beta_end=0.012)
    return Recipe(
        name=DIFFUSION, preset="small", table="genpercept_diffusion", row=DIFFUSION, model=model,
        data=_gathered({"nyu_normals": ("data/small/rooms_normals", "train", 0.15),
                        "kitti": ("data/small/streets", "train", 0.1),
                        "sevenscenes": ("data/sevenscenes", "train", 0.1),
                        "camvid": ("data/camvid", "train", 0.1)}),
        train=_train(iterations=4000, weights=(f"vae=recipe:{VAE}",)), evaluation=_evaluation("depth"),
    )  # fmt: skip


def _fine_tunings() -> Iterator[Recipe]:
    for task in TASKS:
        for start in STARTS:
            for labels in LABELS:
                yield _fine_tuning(task, start, labels)
    for start in STARTS:
        for variant in VARIANTS:
            yield _fine_tuning("depth", start, VARIED, variant)


def _fine_tuning(task: Task, start: Start, labels: int, variant: str | None = None) -> Recipe:
    """Return a fine-tuning of the one-step pipeline; but for the U-Net's first weights, both starts are one recipe."""
    fields = VARIANTS[variant] if variant else {}
    model = _model(task="affine_depth" if task == "depth" else "normals", **fields)
    vae = ("vae.encoder", "vae.quant_conv") if model.decoder_from_scratch else ("vae",)
    sources = [
        *(f"{part}=recipe:{VAE}" for part in vae),
        *([f"unet=recipe:{DIFFUSION}"] if start == "pretrained" else []),
    ]
    name, train = name_of(task, start, labels, variant), _train(iterations=ITERATIONS[labels], weights=tuple(sources))
    return Recipe(
        name=name, preset="small", table=TABLE, row=name, model=model, data=_labelled(task, labels),
        train=dataclasses.replace(train, validate_every=train.iterations // CHECKS), evaluation=_evaluation(task),
    )  # fmt: skip


def _evaluation(task: Task) -> EvalConfig:
    return EvalConfig(steps=(1,), seeds=(0,), batch_size=4, protocol="nyu" if task == "depth" else None)


def _labelled(task: Task, labels: int) -> DataConfig:
    if task == "normals":
        return dataclasses.replace(_rooms(f"data/small/normals_{labels}"), dataset="nyu_normals", crop_size=SIZE)
    return _rooms(f"data/small/nyu_{labels}")


def _rooms(root: str) -> DataConfig:
    return DataConfig(
        dataset="nyu",
        root=root,
        train_split="train",
        eval_split="test",
        image_scale=(SIZE[1], SIZE[0]),
        crop_size=(64, 80),
    )


def _gathered(others: dict[str, tuple[str, str, float]]) -> GatheredData:
    """Return rendered rooms with other sets beside them: folder, split and share by dataset."""
    rooms = vars(_rooms("data/small/rooms"))
    roots, splits, rates = zip(*others.values(), strict=True)
    return GatheredData(**rooms, datasets=tuple(others), roots=roots, splits=splits, rates=rates)
