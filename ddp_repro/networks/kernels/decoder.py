"""The decoder's layers on a CPU: the computation of :class:`ddp_repro.networks.decoder.DecoderLayer`, by blocks of
rows.

Only the value of the attention is made for the whole map, so that a layer may overwrite its input as it goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ddp_repro.networks.kernels import bf16
from ddp_repro.networks.kernels import layers as native_layers
from ddp_repro.networks.kernels.attention import MAX_HEAD_WIDTH, MAX_POINTS, attend_rows
from ddp_repro.networks.kernels.bf16 import weight_in
from ddp_repro.networks.kernels.layers import add_norm, bias_gelu_, blocks, project_tokens
from ddp_repro.networks.kernels.products import multiply
from ddp_repro.networks.precision import full_precision

if TYPE_CHECKING:
    from ddp_repro.networks.attention.deformable import Lines, Shape


def can_run(layers: nn.ModuleList, tokens: Tensor) -> bool:
    """Whether :func:`run` may be used for these layers and tokens."""
    attentions = [layer.attention for layer in _typed(layers)]
    if bf16.wanted() and any(a.value_proj.out_features > a.heads * MAX_HEAD_WIDTH for a in attentions):
        return False
    return native_layers.can_run(layers, tokens) and all(a.points <= MAX_POINTS for a in attentions)


def run(layers: nn.ModuleList, tokens: Tensor, lines: Lines, shape: Shape, time: Tensor | None) -> Tensor:
    """Tokens (B, h·w, D), position encoding of rows and columns, time (B, 4·D) -> (B, h·w, D).

    The result is in float32, or in bf16 where :func:`ddp_repro.networks.kernels.bf16.wanted` says so.
    """
    tokens = tokens.to(native_layers.working_dtype()).contiguous()
    output, space = torch.empty_like(tokens), _Workspace(tokens)
    time = None if time is None else time.float()  # a caller's autocast may have made it bf16
    with full_precision(tokens.device):
        for layer in _typed(layers):
            modulation = None if layer.modulation is None else layer.modulation(time).chunk(2, dim=-1)
            for image, (own, place) in enumerate(zip(tokens, output, strict=True)):
                _run_layer(layer, own, place, lines, shape, _last_norm(layer, modulation, image), space)
            tokens = output
    return output


def _typed(layers: nn.ModuleList) -> list[Any]:
    """Return the :class:`ddp_repro.networks.decoder.DecoderLayer` objects of a list, whose module imports this one."""
    return [*layers]


class _Workspace:
    """Results that the next ones overwrite: memory that the system has just handed out is slow to write to."""

    def __init__(self, tokens: Tensor) -> None:
        self.value = torch.empty_like(tokens[0])
        self.attended, self.hidden, self.total = (tokens.new_empty(0) for _ in range(3))


def _last_norm(layer: Any, modulation: tuple[Tensor, Tensor] | None, image: int) -> tuple[Tensor, Tensor]:
    """Gain and shift (D,) of the second norm and the modulation by the time in one."""
    gain, shift = layer.norms[1].weight, layer.norms[1].bias
    if modulation is None:
        return gain, shift
    scale = modulation[0][image] + 1
    return gain * scale, torch.addcmul(modulation[1][image], shift, scale)


def _run_layer(
    layer: Any,
    tokens: Tensor,
    result: Tensor,
    lines: Lines,
    shape: Shape,
    last_norm: tuple[Tensor, Tensor],
    space: _Workspace,
) -> None:
    """One layer over one image's tokens (h·w, D), into ``result``, which may be the tokens."""
    attention, (norm, last) = layer.attention, layer.norms
    output, first, second = attention.output_proj, layer.feedforward[0], layer.feedforward[2]
    project, widen, narrow = (weight_in(tokens.dtype, part.weight) for part in (output, first, second))
    split, width = (3, attention.heads, attention.points), shape[1]
    weight, of_rows, of_columns = attention.query(lines)
    weight = weight.to(tokens.dtype)
    of_rows, of_columns = of_rows.unflatten(0, split), of_columns.unflatten(0, split)
    value = project_tokens(tokens, attention.value_proj, space.value).unflatten(-1, (attention.heads, -1))
    for rows in blocks(shape[0], width):
        own = tokens[rows.start * width : rows.stop * width]
        query = multiply(weight, own).unflatten(0, split)
        read = attend_rows(value, query, of_rows, of_columns, rows, shape)
        attended = multiply(read, project, space.attended)
        add_norm(attended, output.bias, own, norm.weight, norm.bias, norm.eps, output=attended)
        hidden = bias_gelu_(multiply(attended, widen, space.hidden), first.bias)
        total = multiply(hidden, narrow, space.total)
        place = result[rows.start * width : rows.stop * width]
        add_norm(total, second.bias, attended, *last_norm, last.eps, output=place)
