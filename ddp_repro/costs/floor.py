"""The floor of a computation: its matrix products and convolutions alone, on memory that is already there.

What a stage takes beyond this is everything else: reading and writing maps, normalising, sampling, overhead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ddp_repro.networks.precision import full_precision

_aten = torch.ops.aten
_PRODUCTS = {
    _aten.mm.default: (0, 1), _aten.bmm.default: (0, 1), _aten.addmm.default: (1, 2), _aten.baddbmm.default: (1, 2),
    _aten.mm.out: (0, 1), _aten.addmm.out: (1, 2), _aten.addmm_.default: (1, 2),
}  # fmt: skip
Layout = tuple[tuple[int, ...], tuple[int, ...], torch.dtype, torch.device]


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.products: Counter[tuple] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: tuple = (), keywords: Any = None) -> Any:
        if function in _PRODUCTS:
            self.products["product", *(_layout(arguments[i]) for i in _PRODUCTS[function])] += 1
        elif function is _aten.convolution.default:
            image, kernel, _, *settings = arguments
            plain = tuple(tuple(s) if isinstance(s, list) else s for s in settings)
            self.products["convolution", _layout(image), _layout(kernel), *plain] += 1
        return function(*arguments, **(keywords or {}))


def floor_of(function: Callable[[], Any]) -> Callable[[], None]:
    """Run ``function`` once without gradients; what is returned computes its products of equal shapes, as often.

    Biases are left out, and results overwrite each other, so that no memory is asked for but by convolutions.
    """
    with torch.no_grad(), _Recorder() as recorder:
        function()
    work = [(count, _replay(*key)) for key, count in recorder.products.items()]

    def floor() -> None:
        with torch.no_grad(), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            for count, product in work:
                for _ in range(count):
                    product()

    return floor


def _replay(kind: str, left: Layout, right: Layout, *settings: Any) -> Callable[[], Tensor]:
    first, second = _like(left), _like(right)
    if kind == "convolution":
        return lambda: _aten.convolution(first, second, None, *settings)
    with full_precision(first.device):
        out = torch.matmul(first, second)
    return lambda: torch.matmul(first, second, out=out)


def _layout(tensor: Tensor) -> Layout:
    return tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device


def _like(layout: Layout) -> Tensor:
    shape, stride, dtype, device = layout
    return torch.empty_strided(shape, stride, dtype=dtype, device=device).fill_(0.5)
