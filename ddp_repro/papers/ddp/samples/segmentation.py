"""One image's way through the sampling steps, kept beside the record so that Figures 3b and 3c need no model.

The file holds small integer arrays only: pictures of at most 512 pixels, label maps at the decoder's resolution.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ddp_repro.data.transforms import resize_image, resize_label
from ddp_repro.diffusion import image_generator
from ddp_repro.evaluation.views import inference_mode
from ddp_repro.networks.shapes import shape_of
from ddp_repro.protocols.method import Method
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import Recipe
from ddp_repro.store.atomic import write_atomically
from ddp_repro.tasks.segmentation.dataset import SegmentationDataset
from ddp_repro.workbook.runs.records import RecordError

FILE = "trajectory.npz"
STEPS = 10  # the uncertainty map counts the label changes between these
LONGEST_SIDE = 512
CANDIDATES = 40  # images looked at for the one with the most classes


@dataclass(frozen=True)
class SavedTrajectory:
    """What the figures draw.

    Attributes:
        image: uint8 (H, W, 3); label: uint8 (H, W), 255 = ignore.
        predictions: uint8 (S, h, w), most likely class after each step.
        maps: uint8 (S, h, w, 3), first three principal components of the noisy map that each step starts from.
        uncertainty: float (h, w) in [0, 1]: label changes between steps, divided by their greatest possible number.
    """

    image: np.ndarray
    label: np.ndarray
    predictions: np.ndarray
    maps: np.ndarray
    uncertainty: np.ndarray
    image_id: str
    seed: int
    class_names: tuple[str, ...]
    palette: np.ndarray


def save_trajectory(model: Method, dataset: SegmentationDataset, recipe: Recipe, path: Path) -> None:
    """Sample the image with the most classes for :data:`STEPS` steps and write what Figures 3b and 3c show.

    The non-diffusion baseline has no trajectory; nothing is written for it.
    """
    if recipe.model.diffusion:
        (index,) = richest_images(dataset, 1, recipe.evaluation.limit)
        save_one(model, dataset, index, recipe.evaluation.seeds[0], path)


def richest_images(dataset: SegmentationDataset, count: int, limit: int | None = None) -> list[int]:
    """Return the indices of ``count`` images with the most classes among the first :data:`CANDIDATES` (``limit``)."""
    looked_at = range(min(len(dataset), limit or CANDIDATES, CANDIDATES))
    return sorted(looked_at, key=lambda index: -len(np.unique(dataset.load(index)[1])))[:count]


def chosen_image(
    model: Method, dataset: SegmentationDataset, run: str, index: int | None
) -> tuple[Tensor, str, tuple[np.ndarray, np.ndarray]]:
    """Return an image as the network gets it, its name, and picture and label as stored: the one with most classes.

    Args:
        run: whose model it is.
        index: of another image.

    Raises:
        ConfigError: the model is no diffusion model of label maps, which the figures show.
    """
    if model.config.task != "segmentation" or not model.config.diffusion:
        raise ConfigError(f"{run}: the figure shows a diffusion model of label maps, which this is not")
    index = richest_images(dataset, 1)[0] if index is None else index
    item = dataset[index]
    return item["image"], item["id"], dataset.load(index)


def save_one(model: Method, dataset: SegmentationDataset, index: int, seed: int, path: Path) -> None:
    """Sample one image for :data:`STEPS` steps from the noise of ``seed`` and write its trajectory."""
    item, (picture, label) = dataset[index], dataset.load(index)
    predictions, maps = _sample(model, item["image"], seed, item["id"])
    height, width = _shown_size(shape_of(item["image"]))
    arrays = {
        "image": resize_image(picture, (height, width)),
        "label": resize_label(label.astype(np.uint8), (height, width)),
        "predictions": predictions.to(torch.uint8).numpy(),
        "maps": np.stack([principal_colours(maps[-1], noisy) for noisy in maps[:-1]]),
        "palette": np.asarray(dataset.palette, dtype=np.uint8),
    }
    facts = {"image_id": item["id"], "seed": seed, "class_names": list(dataset.class_names)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, facts=np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8), **arrays)
    write_atomically(path, buffer.getvalue())


def load_trajectory(path: Path) -> SavedTrajectory:
    """Read what :func:`save_trajectory` wrote; no code in the file is run.

    Raises:
        RecordError: not such a file.
        FileNotFoundError: there is none (the baseline has none).
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in ("image", "label", "predictions", "maps", "palette")}
            facts = json.loads(content["facts"].tobytes())
        return SavedTrajectory(
            **arrays, image_id=facts["image_id"], seed=facts["seed"], class_names=tuple(facts["class_names"]),
            uncertainty=_change_count(arrays["predictions"]),
        )  # fmt: skip
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; run the recipe again to write it") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RecordError(f"{path} is not a saved trajectory ({error}); delete it and run the recipe again") from None


def _sample(model: Method, image: Tensor, seed: int, image_id: str) -> tuple[Tensor, Tensor]:
    """Predictions (S, h, w) and noisy maps (S + 1, h, w, D) of one image, on the CPU."""
    device = next(model.parameters()).device
    with inference_mode(model):
        trajectory = model.sample(
            image[None].to(device), steps=STEPS, generator=image_generator(seed, image_id), return_trajectory=True
        )
    return trajectory.predictions[:, 0].cpu(), trajectory.maps[:, 0].permute(0, 2, 3, 1).float().cpu()


def principal_colours(reference: Tensor, noisy: Tensor) -> np.ndarray:
    """Show a map (h, w, D) as RGB by the three directions in which ``reference``, the last map, varies most.

    Each map has its own contrast (2nd to 98th percentile): structure, not amplitude, is what the eye is to compare.
    """
    flat = reference.flatten(0, 1)
    directions = torch.linalg.eigh((flat - flat.mean(0)).T @ (flat - flat.mean(0))).eigenvectors[:, -3:].flip(1)
    projected = noisy @ directions
    low, high = torch.quantile(projected.flatten(0, 1), torch.tensor([0.02, 0.98]), dim=0)
    return ((projected - low) / (high - low).clamp(min=1e-12)).clamp(0, 1).mul(255).byte().numpy()


def _change_count(predictions: np.ndarray) -> np.ndarray:
    """Figure 3c: how often the label changed from one step to the next, as a fraction (float (h, w))."""
    from ddp_repro.diffusion.uncertainty import change_count

    return change_count(torch.from_numpy(predictions)).numpy()


def _shown_size(size: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, LONGEST_SIDE / max(size))
    return round(size[0] * scale), round(size[1] * scale)
