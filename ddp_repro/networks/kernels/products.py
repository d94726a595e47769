"""Matrix products on a CPU, by the library that computes them fastest.  Without gradients.

PyTorch multiplies float32 with MKL, which uses AVX-512 on Intel's processors alone.  oneDNN, which PyTorch carries for
convolutions and bf16, uses it on AMD's too: there, they take less time (README, "Speed").
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_BIAS_ALONE = "none", [], ""  # nothing else behind the product


@functools.cache
def onednn_is_faster() -> bool:
    """Whether oneDNN multiplies float32 faster here than MKL: on AMD's processors with AVX-512."""
    supported = getattr(torch.cpu, "_is_avx512_supported", None)  # PyTorch has no public name for it
    return torch.backends.mkldnn.is_available() and bool(supported and supported()) and _maker() == "AuthenticAMD"


def multiply(rows: Tensor, weight: Tensor, space: Tensor | None = None) -> Tensor:
    """``rows · weightᵀ``, (m, k) and (n, k) -> (m, n).

    Args:
        space: memory that may be used for the result, of any shape.
    """
    if _by_onednn(rows):
        return _onednn().default(rows, weight, None, *_BIAS_ALONE)
    if space is None:
        return torch.mm(rows, weight.t())
    return torch.mm(rows, weight.t(), out=space.resize_(len(rows), len(weight)))


def linear(rows: Tensor, weight: Tensor, bias: Tensor, output: Tensor) -> Tensor:
    """``output = rows · weightᵀ + bias``, (m, k), (n, k) and (n,) -> (m, n)."""
    if _by_onednn(rows):
        return output.copy_(_onednn().default(rows, weight, bias, *_BIAS_ALONE))
    return torch.addmm(bias, rows, weight.t(), out=output)


def linear_add(rows: Tensor, weight: Tensor, bias: Tensor, residual: Tensor, output: Tensor) -> Tensor:
    """``output = residual + rows · weightᵀ + bias``; the residual, (m, n), may be overwritten."""
    if _by_onednn(rows):
        return output.copy_(_onednn().binary(rows, residual, weight, bias, "add"))
    return torch.add(residual.addmm_(rows, weight.t()), bias, out=output)


def _by_onednn(rows: Tensor) -> bool:
    return rows.dtype == torch.float32 and torch.backends.mkldnn.enabled and onednn_is_faster()


def _onednn() -> Any:
    return torch.ops.mkldnn._linear_pointwise


def _maker() -> str | None:
    """Return who made the processor, as Linux says; elsewhere None."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("vendor_id")), None)
