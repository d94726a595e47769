"""Label or depth map, and its uncertainty, of one's own pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image, ImageOps

from ddp_repro.data import transforms
from ddp_repro.data.io import read_image
from ddp_repro.diffusion.trajectory import Trajectory
from ddp_repro.evaluation.sampling import Stage, StagedModel, batch_runs, untold
from ddp_repro.evaluation.views import ViewedImage, inference_mode
from ddp_repro.evaluation.windows import check_window, predict_by_windows
from ddp_repro.networks.primitives import bound_primitives
from ddp_repro.protocols.method import Method
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.checks import check_positive
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import Precision


def predict(
    model: Method,
    image: Image.Image | np.ndarray | Path | str,
    steps: int = 3,
    noise_samples: int = 1,
    *,
    image_scale: tuple[int, int] | None = None,
    window: tuple[int, int] | None = None,
    seed: int = 0,
    precision: Precision = "float32",
    on_stage: Callable[[Stage], None] | None = None,
) -> Any:
    """Segment a picture, or estimate its depth: whatever the model was trained for.

    Args:
        model: a trained DDP or baseline; runs where its weights are.
        image: a path, a PIL picture, or a uint8 array (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4).  Transparency is
            dropped, the EXIF orientation applied.
        steps: decoder passes.
        noise_samples: draws of the start noise whose predictions are averaged.
        image_scale: bounds (long, short) of the size at which the network sees the picture, best those that it was
            trained with (``recipe.data.image_scale``); None: the picture's own size.
        window: (height, width) of the parts in which the network sees a picture of its own size, see
            :mod:`ddp_repro.evaluation.windows`; None: all at once.
        seed: of the noise; the same seed gives the same map.
        precision: of the network. Compiled or channels-last models: see
            :func:`ddp_repro.networks.acceleration.accelerate`.
        on_stage: is told of the encoder and of every step of the first noise sample as they finish: seconds, and the
            prediction so far.

    Raises:
        ConfigError: a BEV model, which sees six cameras at once; fp16 on a CPU; an impossible window, or one whose
            stages are asked for.
        DataError: an unreadable file.
        ValueError: an array or picture of another kind, or a number below one.
    """
    predictor = PicturePredictor(
        model, steps, noise_samples, image_scale=image_scale, window=window, seed=seed, precision=precision
    )
    pixels = _to_rgb(image)
    return (predictor if on_stage is None else predictor.staged(pixels, on_stage)).predict([pixels])[0]


@dataclass(frozen=True)
class PicturePredictor:
    """A model, and how it is asked; the arguments are those of :func:`predict`.

    Raises:
        ConfigError: what :func:`predict` refuses.
        ValueError: a number below one.
    """

    model: Method
    steps: int = 3
    noise_samples: int = 1
    image_scale: tuple[int, int] | None = None
    window: tuple[int, int] | None = None
    seed: int = 0
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        check_positive(steps=self.steps, noise_samples=self.noise_samples)
        task = task_named(self.model.config.task)
        if task.predict is None:
            raise ConfigError(f"{task.not_from_a_picture}; `ddp-repro evaluate` scores it")
        if self.window is not None:
            check_window(self.window, task)
            if self.image_scale is not None:
                raise ConfigError("windows show the picture at its own size: they go without a resolution")
        bound_primitives()  # pictures may be of many sizes

    def input_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) at which the network sees a picture of a size."""
        return transforms.rescaled_size(size, self.image_scale)

    def staged(self, pixels: np.ndarray, on_stage: Callable[[Stage], None]) -> PicturePredictor:
        """Return the same predictor for one picture, uint8 (H, W, 3), which tells of its stages.

        Raises:
            ConfigError: the picture is predicted by windows, each of which has stages.
        """
        if self.window is not None:
            raise ConfigError("stages are those of a whole picture: they go without windows")
        task, prepared = task_named(self.model.config.task), self._prepared(pixels)

        def so_far(run: Trajectory) -> Any:
            assert task.predict is not None  # as __post_init__ has it
            return task.predict(self.model, prepared, [run])

        return dataclasses.replace(self, model=cast(Method, StagedModel(self.model, so_far, on_stage)))

    def predict(self, pictures: Sequence[np.ndarray]) -> list[Any]:
        """Return the predictions of pictures, uint8 (H, W, 3), of one input size; one does not depend on the others.

        Raises:
            ConfigError: fp16 on a CPU.
        """
        with inference_mode(self.model, self.precision):
            if self.window is not None:
                how = (self.steps, self.noise_samples, self.seed)
                return [predict_by_windows(self.model, pixels, self.window, *how) for pixels in pictures]
            return self._at_once([self._prepared(pixels) for pixels in pictures])

    def _prepared(self, pixels: np.ndarray) -> ViewedImage:
        size = transforms.size_of(pixels)
        resized = transforms.resize_image(pixels, self.input_size(size))
        view = torch.from_numpy(transforms.normalize(resized, self.model.mean, self.model.std))
        return ViewedImage("predict", [view], torch.empty(size, device="meta"))

    def _at_once(self, images: Sequence[ViewedImage]) -> list[Any]:
        task = task_named(self.model.config.task)
        runs = batch_runs(self.model, images, self.steps, self.noise_samples, self.seed)
        if len(images) == 1 and task.look_again is None:  # a run after another: they need not all fit into the memory
            return [self._finished(images[0], runs)]
        together = list(runs)
        return [self._finished(image, [run.part(index) for run in together]) for index, image in enumerate(images)]

    def _finished(self, image: ViewedImage, runs: Iterable[Trajectory]) -> Any:
        task = task_named(self.model.config.task)
        assert task.predict is not None  # as __post_init__ has it
        if task.look_again is None:
            return task.predict(self.model, image, runs)
        runs, model = list(runs), untold(self.model)
        prediction = task.predict(self.model, image, runs)
        return task.look_again(model, image, runs, prediction, steps=self.steps, seed=self.seed)


def _to_rgb(image: Image.Image | np.ndarray | Path | str) -> np.ndarray:
    """uint8 (H, W, 3)"""
    if isinstance(image, (str, Path)):
        return read_image(Path(image))
    if isinstance(image, Image.Image):
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"a PIL picture of mode {image.mode} has no agreed range; convert it to mode L or RGB")
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"image must be a path, a PIL picture or a uint8 array; got {kind}")
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or 0 in image.shape:
        raise ValueError(f"an image array has shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); got {image.shape}")
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else np.ascontiguousarray(image[:, :, :3])
