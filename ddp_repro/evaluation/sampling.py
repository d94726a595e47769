"""Sampling runs of images from different start noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from ddp_repro.diffusion import image_generator
from ddp_repro.diffusion.trajectory import Trajectory
from ddp_repro.evaluation.views import ViewedImage, model_device
from ddp_repro.protocols.method import Method


def sampling_runs(model: Method, image: ViewedImage, steps: int, noise_samples: int, seed: int) -> Iterator[Trajectory]:
    """Yield runs from different start noise on an image's first view, encoded once; the baseline has one run of one
    step.

    Noise sample j has the noise of seed ``seed + j``.
    """
    return batch_runs(model, [image], steps, noise_samples, seed)


def batch_runs(
    model: Method, images: Sequence[ViewedImage], steps: int, noise_samples: int, seed: int
) -> Iterator[Trajectory]:
    """Yield runs of a batch, as :func:`sampling_runs` does of one image: noise belongs to image and seed.

    Args:
        images: of one input size.
    """
    inputs = torch.stack([image.views[0] for image in images]).to(model_device(model))
    features = model.encode({"image": inputs})
    if not model.has_noise:
        logits = model.sample(features=features)
        yield Trajectory(output=logits, decoded=logits[None], maps=logits.new_empty(0))
        return
    for sample in range(noise_samples):
        generators = [image_generator(seed + sample, image.id) for image in images]
        yield model.sample(features=features, steps=steps, generator=generators, return_trajectory=True)
