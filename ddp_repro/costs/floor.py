"""The floor of a computation: its matrix products and convolutions alone, on memory that is already there.

What a stage takes beyond this is everything else: reading and writing maps, normalising, sampling, overhead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ddp_repro.networks.kernels.products import multiply
from ddp_repro.networks.precision import full_precision

_aten = torch.ops.aten
_CONVOLUTIONS = {_aten.convolution.default: 2, _aten.convolution_backward.default: 3}  # tensors, before other arguments
_PRODUCTS = {
    _aten.mm.default: (0, 1), _aten.bmm.default: (0, 1), _aten.addmm.default: (1, 2), _aten.baddbmm.default: (1, 2),
    _aten.mm.out: (0, 1), _aten.addmm.out: (1, 2), _aten.addmm_.default: (1, 2),
}  # fmt: skip
_BY_ONEDNN = {"mkldnn::_linear_pointwise": (0, 1), "mkldnn::_linear_pointwise.binary": (0, 2)}  # names with overloads
_ATTENTION = "aten::_scaled_dot_product"  # begins the names of fused ones: query, key and value, then other arguments
_QUERIES = 256  # of fused attention, whose logits never exist all at once
Layout = tuple[tuple[int, ...], tuple[int, ...], torch.dtype, torch.device]


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.products: Counter[tuple] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: tuple = (), keywords: Any = None) -> Any:
        if function in _PRODUCTS:
            self.products[torch.matmul, tuple(_layout(arguments[i]) for i in _PRODUCTS[function]), ()] += 1
        elif function.name() in _BY_ONEDNN:
            first, second = _BY_ONEDNN[function.name()]
            self.products[multiply, (_layout(arguments[first]), _layout(arguments[second])), ()] += 1
        elif function.name().startswith(_ATTENTION) and "backward" not in function.name():
            self.products[_attention_products, tuple(map(_layout, arguments[:3])), ()] += 1
        elif function in _CONVOLUTIONS:
            count = _CONVOLUTIONS[function]
            tensors, (_, *settings) = arguments[:count], arguments[count:]  # without the bias, or its shape
            if function is _aten.convolution_backward.default:
                settings[-1] = (*settings[-1][:2], False)  # the bias needs no gradient
            plain = tuple(tuple(s) if isinstance(s, list) else s for s in settings)
            self.products[function, tuple(map(_layout, tensors)), plain] += 1
        return function(*arguments, **(keywords or {}))


def floor_of(function: Callable[[], Any], gradients: bool = False) -> Callable[[], None]:
    """Run ``function`` once; what is returned computes its products of equal shapes, as often.

    Biases are left out, and results overwrite each other, so that no memory is asked for but by convolutions, by the
    products that oneDNN computes, and by the two products of fused attention.

    Args:
        gradients: whether they are recorded when it runs: those of a backward pass are counted, too, but for those of
            fused attention.
    """
    with nullcontext() if gradients else torch.no_grad(), _Recorder() as recorder:
        function()
    work = [(count, _replay(*key)) for key, count in recorder.products.items()]

    def floor() -> None:
        with torch.no_grad(), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            for count, product in work:
                for _ in range(count):
                    product()

    return floor


def _replay(function: Any, layouts: tuple[Layout, ...], settings: tuple[Any, ...]) -> Callable[[], object]:
    tensors = [_like(layout) for layout in layouts]
    if function in _CONVOLUTIONS:
        return lambda: function(*tensors, None, *settings)
    if function is _attention_products:
        return lambda: _attention_products(*tensors)
    first, second = tensors
    if function is multiply:
        return lambda: multiply(first, second)
    with full_precision(first.device):
        out = torch.matmul(first, second)
    return lambda: torch.matmul(first, second, out=out)


def _attention_products(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Multiply queries (B, h, n, d) by keys (B, h, m, d), and what that gives by values (B, h, m, d')."""
    with full_precision(query.device):
        for part in query.split(_QUERIES, dim=-2):
            torch.matmul(torch.matmul(part, key.transpose(-1, -2)), value)


def _layout(tensor: Tensor) -> Layout:
    return tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device


def _like(layout: Layout) -> Tensor:
    shape, stride, dtype, device = layout
    return torch.empty_strided(shape, stride, dtype=dtype, device=device).fill_(0.5)
