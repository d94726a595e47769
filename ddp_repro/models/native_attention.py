"""Deformable attention on a CPU as compiled code: ``native_attention.cpp``, built on first use if a compiler is there.

It takes a second once per machine and is kept in the user's cache.  Nothing needs it: without a compiler, attention
runs as PyTorch operations.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

Shape = tuple[int, int]

SOURCE = Path(__file__).with_suffix(".cpp")
FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-fopenmp", "-fno-math-errno", "-fno-trapping-math")
DTYPES = {torch.float32: "float32", torch.float64: "float64"}


class _Sizes(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int64) for name in ("batch", "heads", "points", "queries", "height", "width", "channels")
    ]


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled code; None (with a warning if it could not be built) where there is no compiler for it."""
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        return None
    try:
        return ctypes.CDLL(str(_built(compiler)))
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or error
        warnings.warn(f"{SOURCE.name} was not built, attention runs as PyTorch operations: {reason}", stacklevel=2)
        return None


def attend_native(value: Tensor, locations: Tensor, weights: Tensor, shape: Shape) -> Tensor:
    """See :func:`ddp_repro.models.deformable_attention.attend_reference`; float32 or float64, differentiable once."""
    return _Attention.apply(value.to(weights.dtype), locations.to(weights.dtype), weights, shape)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, value: Tensor, locations: Tensor, weights: Tensor, shape: Shape) -> Tensor:
        value, locations, weights = (each.contiguous() for each in (value, locations, weights))
        ctx.save_for_backward(value, locations, weights)
        ctx.shape = shape
        batch, queries = len(value), weights.shape[-1]
        output = value.new_empty(batch, queries, value.shape[2] * value.shape[3])
        _call("forward", [value, locations, weights, output], shape)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return *differentiate_native(*ctx.saved_tensors, gradient, ctx.shape), None


def differentiate_native(
    value: Tensor, locations: Tensor, weights: Tensor, gradient: Tensor, shape: Shape
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, locations and weights, given the output's; all of one dtype."""
    inputs = [each.contiguous() for each in (value, locations, weights, gradient)]
    gradients = torch.zeros_like(inputs[0]), torch.empty_like(inputs[1]), torch.empty_like(inputs[2])
    _call("backward", [*inputs, *gradients], shape)
    return gradients


def _call(name: str, tensors: list[Tensor], shape: Shape) -> None:
    value, _, weights = tensors[:3]
    batch, heads, points, queries = weights.shape
    sizes = _Sizes(batch, heads, points, queries, *shape, value.shape[-1])
    function = getattr(library(), f"{name}_{DTYPES[value.dtype]}")
    function(*(ctypes.c_void_p(t.data_ptr()) for t in tensors), ctypes.byref(sizes), torch.get_num_threads())


def _built(compiler: str) -> Path:
    """The library in the cache, made if it is not there yet for this source, compiler and machine.

    Raises:
        OSError, subprocess.SubprocessError: it cannot be built or written.
    """
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    identity = (SOURCE.read_text(encoding="utf-8"), *FLAGS, version, platform.machine(), _processor())
    name = f"attention-{hashlib.sha256(repr(identity).encode()).hexdigest()[:16]}.so"
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ddp_repro"
    if not (folder / name).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:  # others may build at the same time
            made = Path(work) / name
            command = [compiler, *FLAGS, str(SOURCE), "-o", str(made)]
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
            made.replace(folder / name)
    return folder / name


def _processor() -> str:
    """What ``-march=native`` looks at: a home folder may be shared between machines."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
