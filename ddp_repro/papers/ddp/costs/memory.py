"""Peak memory of sampling and training, each in a process of its own, above what the idle model takes there."""

from __future__ import annotations

import multiprocessing
import resource
import sys
from contextlib import nullcontext
from pathlib import Path

import torch

from ddp_repro.networks.attention.deformable import attention_by
from ddp_repro.papers.ddp import as_published as published
from ddp_repro.papers.ddp.costs.bench import Setting, initial_model, random_batch, to_labels, training_step
from ddp_repro.papers.ddp.settings import ModelConfig

STATUS = Path("/proc/self/status")


def peak_memory(config: ModelConfig, setting: Setting) -> dict[str, int]:
    """Bytes at the peak of sampling with the most steps, and of a training step, by the timings' names."""
    names = [f"{max(setting.steps)} steps", *(["training"] if setting.training else [])]
    found = {}
    for name in names:
        for suffix in ("", ", published") if setting.published else ("",):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found[name + suffix] = pool.apply(_peak, (config, setting, name == "training", bool(suffix)))
    return found


def _peak(config: ModelConfig, setting: Setting, training: bool, as_published: bool) -> int:
    model, device = initial_model(config, setting.device), torch.device(setting.device)
    setting.accelerate(model)
    batch = random_batch(model, setting)
    images = batch["image"]
    height, width = (-(-n // model.stride) for n in setting.size)
    noise = torch.randn(setting.batch, model.map_channels, height, width, device=device)
    with attention_by(setting.backend) if setting.backend else nullcontext():

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


def reset_peak(device: torch.device) -> int:
    """Bytes in use now; forgets the peak of what came before where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    if not STATUS.is_file():
        return peak_so_far(device)
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    return _status("VmRSS")


def peak_so_far(device: torch.device) -> int:
    """Return the most bytes in use at once, since the last reset where the system can reset it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if STATUS.is_file():
        return _status("VmHWM")  # unlike getrusage's, not that of the process which started this one
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _status(field: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])
