"""A few images with every step's depth, kept beside the record so that Figures 8 and 9 need no model."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ddp_repro.data.transforms import resize_image
from ddp_repro.evaluation.sampling import sampling_runs
from ddp_repro.evaluation.views import View, inference_mode, view_image
from ddp_repro.protocols.method import Method
from ddp_repro.settings.recipe import Recipe
from ddp_repro.store.atomic import write_atomically
from ddp_repro.tasks.depth.dataset import DepthDataset
from ddp_repro.tasks.depth.predict import step_depths
from ddp_repro.tasks.depth.view_spread import view_spreads
from ddp_repro.workbook.runs.records import RecordError

FILE = "depth_samples.npz"
IMAGES = 3
STEPS = 10
SPREAD_STEPS = 3
LONGEST_SIDE = 640


@dataclass(frozen=True)
class DepthSample:
    """What the figures draw of one image; depths in metres.

    Attributes:
        image: uint8 (H, W, 3), at most 640 pixels long.
        truth: (H, W), 0 = no measurement; where the picture was made smaller, the nearest of the measurements.
        depths: (S, h, w) after each of ten steps, at the decoder's resolution.
        spread: (h, w) standard deviation over views of the picture, three steps each.
    """

    image_id: str
    image: np.ndarray
    truth: np.ndarray
    depths: np.ndarray
    spread: np.ndarray


def save_depth_samples(model: Method, dataset: DepthDataset, recipe: Recipe, path: Path) -> None:
    """Sample :data:`IMAGES` images, evenly spaced over the split, and write what Figures 8 and 9 show of them.

    The non-diffusion baseline has no steps; nothing is written for it.
    """
    if not recipe.model.diffusion:
        return
    count = min(len(dataset), recipe.evaluation.limit or len(dataset))
    indices = sorted({round(i) for i in np.linspace(0, count - 1, IMAGES)})
    arrays: dict[str, np.ndarray] = {}
    with inference_mode(model):
        for number, index in enumerate(indices):
            arrays |= {f"{name}_{number}": array for name, array in _sample(model, dataset, index, recipe).items()}
    facts = json.dumps({"ids": [dataset.ids[index] for index in indices]}).encode()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, facts=np.frombuffer(facts, dtype=np.uint8), **arrays)
    write_atomically(path, buffer.getvalue())


def load_depth_samples(path: Path) -> list[DepthSample]:
    """Read what :func:`save_depth_samples` wrote; no code in the file is run.

    Raises:
        RecordError: not such a file.
        FileNotFoundError: there is none (the baseline has none).
    """
    names = ("image", "truth", "depths", "spread")
    try:
        with np.load(path, allow_pickle=False) as content:
            ids = json.loads(content["facts"].tobytes())["ids"]
            return [DepthSample(name, *(content[f"{key}_{i}"] for key in names)) for i, name in enumerate(ids)]
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; run the recipe again to write it") from None
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RecordError(f"{path} holds no depth samples ({error}); delete it and run the recipe again") from None


def shrink_truth(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the nearest measurement of every cell, so that the points of a sparse map survive; (H, W) -> ``size``."""
    rows = np.arange(depth.shape[0]) * size[0] // depth.shape[0]
    columns = np.arange(depth.shape[1]) * size[1] // depth.shape[1]
    nearest = np.full(size, np.inf, dtype=np.float32)
    np.minimum.at(nearest, (rows[:, None], columns[None, :]), np.where(depth > 0, depth, np.inf))
    return np.where(np.isfinite(nearest), nearest, 0).astype(np.float32)


def _sample(model: Method, dataset: DepthDataset, index: int, recipe: Recipe) -> dict[str, np.ndarray]:
    view, seed = view_image(dataset, index, [View()]), recipe.evaluation.seeds[0]
    picture, truth = dataset.load(index)
    scale = min(1.0, LONGEST_SIDE / max(truth.shape))
    size = round(truth.shape[0] * scale), round(truth.shape[1] * scale)
    (run,) = sampling_runs(model, view, STEPS, 1, seed)
    depths = step_depths(model, run)  # (S, 1, 1, h, w)
    (shown,) = sampling_runs(model, view, SPREAD_STEPS, 1, seed)
    spread = view_spreads(model, view.views[0], shown.output, view.id, steps=SPREAD_STEPS, seed=seed).all
    smaller = F.interpolate(spread[None, None], depths.shape[-2:], mode="area")[0, 0]
    return {
        "image": resize_image(picture, size),
        "truth": _half(torch.from_numpy(shrink_truth(truth, size))),
        "depths": _half(depths[:, 0, 0]),
        "spread": _half(smaller),
    }


def _half(values: Tensor) -> np.ndarray:
    return values.cpu().to(torch.float16).numpy()
