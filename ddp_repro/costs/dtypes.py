"""The dtypes that networks are timed in."""

from __future__ import annotations

import torch

from ddp_repro.evaluation.views import PRECISIONS as DTYPES
from ddp_repro.settings.errors import ConfigError


def check_dtype(dtype: str) -> None:
    """Refuse a dtype that is none of :data:`DTYPES`.

    Raises:
        ConfigError: that is so.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"no dtype {dtype!r}; there are {', '.join(DTYPES)}")


def autocast_to(dtype: str, device: torch.device | str) -> torch.autocast:
    """Return a context in which networks compute in a dtype, by autocast where it is a reduced one.

    Raises:
        ConfigError: no such dtype.
    """
    check_dtype(dtype)
    return torch.autocast(torch.device(device).type, DTYPES[dtype], enabled=dtype != "float32")
