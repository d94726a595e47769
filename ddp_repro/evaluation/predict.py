"""Label or depth map, and its uncertainty, of one's own picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from ddp_repro.data import transforms
from ddp_repro.data.io import read_image
from ddp_repro.diffusion.trajectory import Trajectory
from ddp_repro.diffusion.uncertainty import change_count, depth_spread, predictive_entropy
from ddp_repro.evaluation.views import ViewedImage, best_class, gives_probabilities, inference_mode, to_image_size
from ddp_repro.settings.checks import check_positive
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import Precision
from ddp_repro.tasks.segmentation.uncertainty import sampling_runs


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What :func:`predict` returns of a segmentation model, as numpy arrays.

    Attributes:
        labels: int64 (H, W), class of every pixel of the picture.
        uncertainty: float32 (H, W) in [0, 1]: the paper's change count (Figure 3c), or the entropy where there are no
            steps to compare (a single step, the non-diffusion baseline).
        uncertainty_score: which of the two it is, "change_count" or "entropy".
        entropy: float32 (H, W) in [0, 1], normalised entropy of the averaged prediction.
        probabilities: float32 (K, h, w), averaged over steps and noise samples, at the decoder's resolution (a quarter
            of the network's input: at the picture's own size, many classes would fill the memory).
    """

    labels: np.ndarray
    uncertainty: np.ndarray
    uncertainty_score: str
    entropy: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True, kw_only=True)
class DepthPrediction:
    """What :func:`predict` returns of a depth model, as numpy arrays of the picture's size.

    Attributes:
        depth: float32 (H, W), metres.
        uncertainty: float32 (H, W), metres: ``sample_spread`` if there are several noise samples, else
            ``step_spread``; None where there is neither (a single step, the non-diffusion baseline).
        uncertainty_score: which of the two it is.
        step_spread: standard deviation over the steps, mean over the noise samples; None for a single step.
        sample_spread: standard deviation over the noise samples; None for a single one.
    """

    depth: np.ndarray
    uncertainty: np.ndarray | None
    uncertainty_score: str | None
    step_spread: np.ndarray | None
    sample_spread: np.ndarray | None


def predict(
    model: nn.Module,
    image: Image.Image | np.ndarray | Path | str,
    steps: int = 3,
    noise_samples: int = 1,
    *,
    image_scale: tuple[int, int] | None = None,
    seed: int = 0,
    precision: Precision = "float32",
) -> Prediction | DepthPrediction:
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
        precision: of the network.  Compiled or channels-last models: see :func:`ddp_repro.networks.acceleration.accelerate`.

    Raises:
        ConfigError: a BEV model, which sees six cameras at once; or fp16 on a CPU.
        DataError: an unreadable file.
        ValueError: an array or picture of another kind, or a number below one.
    """
    check_positive(steps=steps, noise_samples=noise_samples)
    if model.config.task == "bev":
        raise ConfigError("a BEV model sees six cameras at once; `ddp-repro evaluate` scores it on nuScenes")
    picture = _to_rgb(image)
    size = picture.shape[:2]
    input_size = transforms.rescaled_size(size, image_scale) if image_scale else size
    pixels = torch.from_numpy(transforms.normalize(transforms.resize_image(picture, input_size), model.mean, model.std))
    prepared = ViewedImage("predict", [pixels], torch.empty(size))
    predict_map = {"segmentation": _segment, "depth": _estimate_depth}[model.config.task]
    with inference_mode(model, precision):
        return predict_map(model, prepared, steps, noise_samples, seed)


def _segment(model: nn.Module, image: ViewedImage, steps: int, noise_samples: int, seed: int) -> Prediction:
    input_size, size = tuple(image.views[0].shape[-2:]), tuple(image.truth.shape)
    changes, average, score = _average_runs(model, image, steps, noise_samples, seed)
    counted = model.config.diffusion and steps > 1
    entropy = _resized(predictive_entropy(average[None, None])[0], input_size, size)
    return Prediction(
        labels=best_class(score, input_size, size)[1].cpu().numpy(),
        uncertainty=_resized(changes, input_size, size) if counted else entropy,
        uncertainty_score="change_count" if counted else "entropy",
        entropy=entropy,
        probabilities=average.cpu().numpy(),
    )


def _estimate_depth(model: nn.Module, image: ViewedImage, steps: int, noise_samples: int, seed: int) -> DepthPrediction:
    input_size, size = tuple(image.views[0].shape[-2:]), tuple(image.truth.shape)
    runs = [*sampling_runs(model, image, steps, noise_samples, seed)]
    outputs = torch.stack([run.output for run in runs])
    spreads: dict[str, np.ndarray] = {}
    if steps > 1 and model.config.diffusion:
        of_steps = torch.stack([depth_spread(step_depths(model, run)) for run in runs]).mean(0)
        spreads["step_spread"] = _resized(of_steps[0], input_size, size)
    if len(runs) > 1:
        spreads["sample_spread"] = _resized(depth_spread(outputs)[0], input_size, size)
    shown = next(reversed(spreads), None)
    return DepthPrediction(
        depth=_resized(outputs.mean(0)[0, 0], input_size, size),
        uncertainty=spreads.get(shown),
        uncertainty_score=shown,
        step_spread=spreads.get("step_spread"),
        sample_spread=spreads.get("sample_spread"),
    )


def step_depths(model: nn.Module, run: Trajectory) -> Tensor:
    """The depth that each step would have returned, (S, B, 1, h, w) in metres."""
    return torch.stack([model.finish([each], average_steps=False) for each in run.decoded])


def _average_runs(
    model: nn.Module, image: ViewedImage, steps: int, noise_samples: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Means over noise samples: change count (h, w), step-averaged softmax (K, h, w), score of the labels (K, h, w)."""
    changes, averages, outputs = [], [], []
    for run in sampling_runs(model, image, steps, noise_samples, seed):
        changes.append(change_count(run.predictions)[0])
        averages.append(run.probabilities.mean(0)[0])
        outputs.append(run.output[0])
    if len(outputs) > 1 and not gives_probabilities(model):
        outputs = [output.softmax(0) for output in outputs]
    return torch.stack(changes).mean(0), torch.stack(averages).mean(0), torch.stack(outputs).mean(0)


def _resized(score: Tensor, input_size: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    return to_image_size(score[None, None], input_size, size)[0, 0].cpu().numpy()


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
