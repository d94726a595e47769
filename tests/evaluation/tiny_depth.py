"""A tiny depth model, and a folder of pictures of several sizes whose depth has holes."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings.recipe import DataConfig
from ddp_repro.tasks.build import build_dataset
from ddp_repro.tasks.depth.dataset import DepthDataset
from tests.data.depth_files import write_depth

SIZES = [(32, 48), (32, 48), (33, 47), (48, 32)]
TINY = ModelConfig(
    task="depth", backbone="resnet10t", drop_path_rate=0.0, channels=32, layers=1, heads=2, feedforward_channels=32,
    scale=0.1, schedule="gamma", max_depth=10.0,
)  # fmt: skip


def write_pictures(root: Path, split: str = "val") -> Path:
    """Sloping floors of 1 to 6 metres, brighter where nearer, one pixel in five not measured."""
    rng = np.random.default_rng(0)
    (root / "images" / split).mkdir(parents=True)
    (root / "depth.json").write_text('{"depth_scale": 1000}')
    for index, (height, width) in enumerate(SIZES):
        depth = np.linspace(6, 1 + index / 4, height)[:, None] + rng.uniform(0, 0.2, (height, width))
        grey = 255 - 35 * depth + rng.uniform(0, 10, (height, width))
        picture = np.stack([grey] * 3, -1).clip(0, 255).astype(np.uint8)
        Image.fromarray(picture).save(root / "images" / split / f"bild ü{index}.png")
        stored = np.where(rng.random((height, width)) < 0.2, 0, 1000 * depth).round().astype(np.uint16)
        write_depth(root / "depth" / split / f"bild ü{index}.png", stored)
    return root


def tiny_depth_model(**settings):
    """Untrained, but with depths of some metres, and noise that matters."""
    torch.manual_seed(0)
    model = build_model(ModelConfig(**{**vars(TINY), **settings}))
    with torch.no_grad():
        if model.config.diffusion:
            model.fusion.weight[:, -1] *= 20
        model.decoder.depth_convolution.weight *= 3
        model.decoder.depth_convolution.bias += 3
    return model


def tiny_depth_dataset(root: Path, split: str = "val", **settings) -> DepthDataset:
    data = DataConfig(**{"dataset": "depth_folder", "root": str(root), "image_scale": None, **settings})
    return build_dataset(data, split, train=False, mean=(120.0,) * 3, std=(60.0,) * 3)
