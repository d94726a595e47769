"""The neck on a CPU: maps that are resized and added in one pass, and convolutions in bf16 with norms in float32."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ddp_repro.networks.kernels import bf16
from ddp_repro.networks.kernels import layers as native_layers
from ddp_repro.networks.kernels.bf16 import weight_in
from ddp_repro.networks.kernels.library import function
from ddp_repro.networks.precision import full_precision


def can_run(neck: nn.Module, maps: Sequence[Tensor]) -> bool:
    """Whether :func:`run` may be used for a neck and these maps."""
    return bf16.wanted() and all(native_layers.can_run(neck, level) for level in maps)


def run(neck: nn.Module, maps: Sequence[Tensor]) -> Tensor:
    """Backbone maps, finest first -> what the neck makes of them, in bf16, channels last."""
    weights = {name: weight_in(torch.bfloat16, weight) for name, weight in neck.named_parameters() if weight.dim() > 1}
    levels = [level.to(torch.bfloat16).contiguous(memory_format=torch.channels_last) for level in maps]
    with full_precision(levels[0].device):  # or autocast would resize in float32
        return functional_call(neck, weights, (levels,))


def can_add_resized(result: Tensor, other: Tensor) -> bool:
    """Whether :func:`add_resized` may be used: on a CPU that has compiled code, without gradients or graphs."""
    known = result.dtype == other.dtype in (torch.float32, torch.bfloat16) and not torch.is_autocast_enabled("cpu")
    return known and native_layers.is_free(result.device) and _layout(result) is not None


def add_resized(result: Tensor, other: Tensor, mode: Literal["nearest", "bilinear"]) -> Tensor:
    """Add a map (B, C, h, w), resized, to a result (B, C, H, W), in place; corners are not aligned.

    Raises:
        ValueError: their batches or channels differ, or the result lies in several pieces.
    """
    layout = _layout(result)
    if layout is None or other.shape[:2] != result.shape[:2]:
        raise ValueError(f"a map {tuple(other.shape)} can't be added to {tuple(result.shape)}, {result.stride()}")
    other = other.contiguous(memory_format=layout)
    sizes = (ctypes.c_int64 * 6)(*result.shape, *other.shape[-2:])
    switches = ctypes.c_bool(mode == "nearest"), ctypes.c_bool(layout == torch.channels_last)
    pointers = (ctypes.c_void_p(tensor.data_ptr()) for tensor in (result, other))
    function("add_resized", result.dtype)(*pointers, sizes, *switches, torch.get_num_threads())
    return result


def _layout(maps: Tensor) -> torch.memory_format | None:
    """Return the order in which a map lies in one piece; None where it doesn't."""
    orders = (torch.contiguous_format, torch.channels_last)
    return next((order for order in orders if maps.is_contiguous(memory_format=order)), None)
