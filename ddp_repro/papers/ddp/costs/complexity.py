"""Parameters and multiply-accumulates of DDP and its baseline, as published: on the meta device, without weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from ddp_repro.costs.agreement import agree_macs
from ddp_repro.costs.macs import Macs, count_macs, count_parameters
from ddp_repro.networks.shapes import shape_of, tokens_of
from ddp_repro.papers.ddp import as_published as bench_published
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.model import DDP
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.workbook.tables.counts import Count


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
        if isinstance(model, DDP):
            noisy_map = torch.empty(1, *model.noise_shape(features))
            _, step = count_macs(bench_published.decode, model, features, noisy_map, torch.ones(1))
        else:
            inputs = tokens_of(features), shape_of(features), None
            _, step = count_macs(bench_published.decode_tokens, model.decoder, *inputs)
    return Complexity(count_parameters(model), _map_decoder_parameters(model), encoder, step, steps=1)


def explain_macs(
    printed: float, config: ModelConfig, image_size: tuple[int, int], steps: int, decimals: int = 0
) -> str:
    """Verdict on a DDP row; a Swin model that is not equal is tried with windows of 7, too.

    The released ADE20K Swin-B has windows of 12, the cost that the paper prints for it is that of windows of 7.
    """
    verdict = agree_macs(printed, complexity(config, image_size, steps).by_kind, decimals)
    if verdict.startswith("equal") or config.window_size in (None, 7):
        return verdict
    other = complexity(dataclasses.replace(config, window_size=7), image_size, steps).by_kind
    return f"{verdict}; with windows of 7 instead of {config.window_size}, {agree_macs(printed, other, decimals)}"


def count_ours(model: ModelConfig, image_size: tuple[int, int], steps: int, printed: float | None = None) -> Count:
    """Count one of our models at (height, width); ``printed`` is the paper's FLOPs in giga, if it prints them."""
    counted = complexity(model, image_size, steps)
    values = {
        "parameters": counted.parameters / 1e6,
        "decoder_parameters": counted.map_decoder_parameters / 1e6,
        "flops": counted.macs / 1e9,
        "modules": counted.by_kind.modules / 1e9,
    }
    if printed is None:
        return Count(values)
    verdict = explain_macs(printed, model, image_size, steps)
    short, _, why = verdict.partition(";")
    return Count(values, short, why and f"FLOPs: {verdict}")


def _map_decoder_parameters(model: nn.Module) -> int:
    parts = [model.decoder, getattr(model, "time_embedding", None), getattr(model, "encoding", None)]
    return sum(count_parameters(part) for part in parts if part is not None)
