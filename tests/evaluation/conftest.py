"""A tiny folder dataset of mixed sizes under a path with spaces and non-ASCII letters, and tiny models."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings.recipe import DataConfig
from ddp_repro.tasks.build import build_dataset

TINY = {"backbone": "resnet10t", "channels": 16, "layers": 1, "heads": 2, "feedforward_channels": 32, "num_classes": 3}
SIZES = [(40, 56), (40, 56), (33, 47), (40, 56), (33, 47), (56, 40)]


def write_dataset(root):
    rng = np.random.default_rng(0)
    for folder in ("images/val", "masks/val"):
        (root / folder).mkdir(parents=True)
    (root / "classes.json").write_text(json.dumps({"names": ["wall", "floor", "sky"]}))
    for index, (height, width) in enumerate(SIZES):
        label = np.repeat(np.repeat(rng.integers(0, 3, (height // 8 + 1, width // 8 + 1)), 8, 0), 8, 1)[:height, :width]
        picture = np.stack([label * 90 + rng.integers(0, 60, label.shape) for _ in range(3)], -1)
        label = np.where(rng.random(label.shape) < 0.05, 255, label)
        Image.fromarray(picture.astype(np.uint8)).save(root / f"images/val/bild ü{index}.png")
        Image.fromarray(label.astype(np.uint8)).save(root / f"masks/val/bild ü{index}.png")
    return root


@pytest.fixture(scope="session")
def data_root(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("daten ß 数据"))


def tiny_model(**settings):
    torch.manual_seed(0)
    model = build_model(ModelConfig(**{**TINY, **settings}))
    with torch.no_grad():
        if model.config.diffusion:  # let the noise matter, so that steps and seeds differ
            model.fusion.weight[:, model.config.channels :] *= 3
        model.decoder.classifier.weight *= 20
    return model


def tiny_dataset(root, **settings):
    data = DataConfig(dataset="folder", root=str(root), eval_split="val", image_scale=(64, 48), **settings)
    return build_dataset(data, "val", train=False, mean=(120.0, 120.0, 120.0), std=(60.0, 60.0, 60.0))


@pytest.fixture
def dataset(data_root):
    return tiny_dataset(data_root)


@pytest.fixture(scope="session")
def model():
    return tiny_model()
