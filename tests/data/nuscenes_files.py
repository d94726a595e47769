"""A tiny synthetic nuScenes, and copies of it to be damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_prep.mini import write_mini
from ddp_repro.tasks.bev.dataset import NuScenesBEV
from ddp_repro.tasks.bev.settings import BEVDataConfig

VERSION = "v1.0-synthetic"
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def tiny_nuscenes(factory: pytest.TempPathFactory) -> Path:
    """One scene of two samples for training, one of a single sample for validation; written once a session."""
    root = factory.getbasetemp() / "tiny_nuscenes"
    write_mini("nuscenes", root, train=2, val=1, size=(90, 160), seed=1)
    return root


def open_tiny(root: Path, split: str = "train", *, train: bool = False, **changes: Any) -> NuScenesBEV:
    settings = {"root": str(root), "version": VERSION, "image_size": (32, 64)} | changes
    return NuScenesBEV(BEVDataConfig(**settings), split, train=train, mean=MEAN, std=STD)


def copy_of(root: Path, target: Path) -> Path:
    shutil.copytree(root, target)
    return target


def edit_json(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
