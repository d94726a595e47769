"""Multiply-accumulates (MACs), counted live while a function runs; on the meta device that takes no memory.

What the papers call FLOPs are mostly MACs (1 MAC = 2 floating-point operations).  Two conventions are in use:

* :attr:`Macs.total` counts every convolution, linear layer and matrix product.  DDP prints it for Swin-T and Swin-S,
  Table 1.
* :attr:`Macs.modules` is the convention of the usual counter of that code family: layers that are modules, with
  normalisation (2 per element), without the products of two activations inside attention.  DDP prints it for Swin-B and
  Swin-L, in Table 2, and for most peers.

Interpolation, softmax, activations and the bilinear reads of deformable attention are in neither.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ddp_repro.networks.attention.backend import attention_by

_aten = torch.ops.aten


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates by kind."""

    convolution: int = 0
    linear: int = 0
    attention: int = 0  # products of two activations: query·key, attention·value, masks·features
    normalization: int = 0

    @property
    def total(self) -> int:
        """Convolutions, linear layers, and products of activations."""
        return self.convolution + self.linear + self.attention

    @property
    def modules(self) -> int:
        """Convolutions, linear layers, and normalisation."""
        return self.convolution + self.linear + self.normalization

    def __add__(self, other: Macs) -> Macs:
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Macs(*(mine + theirs for mine, theirs in pairs))

    def __mul__(self, times: int) -> Macs:
        return Macs(times * self.convolution, times * self.linear, times * self.attention, times * self.normalization)


def count_parameters(model: nn.Module) -> int:
    """Count the weights, each once."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(function: Callable[..., Any], *inputs: Any) -> tuple[Any, Macs]:
    """Call ``function`` without gradients and count the MACs of what ran: (its result, the count).

    PyTorch's operations run, not compiled code, of which a counter sees some products alone.
    """
    counter = FlopCounterMode(display=False, custom_mapping=_NORMALIZATIONS)
    with torch.no_grad(), attention_by("reference"), counter:
        result = function(*inputs)
    counts = counter.get_flop_counts().get("Global", {})
    kinds = {"convolution": 0, "linear": 0, "attention": 0, "normalization": 0}
    for operation, flops in counts.items():
        kinds[_KINDS.get(operation, "attention")] += flops // 2
    return result, Macs(**kinds)


def _normalization_flops(input_shape: torch.Size, *_: Any, **__: Any) -> int:
    """Twice the 2 MACs per element: the counter's unit is the FLOP."""
    return 4 * input_shape.numel()


_NORMALIZATIONS = {
    _aten.native_layer_norm: _normalization_flops,
    _aten.native_group_norm: _normalization_flops,
    _aten.native_batch_norm: _normalization_flops,
    _aten._native_batch_norm_legit_no_training: _normalization_flops,
}
_KINDS = {
    _aten.convolution: "convolution",
    _aten._convolution: "convolution",
    _aten.addmm: "linear",
    _aten.mm: "linear",
    **dict.fromkeys(_NORMALIZATIONS, "normalization"),
}
