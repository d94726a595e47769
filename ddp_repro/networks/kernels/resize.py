"""Best classes, and the cross-entropy, of class scores at a picture's size: ``resize.cpp``.  Float32, on a CPU.

At the picture's size 150 classes are a hundred times the picture; here they exist for a row at a time.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ddp_repro.networks.attention.backend import attention_backend
from ddp_repro.networks.kernels.library import address, loaded

Size = tuple[int, int]


def can_run(scores: Tensor) -> bool:
    """Whether these functions may be used for the scores."""
    graph = torch.jit.is_tracing() or torch.compiler.is_compiling()
    return scores.dtype == torch.float32 and not graph and attention_backend(scores.device) == "native"


def best_class(scores: Tensor, input_size: Size, size: Size) -> tuple[Tensor, Tensor]:
    """See :func:`ddp_repro.evaluation.views.best_class`."""
    by_pixel = scores.detach().permute(1, 2, 0).contiguous()
    best, index = scores.new_empty(size), torch.empty(size, dtype=torch.int64)
    sizes = (ctypes.c_int64 * 7)(*by_pixel.shape, *input_size, *size)
    loaded().best_class(address(by_pixel), sizes, address(best), address(index), torch.get_num_threads())
    return best, index


def cross_entropy(scores: Tensor, label: Tensor, ignore_index: int) -> Tensor:
    """Sum of the losses of scores (B, K, h, w), resized to the label's size, against labels (B, H, W).

    Raises:
        IndexError: a label is neither a class nor ``ignore_index``.
    """
    known = label[label != ignore_index]
    if len(known) and not 0 <= int(known.min()) <= int(known.max()) < scores.shape[1]:
        raise IndexError(f"labels run from {int(known.min())} to {int(known.max())}, of {scores.shape[1]} classes")
    return _CrossEntropy.apply(scores, label, ignore_index)


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, label: Tensor, ignore_index: int) -> Tensor:
        by_pixel, label = scores.permute(0, 2, 3, 1).contiguous(), label.long().contiguous()
        gradient, total = torch.zeros_like(by_pixel), 0.0
        sizes = (ctypes.c_int64 * 5)(*by_pixel.shape[1:], *label.shape[1:])
        for own, truth, of_own in zip(by_pixel, label, gradient, strict=True):
            pointers = address(own), address(truth), ctypes.c_int64(ignore_index), sizes, address(of_own)
            total += loaded().cross_entropy(*pointers, torch.get_num_threads())
        ctx.save_for_backward(gradient)
        return scores.new_tensor(total)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        [gradient] = ctx.saved_tensors
        return (gradient * outer).permute(0, 3, 1, 2), None, None
