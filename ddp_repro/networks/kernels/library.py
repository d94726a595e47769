"""Compiled code for the CPU: the C++ files beside this one, built together on first use if a compiler is there.

It takes some seconds once per machine and is kept in the user's cache.  Nothing needs it: without a compiler, or with
``DDP_REPRO_KERNELS=off`` in the environment, the same is computed by PyTorch operations.
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
from typing import Any

import torch
from torch import Tensor

from ddp_repro.settings.errors import ConfigError

SOURCES = tuple(
    Path(__file__).with_name(f"{name}.cpp") for name in ("attention", "layers", "neck", "windows", "resize")
)
HEADERS = tuple(Path(__file__).with_name(f"{name}.h") for name in ("axis", "vector_math"))
FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-fopenmp", "-fno-math-errno", "-fno-trapping-math")


@functools.cache
def library() -> ctypes.CDLL | None:
    """Load the compiled code; None where it is switched off or there is no compiler, with a warning if it fails.

    Raises:
        ConfigError: ``DDP_REPRO_KERNELS`` is neither ``on`` nor ``off``.
    """
    switch = os.environ.get("DDP_REPRO_KERNELS") or "on"
    if switch not in ("on", "off"):
        raise ConfigError(f"DDP_REPRO_KERNELS must be on or off; got {switch!r}")
    if switch == "off":
        return None
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        return None
    try:
        code = ctypes.CDLL(str(_built(compiler)))
        code.cross_entropy.restype = ctypes.c_double
        return code
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or error
        warnings.warn(f"the C++ files were not built, PyTorch's operations run instead: {reason}", stacklevel=2)
        return None


def available() -> bool:
    """Whether the compiled code is there; answered once where a graph is traced."""
    return library() is not None


def loaded() -> ctypes.CDLL:
    """Return the compiled code, for those who know that it is :func:`available`.

    Raises:
        RuntimeError: it is not.
    """
    code = library()
    if code is None:
        raise RuntimeError("the compiled code is not there; ask available() first")
    return code


def function(name: str, dtype: torch.dtype) -> Any:
    """Return the compiled function of this name for tensors of a dtype, e.g. ``add_norm_bfloat16``.

    Raises:
        RuntimeError: the compiled code is not there.
        AttributeError: there is none for this dtype.
    """
    return getattr(loaded(), f"{name}_{str(dtype).removeprefix('torch.')}")


# What torch.compiler.assume_constant_result sets; calling it imports PyTorch's compiler, which takes seconds.
available._dynamo_marked_constant = True


def address(tensor: Tensor, first: int = 0) -> ctypes.c_void_p:
    """Where an element lies, of a tensor that lies in one piece on the CPU.

    Raises:
        ValueError: it does not.
    """
    if not tensor.is_contiguous() or tensor.device.type != "cpu":
        raise ValueError(f"compiled code takes contiguous tensors on the CPU, not {tensor.shape}, {tensor.stride()}")
    return ctypes.c_void_p(tensor.data_ptr() + first * tensor.element_size())


def _built(compiler: str) -> Path:
    """Return the library in the cache, made if it is not there yet for these sources, compiler and machine.

    Raises:
        OSError, subprocess.SubprocessError: it cannot be built or written.
    """
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    sources = [source.read_text(encoding="utf-8") for source in (*SOURCES, *HEADERS)]
    identity = (*sources, *FLAGS, version, platform.machine(), _processor())
    name = f"native-{hashlib.sha256(repr(identity).encode()).hexdigest()[:16]}.so"
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ddp_repro"
    if not (folder / name).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:  # others may build at the same time
            made = Path(work) / name
            command = [compiler, *FLAGS, *map(str, SOURCES), "-o", str(made)]
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
            made.replace(folder / name)
    return folder / name


def _processor() -> str:
    """Return what ``-march=native`` looks at: a home folder may be shared between machines."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
