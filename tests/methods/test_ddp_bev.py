"""DDP's maps from above, from cameras and from cameras with LiDAR."""

from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from ddp_repro.papers.ddp.build import build_model
from ddp_repro.settings.recipe import EvalConfig, Recipe, TrainConfig
from ddp_repro.training import trainer
from tests.evaluation.tiny_bev import DATA, TinyBEV
from tests.methods.base import Batch, RecipeSuite
from tests.models.bev.test_model import CONFIGS

pytestmark = pytest.mark.numerics


def use_made_up_samples() -> None:
    trainer.build_dataset = lambda *_, **__: TinyBEV()


class TestCamera(RecipeSuite):
    sensors: ClassVar[str] = "camera"
    prepare = staticmethod(use_made_up_samples)

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        model = build_model(CONFIGS[self.sensors])
        with torch.no_grad():
            model.fusion.weight[:, model.feature_channels :] *= 20
        return model.eval()

    def batch(self, count: int, size: tuple[int, int]) -> Batch:
        data = TinyBEV(count)
        return data.collate([data[index] for index in range(count)])

    def test_any_size(self) -> None:
        pytest.skip("the pictures' size is a setting: the lift's rays are computed for it")

    def test_without_computing_it_has_the_same_shapes(self) -> None:
        """From the fused feature on: which cells the sensors fill has to be computed."""
        model, batch = self.model(), self.batch(1, self.sizes[0])
        expected = self.predict(model, batch, seeds=(1,)).shape
        features: Tensor = self.encode(model, batch)
        generator = [torch.Generator().manual_seed(1)]
        there = model.to("meta").sample(features=features.to("meta"), steps=2, generator=generator)
        assert there.shape == expected

    def recipe(self, folder: Path) -> Recipe:
        settings = TrainConfig(
            iterations=6, batch_size=2, device_batch_size=1, learning_rate=1e-4, warmup_iterations=0,
            curve="one_cycle", clip_norm=35.0, backbone_weights=None, workers=0, log_every=1, checkpoint_every=2,
            validate_every=0,
        )  # fmt: skip
        return Recipe(
            name="tiny", preset="mini", model=CONFIGS[self.sensors], data=DATA, train=settings,
            evaluation=EvalConfig(steps=(1,), seeds=(0,)),
        )  # fmt: skip


class TestFusion(TestCamera):
    sensors = "fusion"
