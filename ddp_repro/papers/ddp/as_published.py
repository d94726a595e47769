"""The published formulation, to be timed and counted: what DDP costs when it is computed as it is written.

The pyramid's maps are all resized, then merged by one convolution; the whole fusion layer runs at every step on
features and map; the map is kept and updated at full width; the position encoding is added to every token; attention
samples through ``grid_sample``; losses and labels are read off all class scores at the picture's size.  Nothing is
kept from step to step, and nothing is compiled.  The weights are those of the model, and so are the outputs, to
rounding.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddp_repro.diffusion import corrupt, time_pairs
from ddp_repro.networks.attention.deformable import DeformableAttention, Shape, attention_by
from ddp_repro.networks.decoder import DecoderLayer, MapDecoder
from ddp_repro.networks.neck import Neck
from ddp_repro.networks.shapes import shape_of, tokens_of
from ddp_repro.papers.ddp.model import DDP, Batch, ImageModel


def position_encoding(shape: Shape, channels: int, device: torch.device) -> Tensor:
    """Sine position encoding of every token of an h×w map, (h·w, channels)."""
    ones, half = torch.ones(shape, device=device), channels // 2
    places = [ones.cumsum(axis) for axis in (0, 1)]
    exponent = 2 * (torch.arange(half, device=device) // 2) / half
    halves = []
    for place, length in zip(places, shape, strict=True):
        angle = ((place - 0.5) / (length + 1e-6) * 2 * math.pi)[..., None] / 10000.0**exponent
        halves.append(torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], -1).flatten(2))
    return torch.cat(halves, -1).flatten(0, 1)


def merge(neck: Neck, maps: list[Tensor]) -> Tensor:
    """:meth:`Neck.forward` as published: all levels at the finest one's size, side by side, then one convolution."""
    finest, *coarser = neck.pyramid(maps)
    resized = [F.interpolate(m, size=shape_of(finest), mode="bilinear", align_corners=False) for m in coarser]
    return neck.merge(torch.cat([finest, *resized], dim=1))


def encode_image(model: ImageModel, images: Tensor) -> Tensor:
    """:meth:`DDP.encode_image` as published."""
    return merge(model.neck, model.backbone(images))


def attend(attention: DeformableAttention, tokens: Tensor, position: Tensor, shape: Shape) -> Tensor:
    """Deformable attention by ``grid_sample``, (B, h·w, D) -> (B, h·w, D): its readings are listed, then weighted."""
    (height, width), (batch, count, _), heads, points = shape, tokens.shape, attention.heads, attention.points
    query, split = tokens + position, (batch, count, heads, points)
    y, x = torch.meshgrid(*(torch.arange(n, device=tokens.device) + 0.5 for n in shape), indexing="ij")
    size = torch.tensor([width, height], device=tokens.device)
    centres = (torch.stack([x, y], -1).flatten(0, 1) / size)[None, :, None, None]
    locations = centres + attention.sampling_offsets(query).view(*split, 2) / size
    weights = attention.attention_weights(query).view(split).softmax(-1)
    value = attention.value_proj(tokens).transpose(1, 2).reshape(batch * heads, -1, height, width)
    grid = (2 * locations - 1).transpose(1, 2).flatten(0, 1)
    read = F.grid_sample(value.to(grid.dtype), grid, padding_mode="zeros", align_corners=False)
    listed = torch.stack([read], dim=-2).flatten(-2)  # one entry per level of the map, of which there is one
    read = (listed * weights.transpose(1, 2).reshape(batch * heads, 1, count, points)).sum(-1)
    return attention.output_proj(read.view(batch, -1, count).transpose(1, 2).contiguous())


def decode_layer(layer: DecoderLayer, tokens: Tensor, position: Tensor, shape: Shape, time: Tensor | None) -> Tensor:
    """One decoder layer, operation by operation."""
    tokens = layer.norms[0](tokens + attend(layer.attention, tokens, position, shape))
    first, activation, second = layer.feedforward
    tokens = layer.norms[1](tokens + second(activation(first(tokens))))
    if layer.modulation is None:
        return tokens
    scale, shift = layer.modulation(time)[:, None].chunk(2, dim=-1)
    return tokens * (scale + 1) + shift


def decode(model: DDP, features: Tensor, noisy_map: Tensor, t: Tensor | float) -> Tensor:
    """:meth:`DDP.decode` as published."""
    shape, t = shape_of(features), torch.as_tensor(t, device=features.device).expand(len(features))
    fused = _convolve(model.fusion, torch.cat([features, noisy_map], dim=1))
    time = model.time_embedding(model.noise_level(t)) if model.time_embedding else None
    return decode_tokens(model.decoder, tokens_of(fused), shape, time)


def _convolve(layer: nn.Linear, maps: Tensor) -> Tensor:
    return F.conv2d(maps, layer.weight[:, :, None, None], layer.bias)


def decode_tokens(decoder: MapDecoder, tokens: Tensor, shape: Shape, time: Tensor | None) -> Tensor:
    """Return the decoder on fused tokens (B, h·w, D), or the baseline's on those of the image feature."""
    position = position_encoding(shape, decoder.channels, tokens.device)
    for layer in decoder.layers:
        tokens = decode_layer(cast(DecoderLayer, layer), tokens, position, shape, time)
    return decoder.read_out(tokens, shape)


def step(model: DDP, features: Tensor, noisy_map: Tensor, times: Tensor, extra: dict[str, Tensor]) -> tuple:
    """One step from times[0] to times[1] as published: the next map, and the decoder's output."""
    decoded = decode(model, features, noisy_map, times[0])
    clean = model.clean_map(decoded)
    alpha, sigma = model.schedule.alpha_sigma(times[0])
    if model.config.sampler == "ddpm":
        return model.sampler(noisy_map, clean, *times, model.schedule, **extra), decoded
    noise = (noisy_map - alpha * clean) / sigma.clamp(min=1e-8)
    alpha, sigma = model.schedule.alpha_sigma(times[1])
    return alpha * clean + sigma * noise, decoded


@torch.no_grad()
def sample(
    model: DDP, images: Tensor, steps: int, noise: Tensor, average_steps: bool = False, step_noise: list | None = None
) -> Tensor:
    """:meth:`DDP.sample` as published, without the update after the last step, which nothing reads.

    Args:
        noise: start noise (B, M, h, w).
        step_noise: the ancestral sampler's noise of each step.
    """
    with attention_by("reference"):
        features, noisy, decoded = encode_image(model, images), noise, []
        for index, pair in enumerate(time_pairs(steps, model.config.time_difference)):
            times = torch.tensor(pair, device=noise.device)
            if index == steps - 1:
                decoded.append(decode(model, features, noisy, times[0]))
            else:
                extra = {"noise": step_noise[index]} if step_noise and model.config.sampler == "ddpm" else {}
                noisy, output = step(model, features, noisy, times, extra)
                decoded.append(output)
        return model.finish(decoded, average_steps)


def to_labels(images: Tensor, output: Tensor) -> Tensor:
    """Return a map at the decoder's resolution -> classes, or metres, at the image's."""
    whole = F.interpolate(output, size=images.shape[-2:], mode="bilinear", align_corners=False)
    return whole.argmax(1) if whole.shape[1] > 1 else whole[:, 0]


def training_loss(model: DDP, batch: Batch, t: Tensor, noise: Tensor) -> dict[str, Tensor]:
    """:meth:`DDP.training_loss` as published."""
    with attention_by("reference"):
        features = encode_image(model, batch["image"])
        clean = model.target_map(batch, shape_of(features))
        prediction = decode(model, features, corrupt(clean, noise, t, model.schedule), t)
        return model.losses(prediction, features, batch)
