"""A Swin block on a CPU: the computation of :class:`ddp_repro.networks.swin.PaddedSwinBlock`, by blocks of tokens.

The tokens stay in the order of the map; shift, padding and windows are a matter of where attention reads.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from ddp_repro.networks.kernels import layers as native_layers
from ddp_repro.networks.kernels.bf16 import weight_in
from ddp_repro.networks.kernels.layers import add_norm, bias_gelu_, blocks
from ddp_repro.networks.kernels.library import address, function
from ddp_repro.networks.kernels.products import linear, linear_add, multiply
from ddp_repro.networks.precision import full_precision

HEAD_WIDTH, MAX_WINDOW = 32, 12  # of windows.cpp


def can_run(block: Any, maps: Tensor) -> bool:
    """Whether :func:`run` may be used for this block and input."""
    window, heads = block.window_size, block.attn.num_heads
    usual = window[0] == window[1] <= MAX_WINDOW and block.attn.dim == HEAD_WIDTH * heads and not block.training
    return usual and block.attn.qkv.bias is not None and native_layers.can_run(block, maps)


def run(block: Any, maps: Tensor) -> Tensor:
    """(B, H, W, C) -> (B, H, W, C), in float32, or in bf16 where it is wanted."""
    maps = maps.to(native_layers.working_dtype()).contiguous()
    output = torch.empty_like(maps)
    with full_precision(maps.device):
        bias = block.attn._get_rel_pos_bias()[0].contiguous()
        for tokens, result in zip(maps.flatten(1, 2), output.flatten(1, 2), strict=True):
            attended = _attend(block, tokens, bias, (maps.shape[1], maps.shape[2]))
            _transform(block, tokens, attended, result)
    return output


def _attend(block: Any, tokens: Tensor, bias: Tensor, shape: tuple[int, int]) -> Tensor:
    """Tokens (H·W, C) before the norm -> what attention reads for them, (H·W, C)."""
    layer = block.attn.qkv
    weight, padding = weight_in(tokens.dtype, layer.weight), weight_in(tokens.dtype, layer.bias)
    qkv = tokens.new_empty(len(tokens), layer.out_features)
    for part in blocks(len(tokens)):
        linear(block.norm1(tokens[part]), weight, padding, qkv[part])
    output, pointers = torch.empty_like(tokens), map(address, (qkv, padding, bias))
    sizes = (*shape, block.window_size[0], block.shift_size[0], block.attn.num_heads)
    attend = function("attend_windows", tokens.dtype)
    attend(*pointers, address(output), *map(ctypes.c_int64, sizes), torch.get_num_threads())
    return output


def _transform(block: Any, tokens: Tensor, attended: Tensor, output: Tensor) -> None:
    """Everything after the attention, written into ``output``; all (H·W, C)."""
    projection, norm, first, second = block.attn.proj, block.norm2, block.mlp.fc1, block.mlp.fc2
    project, widen, narrow = (weight_in(tokens.dtype, layer.weight) for layer in (projection, first, second))
    last_bias = weight_in(tokens.dtype, second.bias)
    for part in blocks(len(tokens)):
        total, normed = multiply(attended[part], project), output[part]
        add_norm(total, projection.bias, tokens[part], norm.weight, norm.bias, norm.eps, output=normed)
        hidden = bias_gelu_(multiply(normed, widen), first.bias)
        linear_add(hidden, narrow, last_bias, total, output[part])
