"""A small dataset folder of the user's own kind, to be damaged by the tests."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def write_folder_dataset(root: Path, names: list[str], split: str = "train", size: tuple[int, int] = (20, 30)) -> Path:
    """Write images and masks of three classes."""
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (root / part / split).mkdir(parents=True, exist_ok=True)
    (root / "classes.json").write_text(json.dumps({"names": ["road", "car", "sky"]}))
    for name in names:
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(root / "images" / split / f"{name}.jpg")
        Image.fromarray(rng.integers(0, 3, size).astype(np.uint8)).save(root / "masks" / split / f"{name}.png")
    return root


@pytest.fixture
def folder_dataset(tmp_path: Path) -> Path:
    return write_folder_dataset(tmp_path / "own", ["a", "b", "c"])
