"""Parameters and multiply-accumulates (MACs), measured live on the meta device: no memory, no data, no weights.

What the paper calls FLOPs are MACs (1 MAC = 2 floating-point operations).  Two conventions are in use there:

* :attr:`Macs.total` counts every convolution, linear layer and matrix product.  Printed for Swin-T and Swin-S, Table 1.
* :attr:`Macs.modules` is the convention of the usual counter of that code family: layers that are modules, with
  normalisation (2 per element), without the products of two activations inside attention.  Printed for Swin-B and
  Swin-L, in Table 2, and for most peers.

Interpolation, softmax, activations and the bilinear reads of deformable attention are in neither.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ddp_repro.papers.ddp import as_published as bench_published
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.model import shape_of, tokens_of
from ddp_repro.settings.recipe import ModelConfig

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


@dataclass(frozen=True)
class Complexity:
    """Cost of one image.

    Attributes:
        parameters: all of the model, with the auxiliary head and the label embedding, as the paper counts.
        map_decoder_parameters: what varies in Table 5d: decoder, time embedding and label embedding.
        encoder: backbone and neck, once per image.
        step: one pass of the map decoder with the fusion layer before it.
        steps: number of passes.
    """

    parameters: int
    map_decoder_parameters: int
    encoder: Macs
    step: Macs
    steps: int

    @property
    def by_kind(self) -> Macs:
        """MACs of one image in ``steps`` passes."""
        return self.encoder + self.step * self.steps

    @property
    def macs(self) -> int:
        """All MACs of one image, :attr:`Macs.total`."""
        return self.by_kind.total


def complexity(config: ModelConfig, image_size: tuple[int, int], steps: int = 1) -> Complexity:
    """Measure a DDP model or its baseline at an image size (height, width); the auxiliary head does not run.

    Counted as published, operation by operation; :meth:`DDP.sample` gets by with less.
    The baseline has one step, whatever ``steps`` is.

    Raises:
        ValueError: an impossible configuration, or steps < 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1; got {steps}")
    return dataclasses.replace(_measure_one_step(config, image_size), steps=steps if config.diffusion else 1)


@cache
def _measure_one_step(config: ModelConfig, image_size: tuple[int, int]) -> Complexity:
    with torch.device("meta"):
        model = build_model(config).eval()
        images = torch.empty(1, 3, *image_size)
        features, encoder = count_macs(bench_published.encode_image, model, images)
        if config.diffusion:
            noisy_map = torch.empty(1, *model.noise_shape(features))
            _, step = count_macs(bench_published.decode, model, features, noisy_map, torch.ones(1))
        else:
            inputs = tokens_of(features), shape_of(features), None
            _, step = count_macs(bench_published.decode_tokens, model.decoder, *inputs)
    return Complexity(count_parameters(model), _map_decoder_parameters(model), encoder, step, steps=1)


def count_parameters(model: nn.Module) -> int:
    """Number of weights, each counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(function: Callable[..., Any], *inputs: Any) -> tuple[Any, Macs]:
    """Call ``function`` without gradients and count the MACs of what ran: (its result, the count)."""
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=_NORMALIZATIONS) as counter:
        result = function(*inputs)
    counts = counter.get_flop_counts().get("Global", {})
    kinds = {"convolution": 0, "linear": 0, "attention": 0, "normalization": 0}
    for operation, flops in counts.items():
        kinds[_KINDS.get(operation, "attention")] += flops // 2
    return result, Macs(**kinds)


def _map_decoder_parameters(model: nn.Module) -> int:
    parts = [model.decoder, getattr(model, "time_embedding", None), getattr(model, "encoding", None)]
    return sum(count_parameters(part) for part in parts if part is not None)


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
