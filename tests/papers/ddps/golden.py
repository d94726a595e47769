"""The released numbers, made with random weights that are in the files."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parents[2] / "golden" / "siblings"
TOLERANCE = 1e-5


@cache
def read(name: str) -> dict[str, Tensor]:
    with np.load(FOLDER / f"ddps_{name}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def weights(name: str) -> dict[str, Tensor]:
    return {key.removeprefix("sd/"): value for key, value in read(name).items() if key.startswith("sd/")}


def manifests() -> dict[str, dict[str, list[int]]]:
    return json.loads((FOLDER / "ddps_head_manifests.json").read_text())


def assert_close(ours: Tensor, theirs: Tensor, tolerance: float = TOLERANCE) -> None:
    assert ours.shape == theirs.shape
    assert (ours.detach().double() - theirs.double()).abs().max() <= tolerance
