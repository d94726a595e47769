"""Sampling runs of images from different start noise, and a look at the first of them while it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ddp_repro.diffusion import image_generator
from ddp_repro.diffusion.trajectory import Trajectory
from ddp_repro.evaluation.views import ViewedImage, model_device, refuse_not_finite
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

    Raises:
        RuntimeError: the model's output is not finite.
    """
    inputs = torch.stack([image.views[0] for image in images]).to(model_device(model))
    features = model.encode({"image": inputs})
    if not model.has_noise:
        run = _of_one_step(model.sample(features=features))
        refuse_not_finite(run.output, images)
        yield run
        return
    for sample in range(noise_samples):
        generators = [image_generator(seed + sample, image.id) for image in images]
        run = model.sample(features=features, steps=steps, generator=generators, return_trajectory=True)
        refuse_not_finite(run.output, images)
        yield run


@dataclass(frozen=True)
class Stage:
    """A finished part of a prediction.

    Attributes:
        name: ``encoder``, ``step 1``, ``step 2``, …
        seconds: that this part took, on the wall.
        prediction: what there is after it; None after the encoder.
    """

    name: str
    seconds: float
    prediction: Any = None


class StagedModel:
    """A model that tells of its encoder and of the steps of its first run; otherwise as the model itself.

    Args:
        predict: the prediction of a run, as far as it has come.
        on_stage: is told; its own time is not counted.
    """

    def __init__(self, model: Method, predict: Callable[[Trajectory], Any], on_stage: Callable[[Stage], None]) -> None:
        self._model, self._predict, self._on_stage = model, predict, on_stage
        self._first_run, self._started = True, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, batch: dict[str, Tensor]) -> Any:
        """Return what the model's ``encode`` returns."""
        self._started = time.perf_counter()
        features = self._model.encode(batch)
        self._on_stage(Stage("encoder", self._lap()))
        return features

    def sample(self, *, return_trajectory: bool = False, **options: Any) -> Any:
        """Return what the model's ``sample`` returns."""
        on_step = self._step if self._first_run else None
        self._first_run, self._started = False, time.perf_counter()
        if self._model.has_steps:
            run = self._model.sample(**options, return_trajectory=True, on_step=on_step)
        else:
            run = _of_one_step(self._model.sample(**options))
            if on_step:
                on_step(run)
        return run if return_trajectory else run.output

    def _step(self, run: Trajectory) -> None:
        seconds = self._lap()
        self._on_stage(Stage(f"step {len(run.decoded)}", seconds, self._predict(run)))
        self._started = time.perf_counter()

    def _lap(self) -> float:
        if model_device(self._model).type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - self._started


def untold(model: Method | StagedModel) -> Method:
    """Return the model itself, which tells of nothing."""
    return model._model if isinstance(model, StagedModel) else model


def _of_one_step(output: Tensor) -> Trajectory:
    return Trajectory(output=output, decoded=output[None], maps=output.new_empty(0))
