"""The native attention as a PyTorch operator, which a compiled graph calls without looking inside."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ddp_repro.networks.kernels.attention import Shape, attend_native, differentiate_native


def attend_in_graph(value: Tensor, locations: Tensor, weights: Tensor, shape: Shape) -> Tensor:
    """:func:`ddp_repro.networks.kernels.attention.attend_native` as one node of a graph; differentiable once."""
    return _attend(value.to(weights.dtype), locations.to(weights.dtype), weights, *shape)


@torch.library.custom_op("ddp_repro::attend_native", mutates_args=(), device_types="cpu")
def _attend(value: Tensor, locations: Tensor, weights: Tensor, height: int, width: int) -> Tensor:
    return attend_native(value, locations, weights, (height, width))


@torch.library.custom_op("ddp_repro::attend_native_backward", mutates_args=(), device_types="cpu")
def _differentiate(
    value: Tensor, locations: Tensor, weights: Tensor, gradient: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    return differentiate_native(value, locations, weights, gradient, (height, width))


@_attend.register_fake
def _(value: Tensor, locations: Tensor, weights: Tensor, height: int, width: int) -> Tensor:
    return value.new_empty(value.shape[0], weights.shape[-1], value.shape[2] * value.shape[3])


@_differentiate.register_fake
def _(
    value: Tensor, locations: Tensor, weights: Tensor, gradient: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    return value.new_empty(value.shape), locations.new_empty(locations.shape), weights.new_empty(weights.shape)


def _save(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.shape = inputs[3:]


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    return *_differentiate(*ctx.saved_tensors, gradient, *ctx.shape), None, None


_attend.register_autograd(_backward, setup_context=_save)
