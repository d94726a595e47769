"""What stands between matrix products on a CPU as compiled code: ``layers.cpp``.  Without gradients.

Tokens and products are in float32 or bf16, norms, biases and what is computed with them in float32.

Tokens are taken through a layer some at a time, so that what lies between its products stays in the cache.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor, nn

from ddp_repro.networks.attention.backend import attention_backend
from ddp_repro.networks.kernels import bf16
from ddp_repro.networks.kernels.bf16 import weight_in
from ddp_repro.networks.kernels.library import address, function
from ddp_repro.networks.kernels.products import linear

BLOCK_TOKENS = 1024  # at a time, for each thread


def can_run(layers: nn.Module, tokens: Tensor) -> bool:
    """Whether layers run as compiled code: on a CPU that has it, with no gradients, graphs or hooks."""
    if not is_free(tokens.device):
        return False
    hooked = any(module._forward_hooks or module._forward_pre_hooks for module in layers.modules())
    return not hooked and has_dtype(tokens)


def is_free(device: torch.device) -> bool:
    """Whether compiled code may run on a device in place of PyTorch's operations: nobody records or traces these."""
    if torch.is_grad_enabled() or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    return attention_backend(device) == "native"


def has_dtype(tokens: Tensor) -> bool:
    """Whether tokens are of a dtype that compiled code takes: float32, or under autocast also bf16."""
    if torch.is_autocast_enabled("cpu"):
        return bf16.wanted() and tokens.dtype in (torch.float32, torch.bfloat16)
    return tokens.dtype == torch.float32


def working_dtype() -> torch.dtype:
    """Return what tokens are kept in between the products: bf16 where it is wanted, else float32."""
    return torch.bfloat16 if bf16.wanted() else torch.float32


def blocks(count: int, unit: int = 1) -> list[slice]:
    """0 ... count, of things of ``unit`` tokens each, in parts of about equal work for the cache."""
    size = max(1, BLOCK_TOKENS * torch.get_num_threads() // unit)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def project_tokens(tokens: Tensor, layer: nn.Linear, output: Tensor) -> Tensor:
    """``output = layer(tokens)``, (n, c) -> (n, c')."""
    weight, bias = weight_in(tokens.dtype, layer.weight), weight_in(tokens.dtype, layer.bias)
    for part in blocks(len(tokens)):
        linear(tokens[part], weight, bias, output[part])
    return output


def bias_gelu_(hidden: Tensor, bias: Tensor) -> Tensor:
    """``hidden = gelu(hidden + bias)`` in place; (n, c) contiguous, and (c,) in float32."""
    rows, channels = map(ctypes.c_int64, hidden.shape)
    run = function("bias_gelu", hidden.dtype)
    run(address(hidden), address(bias), rows, channels, torch.get_num_threads())
    return hidden


def add_norm(
    product: Tensor, bias: Tensor, residual: Tensor, gain: Tensor, shift: Tensor, epsilon: float, output: Tensor
) -> Tensor:
    """``product += bias + residual``, in place, and ``output = layer_norm(product) · gain + shift``.

    Args:
        product, residual, output: (n, c), contiguous; the output may be the product.
        bias, gain, shift: (c,), in float32.
    """
    rows, channels = map(ctypes.c_int64, product.shape)
    inputs = map(address, (product, bias, residual, gain, shift))
    threads = torch.get_num_threads()
    run = function("add_norm", product.dtype)
    run(*inputs, address(output), rows, channels, ctypes.c_float(epsilon), threads)
    return output
