"""DDPS, in both stages; its trainings through a recipe are tried in tests/papers/ddps."""

from typing import ClassVar

import pytest
import torch
from torch import nn

from tests.methods.base import Batch, TrainingSuite
from tests.papers.ddps import tiny

pytestmark = pytest.mark.numerics


class TestMultiStep(TrainingSuite):
    stage: ClassVar[str] = "multi"

    def model(self) -> nn.Module:
        return tiny.model(stage=self.stage)

    def batch(self, count: int, size: tuple[int, int]) -> Batch:
        images = tiny.batch(size, images=4)["image"]
        label = torch.full((4, *size), 255)
        label[..., : size[1] // 2], label[:, 2:, size[1] // 2 :] = 1, 3
        return {"image": images[:count], "label": label[:count]}


class TestSingleStep(TestMultiStep):
    stage = "single"

    def predict(self, model, batch, seeds, steps=1):
        return super().predict(model, batch, seeds, steps)
