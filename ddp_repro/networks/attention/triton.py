"""Deformable attention as Triton kernels, forward and backward: nothing sampled is ever stored.

A program takes some queries of one head.  Reads are in the value's dtype (float32, bfloat16, float16 or float64), sums
in float32 (float64 for float64).  Gradients of the value are added up atomically, in the dtype of the sums.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

Shape = tuple[int, int]
QUERIES = 64  # per program


def attend_triton(value: Tensor, locations: Tensor, weights: Tensor, shape: Shape) -> Tensor:
    """See :func:`ddp_repro.networks.attention.deformable.attend_reference`; the result has the value's dtype."""
    return _Attention.apply(value, locations, weights, shape)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, locations: Tensor, weights: Tensor, shape: Shape) -> Tensor:
        value = value.contiguous()
        sums = torch.promote_types(value.dtype, torch.float32)
        locations, weights = locations.to(sums).contiguous(), weights.to(sums).contiguous()
        ctx.save_for_backward(value, locations, weights)
        ctx.shape = shape
        output = value.new_empty(len(value), weights.shape[-1], value.shape[2] * value.shape[3])
        _forward[_grid(weights)](value, locations, weights, output, **_sizes(value, weights, shape))
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        value, locations, weights = ctx.saved_tensors
        of_value = torch.zeros(value.shape, dtype=weights.dtype, device=value.device)
        of_locations, of_weights = torch.empty_like(locations), torch.empty_like(weights)
        _backward[_grid(weights)](
            value, locations, weights, gradient.contiguous(), of_value, of_locations, of_weights,
            **_sizes(value, weights, ctx.shape),
        )  # fmt: skip
        return of_value.to(value.dtype), of_locations, of_weights, None


def _grid(weights: Tensor) -> tuple[int, int]:
    batch, heads, _, queries = weights.shape
    return triton.cdiv(queries, QUERIES), batch * heads


def _sizes(value: Tensor, weights: Tensor, shape: Shape) -> dict[str, Any]:
    (height, width), channels = shape, value.shape[-1]
    return {
        "heads": weights.shape[1], "queries": weights.shape[3], "height": height, "width": width, "channels": channels,
        "POINTS": weights.shape[2], "CHANNELS": triton.next_power_of_2(channels), "QUERIES": QUERIES,
    }  # fmt: skip


@triton.jit
def _places(b, head, point, n, heads, queries, POINTS: tl.constexpr):
    """Offsets of a query's x, y and weight."""
    x = ((b * 2 * heads + head) * POINTS + point) * queries + n
    return x, x + heads * POINTS * queries, ((b * heads + head) * POINTS + point) * queries + n


@triton.jit
def _corner(x, y, right: tl.constexpr, bottom: tl.constexpr, height, width):
    """One of the four pixels around (x, y): its token, whether it is on the map, its weights along x and along y."""
    left, top = tl.floor(x), tl.floor(y)
    at_x = x - left if right else left + 1 - x
    at_y = y - top if bottom else top + 1 - y
    column, row = left + right, top + bottom
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    token = tl.where(inside, row, 0.0).to(tl.int32) * width + tl.where(inside, column, 0.0).to(tl.int32)
    return token, inside, at_x, at_y


@triton.jit
def _forward(
    value, locations, weights, output, heads, queries, height, width, channels,
    POINTS: tl.constexpr, CHANNELS: tl.constexpr, QUERIES: tl.constexpr,
):  # fmt: skip
    b, head = (tl.program_id(1) // heads).to(tl.int64), tl.program_id(1) % heads
    n = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES)
    c = tl.arange(0, CHANNELS)
    asked, wide = n < queries, c < channels
    own = value + (b * height * width * heads + head) * channels
    total = tl.zeros((QUERIES, CHANNELS), dtype=weights.dtype.element_ty)
    for point in tl.static_range(POINTS):  # pyright: ignore[reportGeneralTypeIssues] - unrolled by Triton
        at_x, at_y, at_weight = _places(b, head, point, n, heads, queries, POINTS)
        x = tl.load(locations + at_x, mask=asked, other=-2.0)
        y = tl.load(locations + at_y, mask=asked, other=-2.0)
        weight = tl.load(weights + at_weight, mask=asked, other=0.0)
        for k in tl.static_range(4):  # pyright: ignore[reportGeneralTypeIssues] - unrolled by Triton
            token, inside, along_x, along_y = _corner(x, y, k % 2, k // 2, height, width)
            place = token[:, None].to(tl.int64) * heads * channels + c[None, :]
            pixel = tl.load(own + place, mask=inside[:, None] & wide[None, :], other=0.0).to(total.dtype)
            total += tl.where(inside, weight * along_x * along_y, 0.0)[:, None] * pixel
    place = ((b * queries + n) * heads + head)[:, None] * channels + c[None, :]
    tl.store(output + place, total.to(output.dtype.element_ty), mask=asked[:, None] & wide[None, :])


@triton.jit
def _backward(
    value, locations, weights, gradient, of_value, of_locations, of_weights, heads, queries, height, width, channels,
    POINTS: tl.constexpr, CHANNELS: tl.constexpr, QUERIES: tl.constexpr,
):  # fmt: skip
    b, head = (tl.program_id(1) // heads).to(tl.int64), tl.program_id(1) % heads
    n = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES)
    c = tl.arange(0, CHANNELS)
    asked, wide = n < queries, c < channels
    own = (b * height * width * heads + head) * channels
    place = ((b * queries + n) * heads + head)[:, None] * channels + c[None, :]
    outer = tl.load(gradient + place, mask=asked[:, None] & wide[None, :], other=0.0).to(weights.dtype.element_ty)
    for point in tl.static_range(POINTS):  # pyright: ignore[reportGeneralTypeIssues] - unrolled by Triton
        at_x, at_y, at_weight = _places(b, head, point, n, heads, queries, POINTS)
        x = tl.load(locations + at_x, mask=asked, other=-2.0)
        y = tl.load(locations + at_y, mask=asked, other=-2.0)
        weight = tl.load(weights + at_weight, mask=asked, other=0.0)
        by_x = tl.zeros((QUERIES,), dtype=outer.dtype)
        by_y = tl.zeros((QUERIES,), dtype=outer.dtype)
        by_weight = tl.zeros((QUERIES,), dtype=outer.dtype)
        for k in tl.static_range(4):  # pyright: ignore[reportGeneralTypeIssues] - unrolled by Triton
            token, inside, along_x, along_y = _corner(x, y, k % 2, k // 2, height, width)
            place = own + token[:, None].to(tl.int64) * heads * channels + c[None, :]
            mask = inside[:, None] & wide[None, :]
            product = tl.sum(outer * tl.load(value + place, mask=mask, other=0.0).to(outer.dtype), 1)
            share = tl.where(inside, along_x * along_y, 0.0)
            tl.atomic_add(of_value + place, (share * weight)[:, None] * outer, mask=mask & asked[:, None])
            by_weight += share * product
            by_x += tl.where(inside, along_y * (2 * (k % 2) - 1) * product, 0.0)
            by_y += tl.where(inside, along_x * (2 * (k // 2) - 1) * product, 0.0)
        tl.store(of_weights + at_weight, by_weight, mask=asked)
        tl.store(of_locations + at_x, by_x * weight, mask=asked)
        tl.store(of_locations + at_y, by_y * weight, mask=asked)
