"""Deformable attention on a CPU as compiled code: ``attention.cpp``."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ddp_repro.networks.kernels.library import address, function

Shape = tuple[int, int]

MAX_POINTS, MAX_HEAD_WIDTH = 16, 64  # of attend_rows; the width in bf16


class _Sizes(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int64) for name in ("batch", "heads", "points", "queries", "height", "width", "channels")
    ]


def attend_native(value: Tensor, locations: Tensor, weights: Tensor, shape: Shape) -> Tensor:
    """See :func:`ddp_repro.networks.attention.deformable.attend_reference`; float32 or float64, differentiable once."""
    return _Attention.apply(value.to(weights.dtype), locations.to(weights.dtype), weights, shape)


def attend_rows(value: Tensor, query: Tensor, of_rows: Tensor, of_columns: Tensor, rows: slice, shape: Shape) -> Tensor:
    """Attention of some rows of one image's map, from the sum that gives locations and logits; without gradients.

    Args:
        value: (h·w, heads, c), float32, float64 or bf16.
        query: (3, heads, points, n·w) of these n rows, of the value's dtype: x, y and logit, without what the place
            adds.
        of_rows, of_columns: (3, heads, points, h) and (3, heads, points, w), what each row and column adds; float32
            where the value is bf16, else of its dtype.
        rows: of the h rows.
        shape: (h, w).

    Returns:
        (n·w, heads·c)
    """
    value, query, of_rows, of_columns = (each.contiguous() for each in (value, query, of_rows, of_columns))
    _, heads, points, queries = query.shape
    output = value.new_empty(queries, heads * value.shape[-1])
    sizes = _Sizes(1, heads, points, queries, *shape, value.shape[-1])
    run = function("forward_rows", value.dtype)
    stride, threads = ctypes.c_int64(shape[0]), torch.get_num_threads()
    inputs = address(value), address(query), address(of_rows, rows.start), address(of_columns)
    run(*inputs, stride, address(output), ctypes.byref(sizes), threads)
    return output


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, locations: Tensor, weights: Tensor, shape: Shape) -> Tensor:
        value, locations, weights = (each.contiguous() for each in (value, locations, weights))
        ctx.save_for_backward(value, locations, weights)
        ctx.shape = shape
        batch, queries = len(value), weights.shape[-1]
        output = value.new_empty(batch, queries, value.shape[2] * value.shape[3])
        _call("forward", [value, locations, weights, output], shape)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        value, locations, weights = ctx.saved_tensors
        return *differentiate_native(value, locations, weights, gradient, ctx.shape), None


def differentiate_native(
    value: Tensor, locations: Tensor, weights: Tensor, gradient: Tensor, shape: Shape
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, locations and weights, given the output's; all of one dtype."""
    inputs = [each.contiguous() for each in (value, locations, weights, gradient)]
    gradients = torch.zeros_like(inputs[0]), torch.empty_like(inputs[1]), torch.empty_like(inputs[2])
    _call("backward", [*inputs, *gradients], shape)
    return gradients


def _call(name: str, tensors: list[Tensor], shape: Shape) -> None:
    value, _, weights = tensors[:3]
    batch, heads, points, queries = weights.shape
    sizes = _Sizes(batch, heads, points, queries, *shape, value.shape[-1])
    run = function(name, value.dtype)
    run(*map(address, tensors), ctypes.byref(sizes), torch.get_num_threads())
