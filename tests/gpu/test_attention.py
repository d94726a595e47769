"""Deformable attention at the decoder's own sizes, beside the reference in float64: Triton's on a GPU."""

import pytest
import torch
from torch import Tensor

from ddp_repro.networks.attention.deformable import BACKENDS, attend_reference

pytestmark = pytest.mark.numerics

SHAPE, BATCH, HEADS, POINTS, CHANNELS = (33, 45), 2, 8, 4, 32
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 4e-3}  # of the largest number


@pytest.fixture(scope="module")
def inputs() -> dict[str, Tensor]:
    """Random values, places (some outside the map, none on a whole pixel, where gradients jump) and weights."""
    generator, double, queries = torch.Generator().manual_seed(0), torch.float64, SHAPE[0] * SHAPE[1]
    size = torch.tensor([SHAPE[1], SHAPE[0]]).view(2, 1, 1, 1)
    places = torch.rand(BATCH, 2, HEADS, POINTS, queries, generator=generator, dtype=double) * (size + 3) - 2
    return {
        "value": torch.randn(BATCH, queries, HEADS, CHANNELS, generator=generator, dtype=double),
        "locations": (places * 64).round() / 64 + 1 / 128,
        "weights": torch.rand(BATCH, HEADS, POINTS, queries, generator=generator, dtype=double).softmax(2),
        "gradient": torch.randn(BATCH, queries, HEADS * CHANNELS, generator=generator, dtype=double),
    }


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_output_and_gradients_are_the_references(
    device: torch.device, dtype: torch.dtype, inputs: dict[str, Tensor]
) -> None:
    name = "cpu"
    if device.type == "cuda":
        pytest.importorskip("triton", reason="Triton is not installed")
        name = "triton"
    rounded = {key: inputs[key].to(dtype if key in ("value", "gradient") else torch.float32) for key in inputs}
    found = attend(name, {key: tensor.to(device) for key, tensor in rounded.items()})
    expected = attend(None, {key: tensor.to(device, torch.float64) for key, tensor in rounded.items()})
    for key, exact in expected.items():
        assert found[key].isfinite().all(), key
        error = (found[key].double() - exact).abs().max() / exact.abs().max()
        assert error < TOLERANCE[dtype], f"{key}: relative error {error:.1e}"


def attend(name: str | None, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what is read, and the gradients."""
    *leaves, gradient = (tensor.detach().clone().requires_grad_() for tensor in tensors.values())
    read = (BACKENDS[name] if name else attend_reference)(*leaves, SHAPE)
    gradients = torch.autograd.grad(read, leaves, gradient.detach().to(read.dtype))
    return dict(zip(("read", "value", "locations", "weights"), (read.detach(), *gradients), strict=True))
