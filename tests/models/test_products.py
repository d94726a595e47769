"""Products of compiled layers, by MKL and by oneDNN."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ddp_repro.costs.floor import floor_of
from ddp_repro.networks.kernels import products

pytestmark = pytest.mark.numerics

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch without oneDNN")


@pytest.fixture(params=[False, pytest.param(True, marks=needs_onednn)], ids=["mkl", "onednn"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(products, "onednn_is_faster", lambda: request.param)
    return request.param


def _tensors(dtype: torch.dtype, *shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1, 1, 1), (7, 3, 5), (65, 96, 33), (130, 64, 256)])
@torch.no_grad()
def test_products_of_any_size(library: str, dtype: torch.dtype, rows: int, inputs: int, outputs: int) -> None:
    x, weight, bias, residual = _tensors(dtype, (rows, inputs), (outputs, inputs), (outputs,), (rows, outputs))
    expected = x.double() @ weight.double().t()
    near = dict(atol=1e-4, rtol=1e-5) if dtype == torch.float32 else dict(atol=0.2, rtol=0.02)
    for space in (None, torch.empty(0, dtype=dtype), torch.full((outputs * rows + 3,), torch.nan, dtype=dtype)):
        torch.testing.assert_close(products.multiply(x, weight, space).double(), expected, **near)
    larger = torch.full((2 * rows, outputs), torch.nan, dtype=dtype)
    part = larger[rows:]  # of a map that is written by blocks
    result = products.linear(x, weight, bias, part)
    assert result.data_ptr() == part.data_ptr() and larger[:rows].isnan().all()
    torch.testing.assert_close(part.double(), expected + bias.double(), **near)
    products.linear_add(x, weight, bias, residual.clone(), part)
    torch.testing.assert_close(part.double(), expected + bias.double() + residual.double(), **near)


@torch.no_grad()
def test_a_view_of_a_larger_map_may_be_multiplied(library: str) -> None:
    base, weight = _tensors(torch.float32, (40, 24), (10, 24))
    for x in (base[3:17], base[::2], base.t()[:, :24].contiguous().t()):
        torch.testing.assert_close(products.multiply(x, weight), x @ weight.t(), atol=1e-5, rtol=1e-5)


@needs_onednn
@torch.no_grad()
def test_the_floor_has_what_onednn_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)
    x, weight, bias, residual = _tensors(torch.float32, (30, 8), (5, 8), (5,), (30, 5))
    other, output = nn.Linear(8, 5), torch.empty(30, 5)

    def everything() -> None:
        products.multiply(x, weight)
        products.linear(x, weight, bias, output)
        products.linear_add(x, weight, bias, residual, output)
        other(x)

    assert _products_of(everything, monkeypatch) == 3
    assert _products_of(floor_of(everything), monkeypatch) == 3


def _products_of(function: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> int:
    """Count the products that oneDNN is asked for."""
    operator, count = torch.ops.mkldnn._linear_pointwise, 0

    class Counted:
        @staticmethod
        def default(*arguments: object) -> Tensor:
            nonlocal count
            count += 1
            return operator.default(*arguments)

        @staticmethod
        def binary(*arguments: object) -> Tensor:
            nonlocal count
            count += 1
            return operator.binary(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(products, "_onednn", lambda: Counted)
        function()
    return count


@pytest.mark.parametrize(
    ("maker", "avx512", "expected"),
    [("AuthenticAMD", True, True), ("AuthenticAMD", False, False), ("GenuineIntel", True, False), (None, True, False)],
)
def test_onednn_is_taken_where_mkl_leaves_avx512_unused(
    monkeypatch: pytest.MonkeyPatch, maker: str | None, avx512: bool, expected: bool
) -> None:
    monkeypatch.setattr(products, "_maker", lambda: maker)
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: avx512)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert products.onednn_is_faster.__wrapped__() is expected


def test_the_maker_is_read_where_linux_writes_it() -> None:
    if not Path("/proc/cpuinfo").is_file():
        assert products._maker() is None
    else:
        assert products._maker() != ""
