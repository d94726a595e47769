"""DDP's segmentation, and its baseline without diffusion."""

from pathlib import Path

import pytest
import torch
from torch import nn

from ddp_repro.settings.recipe import Recipe
from tests.methods.base import Batch, RecipeSuite
from tests.training.tiny import CLASSES, tiny_recipe, write_images

pytestmark = pytest.mark.numerics


class TestDDP(RecipeSuite):
    diffusion = True

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        model = tiny_recipe("images", model__drop_path_rate=0.0, model__diffusion=self.diffusion).model.build()
        if self.diffusion:  # fresh, it hardly looks at the noisy map
            with torch.no_grad():
                model.fusion.weight[:, model.feature_channels :] *= 20
        return model.eval()

    def batch(self, count: int, size: tuple[int, int]) -> Batch:
        generator = torch.Generator().manual_seed(1)
        images = torch.randn(4, 3, *size, generator=generator)
        return {"image": images[:count], "label": torch.randint(CLASSES, (4, *size), generator=generator)[:count]}

    def recipe(self, folder: Path) -> Recipe:
        return tiny_recipe(
            write_images(folder / "images"), model__diffusion=self.diffusion, train__iterations=6,
            train__checkpoint_every=2, train__learning_rate=1e-4, data__crop_size="96,96",
        )  # fmt: skip


class TestBaseline(TestDDP):
    diffusion = False
