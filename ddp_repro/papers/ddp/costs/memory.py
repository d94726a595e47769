"""Peak memory of sampling and training, each by itself, above what the idle model takes there."""

from __future__ import annotations

from contextlib import nullcontext

import torch

from ddp_repro.costs.dtypes import autocast_to
from ddp_repro.costs.memory import apart, peak_so_far, reset_peak
from ddp_repro.networks.attention.deformable import attention_by
from ddp_repro.papers.ddp import as_published as published
from ddp_repro.papers.ddp.costs.bench import (
    Setting,
    initial_model,
    random_batch,
    to_labels,
)
from ddp_repro.papers.ddp.costs.training_step import training_step
from ddp_repro.papers.ddp.settings import ModelConfig


def peak_memory(config: ModelConfig, setting: Setting) -> dict[str, int]:
    """Bytes at the peak of sampling with the most steps, and of a training step, by the timings' names."""
    names = [f"{max(setting.steps)} steps", *(["training"] if setting.training else [])]
    found = {}
    for name in names:
        for suffix in ("", ", published") if setting.published else ("",):
            arguments = (config, setting, name == "training", bool(suffix))
            found[name + suffix] = apart(setting.device, _peak, *arguments)
    return found


def _peak(config: ModelConfig, setting: Setting, training: bool, as_published: bool) -> int:
    model, device = initial_model(config, setting.device), torch.device(setting.device)
    setting.accelerate(model)
    batch = random_batch(model, setting)
    images = batch["image"]
    height, width = (-(-n // model.stride) for n in setting.size)
    noise = torch.randn(setting.batch, model.map_channels, height, width, device=device)
    in_dtype = nullcontext() if as_published else autocast_to(setting.dtype, setting.device)
    with attention_by(setting.backend) if setting.backend else nullcontext(), in_dtype:

        def run() -> None:
            steps = max(setting.steps)
            if training:
                training_step(model, batch, noise, as_published)
            elif as_published:
                extra = [noise] * max(setting.steps)
                published.to_labels(
                    images, published.sample(model, images, max(setting.steps), noise, step_noise=extra)
                )
            else:
                to_labels(model, images, model.sample(images, steps, noise, average_steps=False))

        if setting.compile != "off":
            run()  # the compiler takes memory of its own
        before = reset_peak(device)
        run()
    return peak_so_far(device) - before
