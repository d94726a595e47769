"""A training run small enough for a test: eight 48×64 pictures in CamVid's layout, a network of a few layers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings.overrides import override
from ddp_repro.settings.recipe import DataConfig, EvalConfig, Recipe, TrainConfig

CLASSES = 3


def write_images(root: Path, count: int = 8) -> Path:
    """Rectangles of three colours on noise, with their label maps, as a folder dataset with splits train and test."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for index in range(count):
            label = np.zeros((48, 64), np.uint8)
            for value in (1, 2):
                y, x = rng.integers(0, 30), rng.integers(0, 40)
                label[y : y + 18, x : x + 24] = value
            image = label[..., None] * np.array([90, -60, 40]) + rng.integers(60, 150, (48, 64, 3))
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / "images" / split / f"{split}{index}.png")
            Image.fromarray(label).save(root / "masks" / split / f"{split}{index}.png")
    (root / "classes.json").write_text(json.dumps({"names": ["ground", "red", "blue"]}))
    return root


def tiny_recipe(root: Path, **changes: object) -> Recipe:
    """DDP with drop path and batch norm in the encoder; ``changes`` are dotted overrides with ``__`` for the dot."""
    model = ModelConfig(
        backbone="test_efficientnet", drop_path_rate=0.3, num_classes=CLASSES, channels=32, layers=1, heads=2,
        feedforward_channels=32,
    )  # fmt: skip
    data = DataConfig(
        dataset="folder", root=str(root), train_split="train", eval_split="test", image_scale=(64, 48),
        crop_size=(32, 32),
    )  # fmt: skip
    train = TrainConfig(
        iterations=12, batch_size=4, device_batch_size=2, learning_rate=1e-3, warmup_iterations=3, clip_norm=1.0,
        backbone_weights=None, workers=0, log_every=2, checkpoint_every=3, validate_every=0,
    )  # fmt: skip
    evaluation = EvalConfig(steps=(1,), seeds=(0,), batch_size=4)
    recipe = Recipe(name="tiny", preset="mini", model=model, data=data, train=train, evaluation=evaluation)
    return override(recipe, {name.replace("__", "."): value for name, value in changes.items()})
