"""The prior U-Net against the released one."""

from __future__ import annotations

import pytest
import torch

from ddp_repro.papers.ddps.unet import PriorUNet

from . import golden

pytestmark = pytest.mark.numerics


@pytest.fixture(scope="module")
def unet() -> PriorUNet:
    model = PriorUNet(20, 16, 12).eval()
    model.load_state_dict(golden.weights("unet_tiny"))
    return model


def test_output_is_the_released_one(unet: PriorUNet) -> None:
    reference = golden.read("unet_tiny")
    with torch.no_grad():
        golden.assert_close(unet(reference["x"], reference["t"]), reference["y"])


def test_a_batch_is_its_images(unet: PriorUNet) -> None:
    reference = golden.read("unet_tiny")
    with torch.no_grad():
        singles = [unet(reference["x"][i : i + 1], reference["t"][i : i + 1]) for i in range(2)]
    golden.assert_close(torch.cat(singles), reference["y"])


def test_gradients_reach_every_parameter(unet: PriorUNet) -> None:
    reference = golden.read("unet_tiny")
    unet(reference["x"], reference["t"]).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in unet.parameters())
    unet.zero_grad(set_to_none=True)


def test_wider_levels() -> None:
    """The multipliers of one released file (1, 2, 4)."""
    model = PriorUNet(20, 8, 12, (1, 2, 4))
    assert model.downs[2][0].block1.proj.weight.shape == (16, 16, 3, 3)
    assert model.mid_block1.block1.proj.weight.shape == (32, 32, 3, 3)
    assert model(torch.zeros(1, 20, 8, 12), torch.tensor([3])).shape == (1, 12, 8, 12)


@pytest.mark.parametrize("shape", [(1, 20, 8, 10), (1, 20, 6, 8), (1, 19, 8, 8)])
def test_inputs_that_do_not_fit(unet: PriorUNet, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"takes \(B, 20, h, w\) with h and w multiples of 4"):
        unet(torch.zeros(shape), torch.tensor([0]))
