"""Label or depth map, and its uncertainty, of one's own picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from ddp_repro.data import transforms
from ddp_repro.data.io import read_image
from ddp_repro.evaluation.views import ViewedImage, inference_mode
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
    seed: int = 0,
    precision: Precision = "float32",
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
        seed: of the noise; the same seed gives the same map.
        precision: of the network. Compiled or channels-last models: see
            :func:`ddp_repro.networks.acceleration.accelerate`.

    Raises:
        ConfigError: a BEV model, which sees six cameras at once; or fp16 on a CPU.
        DataError: an unreadable file.
        ValueError: an array or picture of another kind, or a number below one.
    """
    check_positive(steps=steps, noise_samples=noise_samples)
    task = task_named(model.config.task)
    if task.predict is None:
        raise ConfigError(f"{task.not_from_a_picture}; `ddp-repro evaluate` scores it")
    picture = _to_rgb(image)
    size = transforms.size_of(picture)
    input_size = transforms.rescaled_size(size, image_scale) if image_scale else size
    pixels = torch.from_numpy(transforms.normalize(transforms.resize_image(picture, input_size), model.mean, model.std))
    prepared = ViewedImage("predict", [pixels], torch.empty(size))
    with inference_mode(model, precision):
        return task.predict(model, prepared, steps, noise_samples, seed)


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
