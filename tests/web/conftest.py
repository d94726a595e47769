"""Small untrained models as trainings leave them, and a picture."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from ddp_repro.interop.weight_files import save_weights
from ddp_repro.settings.overrides import to_dict
from ddp_repro.workbook.catalogue import recipe

SEEN = ("ade20k_mini", "ade20k_mini_baseline", "kitti_mini", "genpercept_normals_mini", "genpercept_matte_mini")
SIZE = (48, 64)  # of the picture


def write_weights(results, name: str):
    """Initial weights of a small model of a recipe's family, with the recipe inside; returns the file."""
    torch.manual_seed(0)
    chosen = recipe(name)
    chosen = dataclasses.replace(chosen, model=chosen.model.small())
    path = results / chosen.preset / "runs" / name / "model.safetensors"
    path.parent.mkdir(parents=True)
    save_weights(chosen.model.build(), path, {"recipe": json.dumps(to_dict(chosen)), "iteration": "0"})
    return path


@pytest.fixture(scope="session")
def clone(tmp_path_factory):
    """A folder with weights of a model for every way to predict, and a picture."""
    folder = tmp_path_factory.mktemp("clone")
    for name in SEEN:
        write_weights(folder / "results", name)
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    (folder / "broken.png").write_bytes((folder / "photo.png").read_bytes()[:500])
    (folder / "letter.jpg").write_text("This is no picture.")
    return folder
