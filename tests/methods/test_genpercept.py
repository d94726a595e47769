"""GenPercept's pipelines pass the suite of all methods."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from ddp_repro.papers.genpercept.settings import ModelConfig
from ddp_repro.workbook.catalogue import recipe
from tests.methods.base import Batch, InferenceSuite

pytestmark = pytest.mark.numerics


class TestOneStep(InferenceSuite):
    name = "genpercept_depth_mini"
    steps: ClassVar[int] = 1

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        config = recipe(self.name).model
        assert isinstance(config, ModelConfig)
        model = dataclasses.replace(config, steps=self.steps).build().eval()
        with torch.no_grad():
            for parameter in model.parameters():  # stock networks begin with layers of zeros
                parameter.add_(0.02 * torch.randn(parameter.shape))
        return model

    def batch(self, count: int, size: tuple[int, int]) -> Batch:
        return {"image": torch.rand(4, 3, *size, generator=torch.Generator().manual_seed(3))[:count] * 2 - 1}

    def map_size(self, model: nn.Module, size: tuple[int, int]) -> tuple[int, int]:
        return size

    def predict(self, model: nn.Module, batch: Batch, seeds: Sequence[int], steps: int | None = None) -> Tensor:
        return super().predict(model, batch, seeds, steps or self.steps)


class TestStochastic(TestOneStep):
    name = "genpercept_stochastic_mini"
    steps: ClassVar[int] = 2
