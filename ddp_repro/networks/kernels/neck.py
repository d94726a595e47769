"""The neck in bf16 on a CPU: its convolutions in bf16, its norms computed in float32, maps with channels last."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ddp_repro.networks.kernels import bf16
from ddp_repro.networks.kernels import layers as native_layers
from ddp_repro.networks.kernels.bf16 import weight_in
from ddp_repro.networks.precision import full_precision


def can_run(neck: nn.Module, maps: Sequence[Tensor]) -> bool:
    """Whether :func:`run` may be used for a neck and these maps."""
    return bf16.wanted() and all(native_layers.can_run(neck, level) for level in maps)


def run(neck: nn.Module, maps: Sequence[Tensor]) -> Tensor:
    """Backbone maps, finest first -> what the neck makes of them, in bf16."""
    weights = {name: weight_in(torch.bfloat16, weight) for name, weight in neck.named_parameters() if weight.dim() > 1}
    levels = [level.to(torch.bfloat16).contiguous(memory_format=torch.channels_last) for level in maps]
    with full_precision(levels[0].device):  # or autocast would resize in float32
        return functional_call(neck, weights, (levels,))
