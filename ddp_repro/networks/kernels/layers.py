"""What stands between matrix products on a CPU as compiled code: ``layers.cpp``.  Float32, without gradients.

Tokens are taken through a layer some at a time, so that what lies between its products stays in the cache.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor, nn

from ddp_repro.networks.attention.backend import attention_backend
from ddp_repro.networks.kernels.library import address, loaded

BLOCK_TOKENS = 1024  # at a time, for each thread


def can_run(layers: nn.Module, tokens: Tensor) -> bool:
    """Whether layers run as compiled code: on a CPU that has it, with no gradients, graphs or hooks."""
    plain = torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or torch.jit.is_tracing()
    if plain or torch.compiler.is_compiling() or tokens.dtype != torch.float32:
        return False
    hooked = any(module._forward_hooks or module._forward_pre_hooks for module in layers.modules())
    return attention_backend(tokens.device) == "native" and not hooked


def blocks(count: int, unit: int = 1) -> list[slice]:
    """0 ... count, of things of ``unit`` tokens each, in parts of about equal work for the cache."""
    size = max(1, BLOCK_TOKENS * torch.get_num_threads() // unit)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def linear(tokens: Tensor, layer: nn.Linear, output: Tensor) -> Tensor:
    """``output = layer(tokens)``, (n, c) -> (n, c')."""
    weight = layer.weight.t()
    for part in blocks(len(tokens)):
        torch.addmm(layer.bias, tokens[part], weight, out=output[part])
    return output


def bias_gelu_(hidden: Tensor, bias: Tensor) -> Tensor:
    """``hidden = gelu(hidden + bias)`` in place; (n, c) contiguous, and (c,)."""
    rows, channels = map(ctypes.c_int64, hidden.shape)
    loaded().bias_gelu(address(hidden), address(bias), rows, channels, torch.get_num_threads())
    return hidden


def add_norm(
    product: Tensor, bias: Tensor, residual: Tensor, gain: Tensor, shift: Tensor, epsilon: float, output: Tensor
) -> Tensor:
    """``product += bias + residual``, in place, and ``output = layer_norm(product) · gain + shift``.

    Args:
        product, residual, output: (n, c), contiguous; the output may be the product.
        bias, gain, shift: (c,)
    """
    rows, channels = map(ctypes.c_int64, product.shape)
    inputs = map(address, (product, bias, residual, gain, shift))
    threads = torch.get_num_threads()
    loaded().add_norm(*inputs, address(output), rows, channels, ctypes.c_float(epsilon), threads)
    return output
