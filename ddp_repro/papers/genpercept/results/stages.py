"""What the two stages before fine-tuning are worth: the VAE's floor under all scores, and whether the U-Net denoises."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ddp_repro.papers.genpercept import pretraining
from ddp_repro.papers.genpercept.labels import label_of
from ddp_repro.papers.genpercept.method import GenPerceptMethod, denoising_error
from ddp_repro.papers.genpercept.settings import SINGLE_CHANNEL, ModelConfig
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.recipe import Recipe
from ddp_repro.store.atomic import write_atomically
from ddp_repro.store.paths import run_folder
from ddp_repro.workbook.catalogue import recipe as named_recipe
from ddp_repro.workbook.runs.analyses import Analysis, analyse_stage
from ddp_repro.workbook.runs.run import evaluation_dataset

LEVELS = (1, 100, 250, 500, 750, 999)  # timesteps at which the error of v is taken
SAMPLES, SAMPLING_STEPS, SEED = 8, 50, 0
SAMPLES_FILE = "samples.png"


def vae_floor(output: str | Path = "results") -> Analysis:
    """Score the VAE's decoding of encoded true maps of the test pictures: no fine-tuning can be much better.

    The result holds, for "depth" and "normals", the scores of their tasks; for "pictures", the mean absolute error in
    [-1, 1] and the standard deviation of the latents.
    """
    tuned = [named_recipe(pretraining.name_of(task, "scratch", pretraining.VARIED), "small")
             for task in pretraining.TASKS]  # fmt: skip
    sets = {recipe.data.dataset: evaluation_dataset(recipe, recipe.model.small().build()) for recipe in tuned}

    def measure(model: GenPerceptMethod, dataset: Any) -> dict[str, Any]:
        names = zip(pretraining.TASKS, tuned, sets.values(), strict=True)
        return {task: _carried(model, recipe, images) for task, recipe, images in names} | {
            "pictures": _pictures(model, dataset)
        }

    settings = {"sets": {name: images.fingerprint() for name, images in sets.items()}}
    return analyse_stage("floor", _on_test_pictures(pretraining.VAE), settings, measure, output)


def denoising_check(output: str | Path = "results") -> Analysis:
    """Measure the U-Net's error of v on noised test pictures, and sample pictures from noise.

    Beside it stand the error of predicting 0, and that of the best prediction from each position's own value, mean and
    variance (of these very pictures), which needs no network.
    """

    def measure(model: GenPerceptMethod, dataset: Any) -> dict[str, Any]:
        write_atomically(run_folder(output, "small", pretraining.DIFFUSION) / SAMPLES_FILE, _samples(model))
        return {"levels": _levels(model, _latents(model, dataset)), "files": [SAMPLES_FILE]}

    settings = {"levels": list(LEVELS), "samples": SAMPLES, "steps": SAMPLING_STEPS, "seed": SEED}
    return analyse_stage("denoising", _on_test_pictures(pretraining.DIFFUSION), settings, measure, output)


def _on_test_pictures(stage: str) -> Recipe:
    """Return a stage with the test pictures of the depth fine-tunings in place of its own data."""
    tuned = named_recipe(pretraining.name_of("depth", "scratch", pretraining.VARIED), "small")
    return dataclasses.replace(named_recipe(stage, "small"), data=tuned.data)


@torch.no_grad()
def _carried(model: GenPerceptMethod, recipe: Recipe, dataset: Any) -> dict[str, Any]:
    """Return the scores of the true maps of a test set after encoding and decoding."""
    config, task = cast(ModelConfig, recipe.model), task_named(recipe.model.task)
    tally = task.tally(config, recipe.evaluation)
    for index in range(len(dataset)):
        truth = torch.as_tensor(dataset.load(index)[1])
        label = label_of({dataset.truth: truth[None]}, config).values.expand(-1, 3, -1, -1)
        decoded = cast(Any, model.vae).decode(model.latent(label) / model.config.scaling_factor).sample[0].clamp(-1, 1)
        single = config.task in SINGLE_CHANNEL
        values = (decoded.mean(0) + 1) / 2 if single else F.normalize(decoded, dim=0)
        tally.add({name: np.asarray(each)[None] for name, each in tally.image_statistics(values, truth).items()})
    return dataclasses.asdict(task.score(1, None, tally))


def _images(dataset: Any) -> Tensor:
    """Return the pictures of a test set, (N, 3, H, W) in [-1, 1]."""
    pictures = [torch.as_tensor(dataset.load(index)[0].copy()).permute(2, 0, 1) for index in range(len(dataset))]
    return torch.stack(pictures).float() / 127.5 - 1


@torch.no_grad()
def _latents(model: GenPerceptMethod, dataset: Any) -> Tensor:
    return torch.cat([model.latent(batch) for batch in _images(dataset).split(10)])


@torch.no_grad()
def _pictures(model: GenPerceptMethod, dataset: Any) -> dict[str, float]:
    images, latents = _images(dataset), _latents(model, dataset)
    factor = model.config.scaling_factor
    decoded = torch.cat([cast(Any, model.vae).decode(batch / factor).sample for batch in latents.split(10)])
    error = (decoded.clamp(-1, 1) - images).abs().mean()
    return {"error": float(error), "latent_deviation": float(latents.std() / factor)}


@torch.no_grad()
def _levels(model: GenPerceptMethod, latents: Tensor) -> list[dict[str, float]]:
    """Return the mean squared error of v by timestep: of the U-Net, of 0, and of the best guess position by position."""
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(SEED))
    mean, variance = latents.mean(0, keepdim=True), latents.var(0, keepdim=True)
    rows = []
    for t in LEVELS:
        errors = [denoising_error(model, z, e, torch.full((len(z),), t)).mean((1, 2, 3))
                  for z, e in zip(latents.split(10), noise.split(10), strict=True)]  # fmt: skip
        target = model.schedule.velocity(latents, noise, t)
        signal, sigma = model.schedule.amplitudes(t, latents)
        blended = model.schedule.blend(latents, noise, t)
        gain = signal * variance / (signal**2 * variance + sigma**2)
        label = mean + gain * (blended - signal * mean)
        guess = signal * (blended - signal * label) / sigma - sigma * label
        rows.append({
            "t": t, "unet": float(torch.cat(errors).mean()), "zero": float(target.square().mean()),
            "position": float((guess - target).square().mean()),
        })  # fmt: skip
    return rows


@torch.no_grad()
def _samples(model: GenPerceptMethod) -> bytes:
    """Return pictures sampled from Gaussian noise, side by side as a PNG."""
    height, width = (size // model.factor for size in (64, 80))
    latent = torch.randn(SAMPLES, 4, height, width, generator=torch.Generator().manual_seed(SEED))
    for t in model.schedule.timesteps(SAMPLING_STEPS, "trailing"):
        label, latent = model.schedule.step(latent, model.velocity(latent, latent, t), t, SAMPLING_STEPS)
    decoded = cast(Any, model.vae).decode(label / model.config.scaling_factor).sample.clamp(-1, 1)
    pictures = ((decoded + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    file = io.BytesIO()
    Image.fromarray(np.concatenate(list(pictures), axis=1)).save(file, "PNG")
    return file.getvalue()
