"""DDP's depth estimation."""

from pathlib import Path

import pytest
import torch
from torch import nn

from ddp_repro.settings.recipe import Recipe
from tests.data.depth_files import write_depth_folder
from tests.evaluation.tiny_depth import tiny_depth_model
from tests.methods.base import Batch, RecipeSuite
from tests.training.test_depth_training import tiny_depth_recipe

pytestmark = pytest.mark.numerics


class TestDepth(RecipeSuite):
    def model(self) -> nn.Module:
        return tiny_depth_model().eval()

    def batch(self, count: int, size: tuple[int, int]) -> Batch:
        generator = torch.Generator().manual_seed(1)
        images, depth = torch.randn(4, 3, *size, generator=generator), torch.rand(4, *size, generator=generator)
        return {"image": images[:count], "depth": (1 + 5 * depth)[:count]}

    def recipe(self, folder: Path) -> Recipe:
        for split in ("train", "val"):
            write_depth_folder(folder / "depth", split, size=(36, 48))
        return tiny_depth_recipe(
            folder / "depth", train__iterations=6, train__checkpoint_every=2, train__validate_every=0,
            train__learning_rate=1e-4,
        )  # fmt: skip
