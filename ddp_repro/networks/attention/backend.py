"""Which of the ways to compute deformable attention is in use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ddp_repro.networks.kernels.library import available
from ddp_repro.settings.errors import ConfigError

BACKENDS = ("reference", "cpu", "native", "triton", "mmcv")  # what each is: ddp_repro.networks.attention.deformable

_forced: list[str] = []


@contextmanager
def attention_by(backend: str) -> Iterator[None]:
    """Use this backend, instead of the fastest one, within a ``with`` statement.

    Raises:
        ConfigError: there is none of that name.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"no attention backend {backend!r}; there are {', '.join(BACKENDS)}")
    _forced.append(backend)
    try:
        yield
    finally:
        _forced.pop()


def attention_backend(device: torch.device) -> str:
    """Name of the backend in use for tensors on ``device``: the fastest one, unless :func:`attention_by` names another.

    What ``torch.jit`` traces consists of PyTorch's own operations; for ``torch.export``, name the reference.  On a GPU
    ``triton`` must be asked for: its kernels were so far run in Triton's interpreter only.
    """
    if _forced:
        return _forced[-1]
    if device.type != "cpu" or torch.jit.is_tracing():
        return "reference"
    return "native" if available() else "cpu"
