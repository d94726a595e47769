"""Check whether a diffusion model reads its noisy map at all: a claim about diffusion needs one that does.

At each step of a sampling run the decoder is given, in place of the sampler's map, the map of something else, and its
prediction is scored. How a map is made: step i of :meth:`ddp_repro.papers.ddp.model.DDP.sample` tells the decoder a
time and hands it a map whose noise level is the one that step i - 1 went to (with a time difference td > 0 that is less
noise than the time says; the first step starts from noise alone). Here the clean map z₀ is corrupted to this level as
in training, alpha · z₀ + sigma · epsilon, with epsilon the start noise of the sampling run, and the decoder is told the
time of the step. The deterministic sampler does the same with its own prediction as z₀, but for the noise that it
infers from it. So the maps of a step differ in content alone:

- "true": the encoded ground truth;
- "prediction": the sampler's own map, exactly as in sampling;
- "other": the ground truth of the image half a dataset away: the next one may be the next frame of a video;
- "zero": nothing, z₀ = 0;
- "noise": new noise of unit variance, at every level.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ddp_repro.diffusion import draw_noise
from ddp_repro.evaluation.map_use import MAPS, MapUse, score_images
from ddp_repro.evaluation.views import inference_mode
from ddp_repro.networks.shapes import shape_of, tokens_of
from ddp_repro.papers.ddp.diagnostics.scoring import (
    EvaluationImage,
    Scorer,
    noised,
    scorer_of,
    start_of,
    told_and_level,
)
from ddp_repro.papers.ddp.model import DDP
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.checks import check_distinct, check_positive
from ddp_repro.settings.errors import ConfigError
from ddp_repro.tasks.depth.protocols import Protocol


def evaluate_map_use(
    model: DDP,
    dataset: Any,
    *,
    steps: int = 3,
    seeds: Sequence[int] = (0,),
    protocol: Protocol | None = None,
    limit: int | None = None,
    progress: bool = True,
) -> MapUse:
    """Score every map (see the top of this file) at every step of sampling runs over a dataset.

    Images go through the network one by one, and noise belongs to (seed, image).  Under torchrun every process takes a
    share of the images and returns the same result.

    Args:
        dataset: a dataset of the model's task: segmentation, depth or BEV.
        steps: at least 2; the first step sees noise alone.
        protocol: depth only, and needed there.
        limit: first so many images only; at least 2.

    Raises:
        ConfigError: an impossible setting, a model without diffusion, or one that does not fit the dataset.
        DataError: a damaged image.
        RuntimeError: the model's output is not finite.
    """
    task_named(model.config.task).check(model.config, dataset)
    check_positive(limit=limit)
    check_distinct(seeds=tuple(seeds))
    count = min(len(dataset), limit or len(dataset))
    _check_model(model, steps)
    if count < 2:
        raise ConfigError(f"the map of another image needs at least 2 images; got {count}")
    started = time.perf_counter()
    scorer = scorer_of(model, dataset, protocol)
    statistics = score_images(
        model, count, scorer.load, scorer.truth,
        lambda image, other, seed: _score_maps(model, scorer, image, other, steps, seed),
        seeds=seeds, shape=(steps, len(MAPS), *scorer.shape), progress=progress,
    )  # fmt: skip
    schedule = told_and_level(model, steps)
    return MapUse(
        dataset=dataset.name, dataset_fingerprint=dataset.fingerprint(), images=count, seeds=tuple(seeds),
        measure=scorer.measure, times=tuple(told for told, _ in schedule), levels=tuple(level for _, level in schedule),
        statistics=statistics, seconds=time.perf_counter() - started,
    )  # fmt: skip


def map_losses(model: DDP, batch: dict[str, Any], *, steps: int = 3, seed: int = 0) -> dict[str, float]:
    """Return the loss of a batch with each map at the last step of sampling: a cheap watch during training.

    One encoder and four decoder passes.  Nothing of the model, of its mode or of torch's random state is changed.

    Args:
        batch: as for ``model.training_loss``, on the model's device, with at least 2 images.

    Returns:
        The task's loss by map: ``map_true``, ``map_other`` (the next image of the batch), ``map_zero``, ``map_noise``;
        and ``map_effect``, other minus true: positive where the decoder reads its map.

    Raises:
        ConfigError: a model without diffusion, fewer than 2 steps, or a batch of one image.
    """
    _check_model(model, steps)
    told, level = told_and_level(model, steps)[-1]
    with inference_mode(model):
        features = model.encode(batch)
        clean = model.target_map(batch, shape_of(features))
        if len(clean) < 2:
            raise ConfigError("the map of another image needs a batch of at least 2")
        generator = torch.Generator().manual_seed(seed)
        noise, fresh = (draw_noise(clean.shape[1:], len(clean), generator).to(clean) for _ in range(2))
        maps = {"true": clean, "other": clean.roll(-1, 0), "zero": torch.zeros_like(clean)}
        noisy = {kind: noised(model, value, noise, level) for kind, value in maps.items()} | {"noise": fresh}
        losses = {}
        for kind, value in noisy.items():
            parts = model.losses(model.decode(features, value, told), features, batch)
            losses[f"map_{kind}"] = float(parts.get("decode", parts["loss"]))
    return losses | {"map_effect": losses["map_other"] - losses["map_true"]}


def _score_maps(model: DDP, scorer: Scorer, image: EvaluationImage, other: Tensor, steps: int, seed: int) -> Tensor:
    """Score each map at each step; float64 (S, 5, K, 2), or (S, 5) of REL."""
    features = scorer.encode(image)
    shape = shape_of(features)
    noise, generator, fresh = start_of(model, features, image.id, seed)
    run = DDP.sample(model, features=features, steps=steps, noise=noise, generator=generator, return_trajectory=True)
    true = scorer.target(image.truth, shape)
    clean = torch.cat([true, scorer.target(other, shape), torch.zeros_like(true)])  # (3, M, h, w)
    image_part, rows = model.project_features(features), []
    for decoded, (told, level) in zip(run.decoded, told_and_level(model, steps), strict=True):
        noisy = torch.cat([noised(model, clean, noise.expand_as(clean), level), fresh])  # (4, M, h, w)
        # decoded as in sampling, and so equal to it bit for bit where the maps are
        fused = image_part + model.project_map(tokens_of(noisy))  # (4, h·w, D)
        true_, other_, zero, new = model.denoise(fused, shape, torch.full((4,), told, device=features.device))
        outputs = model.finish([torch.stack([true_, decoded[0], other_, zero, new]).float()], False)
        if not outputs.isfinite().all():
            raise RuntimeError(f"the model's output is not finite for image {image.id}; check its weights")
        rows.append(torch.stack([scorer.score(output, image) for output in outputs]))
    return torch.stack(rows).double()


def _check_model(model: DDP, steps: int) -> None:
    if not isinstance(model, DDP):
        raise ConfigError("a model without diffusion has no map to read")
    if steps < 2:
        raise ConfigError(f"the first step reads noise alone: steps must be at least 2; got {steps}")
