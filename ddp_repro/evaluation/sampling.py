"""Sampling runs of one image from different start noise."""

from __future__ import annotations

from collections.abc import Iterator

from ddp_repro.diffusion import image_generator
from ddp_repro.diffusion.trajectory import Trajectory
from ddp_repro.evaluation.views import ViewedImage, model_device
from ddp_repro.protocols.method import Method


def sampling_runs(model: Method, image: ViewedImage, steps: int, noise_samples: int, seed: int) -> Iterator[Trajectory]:
    """Yield runs from different start noise on an image's first view, encoded once; the baseline has one run of one
    step.

    Noise sample j has the noise of seed ``seed + j``.
    """
    features = model.encode({"image": image.views[0][None].to(model_device(model))})
    if not model.has_noise:
        logits = model.sample(features=features)
        yield Trajectory(output=logits, decoded=logits[None], maps=logits.new_empty(0))
        return
    for sample in range(noise_samples):
        generator = [image_generator(seed + sample, image.id)]
        yield model.sample(features=features, steps=steps, generator=generator, return_trajectory=True)
