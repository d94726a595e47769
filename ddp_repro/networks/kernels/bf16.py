"""bf16 on a CPU: where it pays, and weights kept in it.

Under bf16 autocast the compiled code keeps tokens and weights of products in bf16 and everything between the products
in float32.  Autocast alone would go back and forth between the two at most operations.
"""

from __future__ import annotations

import functools
import os
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from ddp_repro.networks.kernels.library import available

# Of ONEDNN_MAX_CPU_ISA, which hides instructions from the library that multiplies matrices.
_WITHOUT_PRODUCTS = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")


@functools.cache
def has_products() -> bool:
    """Whether this processor multiplies matrices of bf16 faster than of float32: it has AVX512-BF16 or AMX."""
    if os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in _WITHOUT_PRODUCTS:
        return False
    # PyTorch has no public names for these; where another version has others, float32 stays.
    known = [getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile")]
    return any(ask() for ask in known if ask)


def warn_where_slow() -> None:
    """Tell who asks for bf16 on a CPU that it is slower there than float32, where that is so."""
    if not has_products():
        warnings.warn(
            "this processor has no bf16 products (AVX512-BF16, AMX): bf16 is slower here than float32 and rounds more",
            stacklevel=3,
        )


def wanted() -> bool:
    """Whether layers on the CPU are to run in bf16: under its autocast, where it pays."""
    in_bf16 = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return in_bf16 and has_products() and available()


@dataclass(frozen=True)
class _Narrow:
    """Weights in bf16, and what tells that they are still those of the parameter."""

    state: tuple[int, int, torch.dtype]
    weight: Tensor


_NARROW: WeakIdKeyDictionary = WeakIdKeyDictionary()  # parameter -> _Narrow


def weight_in(dtype: torch.dtype, parameter: Tensor) -> Tensor:
    """Return a parameter in ``dtype``; where that is another one, the result is kept until the parameter changes."""
    if parameter.dtype == dtype:
        return parameter
    version = 0 if parameter.is_inference() else parameter._version  # those have none
    state = parameter.data_ptr(), version, parameter.dtype
    narrow = _NARROW.get(parameter)
    if narrow is None or narrow.state != state:
        narrow = _Narrow(state, parameter.detach().to(dtype))
        _NARROW[parameter] = narrow
    return narrow.weight
