"""GenPercept's predictions; it is not trained through recipes yet."""

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from ddp_repro.papers.genpercept.model import GenPercept
from ddp_repro.papers.genpercept.settings import GenPerceptConfig
from ddp_repro.protocols.method import check_method
from ddp_repro.settings.errors import ConfigError
from tests.methods.base import Batch, InferenceSuite
from tests.papers.genpercept.conftest import tiny_head, tiny_unet, tiny_vae

pytestmark = pytest.mark.numerics


class TestOneStep(InferenceSuite):
    sizes = ((32, 64), (40, 48), (64, 32))  # multiples of 8: other pictures are padded before
    fields: ClassVar[dict[str, Any]] = {}

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        config = GenPerceptConfig(**self.fields)
        text = torch.randn(1, 2, 32)
        return GenPercept(tiny_unet(config.in_channels), tiny_vae(), text, config, tiny_head(config)).eval()

    def batch(self, count: int, size: tuple[int, int]) -> Batch:
        return {"image": torch.rand(4, 3, *size, generator=torch.Generator().manual_seed(3))[:count] * 2 - 1}

    def encode(self, model: nn.Module, batch: Batch) -> Tensor:
        return model.encode(batch["image"])

    def map_size(self, model: nn.Module, size: tuple[int, int]) -> tuple[int, int]:
        return size

    def predict(self, model: nn.Module, batch: Batch, seeds: Sequence[int], steps: int = 1) -> Tensor:
        return super().predict(model, batch, seeds, steps)

    def test_it_has_all_parts(self) -> None:
        """But for the normalisation that datasets ask for: its images are in [-1, 1]."""
        with pytest.raises(ConfigError, match="lacks mean, std$"):
            check_method(self.model(), "evaluation")


class TestStochastic(TestOneStep):
    fields: ClassVar[dict[str, Any]] = {
        "noise": "gaussian", "input": "concatenated", "beta_start": 0.00085, "beta_end": 0.012, "steps": 2
    }  # fmt: skip

    def predict(self, model: nn.Module, batch: Batch, seeds: Sequence[int], steps: int = 2) -> Tensor:
        return super().predict(model, batch, seeds, steps)
