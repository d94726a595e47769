"""On the ``meta`` device, where nothing is computed, the costs of sampling are counted as on a real one."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ddp_repro.networks.precision import full_precision
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.workbook.catalogue import recipe
from tests.models.bev.test_model import CONFIGS, batch
from tests.papers.ddps import tiny

pytestmark = pytest.mark.numerics


@torch.no_grad()
def flops(model: torch.nn.Module, inputs: object, steps: int, **options: object) -> tuple[torch.Size, int]:
    """Shape of a sample and PyTorch's count of its operations."""
    with FlopCounterMode(display=False) as counter:
        shape = model.sample(inputs, steps=steps, **options).shape
    return shape, counter.get_total_flops()


@pytest.fixture(autouse=True)
def pytorch_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled code is no operation of PyTorch's, so that its counter would miss it."""
    from ddp_repro.networks.kernels import library

    monkeypatch.setenv("DDP_REPRO_KERNELS", "off")
    library.library.cache_clear()
    yield
    library.library.cache_clear()


@pytest.mark.parametrize("name", ["ade20k_mini", "cityscapes_mini", "nyu_mini"])
@pytest.mark.parametrize("steps", [1, 3])
def test_costs_of_pictures(name: str, steps: int) -> None:
    model, images = build_model(recipe(name).model).eval(), torch.zeros(1, 3, 64, 96)
    expected = flops(model, images, steps)
    assert flops(model.to("meta"), images.to("meta"), steps) == expected and expected[1] > 0


def test_costs_of_a_map_from_above() -> None:
    """From the fused feature on: which cells the sensors fill depends on where they look, and has to be computed."""
    model = build_model(CONFIGS["camera"]).eval()
    with torch.no_grad():
        features = model.encode(batch(1))
    expected = flops(model, None, 2, features=features)
    assert flops(model.to("meta"), None, 2, features=features.to("meta")) == expected and expected[1] > 0


def test_costs_of_mask_priors() -> None:
    model, features = tiny.model(), tiny.features()
    expected = flops(model, None, 2, features=features)
    assert flops(model.to("meta"), None, 2, features=features.to("meta")) == expected and expected[1] > 0


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_full_precision_under_autocast(device: str) -> None:
    matrix = torch.ones(2, 2, device=device)
    with torch.autocast("cpu", torch.bfloat16), full_precision(matrix.device):
        assert (matrix @ matrix).dtype == torch.float32
