"""One image's refinement, in a file beside a run's record: what the figures of pictures are drawn from."""

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
from ddp_repro.diffusion.label_noise import ImageLabelNoise
from ddp_repro.evaluation.views import inference_mode, model_device
from ddp_repro.papers.ddps.model import DDPS, IGNORE_INDEX
from ddp_repro.settings.recipe import Recipe
from ddp_repro.tasks.segmentation.dataset import SegmentationDataset
from ddp_repro.workbook.runs.records import RecordError, write_atomically

FILE = "refinement.npz"
STEPS = 10  # n of the run that is shown, or T where that is less
SAMPLES = 4  # runs from different noise
CANDIDATES = 50  # images that the one with the most classes is chosen from
_ARRAYS = ("image", "label", "base", "predictions", "maps", "samples", "unconditioned", "palette")


@dataclass(frozen=True)
class Refinement:
    """An image's way from the segmentor's mask to the refined one; labels are uint8, 255 = unlabelled.

    Attributes:
        image: (H, W, 3), uint8, as the network saw it.
        label: (H, W).
        base: what the segmentor says by itself, (h, w).
        predictions: after every visited step, (S, h, w).
        maps: that the prior saw at every visited step, (S, h, w).
        samples: last predictions of runs from different noise, (N, h, w).
        unconditioned: the last prediction with the condition zeroed, (h, w).
        steps: the visited steps.
        timesteps: T.
    """

    image: np.ndarray
    label: np.ndarray
    base: np.ndarray
    predictions: np.ndarray
    maps: np.ndarray
    samples: np.ndarray
    unconditioned: np.ndarray
    palette: np.ndarray
    steps: tuple[int, ...]
    timesteps: int
    schedule: str
    image_id: str
    class_names: tuple[str, ...]


def save_refinement(model: DDPS, dataset: SegmentationDataset, recipe: Recipe, path: Path) -> None:
    """Refine the image with the most classes from several noises, and write what figures show of it.

    Nothing is written where the weights lack the segmentor's classifier.
    """
    if not model.has_base:
        return
    index = _richest(dataset, recipe.evaluation.limit)
    item, (picture, label) = dataset[index], dataset.load(index)
    size = tuple(item["image"].shape[-2:])
    with inference_mode(model):
        arrays = _refine(model, item["image"][None].to(model_device(model)), recipe.evaluation.seeds[0], item["id"])
    steps = model.steps_of(min(STEPS, model.config.levels))
    facts = {
        "steps": steps, "timesteps": model.config.levels, "schedule": model.config.schedule, "image_id": item["id"],
        "class_names": list(dataset.class_names),
    }  # fmt: skip
    arrays |= {
        "image": resize_image(picture, size),
        "label": resize_label(label.astype(np.uint8), size),
        "palette": np.asarray(dataset.palette, dtype=np.uint8),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, facts=np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8), **arrays)
    write_atomically(path, buffer.getvalue())


def load_refinement(path: Path) -> Refinement:
    """Read what :func:`save_refinement` wrote; no code in the file is run.

    Raises:
        RecordError: not such a file.
        FileNotFoundError: there is none.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in _ARRAYS}
            facts = json.loads(content["facts"].tobytes())
        names = {name: tuple(facts.pop(name)) for name in ("steps", "class_names")}
        return Refinement(**arrays, **names, **facts)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; run the recipe again to write it") from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RecordError(f"{path} is not a saved refinement ({error}); delete it and run the recipe again") from None


def _refine(model: DDPS, image: Tensor, seed: int, image_id: str) -> dict[str, np.ndarray]:
    features, steps = model.encode_image(image), min(STEPS, model.config.levels)

    def noise(number: int) -> ImageLabelNoise:
        shape = (model.config.symbols, features.shape[-2], features.shape[-1])
        return ImageLabelNoise(shape, 1, [image_generator(seed + number, image_id)], features.device)

    first = model.sample(features=features, steps=steps, noise=noise(0), return_trajectory=True)
    others = [model.sample(features=features, steps=steps, noise=noise(number)) for number in range(1, SAMPLES)]
    blind = model.sample(features=torch.zeros_like(features), steps=steps, noise=noise(0))
    last = [first.decoded[-1], *others]
    return {
        "base": _labels(model, first.base.argmax(1)[0]),
        "predictions": _labels(model, first.predictions[:, 0]),
        "maps": _labels(model, (first.maps[:, 0] - 1) % model.config.symbols),  # symbol 0 is the last label
        "samples": _labels(model, torch.stack([logits.argmax(1)[0] for logits in last])),
        "unconditioned": _labels(model, blind.argmax(1)[0]),
    }


def _labels(model: DDPS, labels: Tensor) -> np.ndarray:
    """Labels 0..C, of which C is "unlabelled", as uint8."""
    return labels.masked_fill(labels == model.config.num_classes, IGNORE_INDEX).to(torch.uint8).cpu().numpy()


def _richest(dataset: SegmentationDataset, limit: int | None) -> int:
    """Index of the image with the most classes among the first :data:`CANDIDATES` (or ``limit``)."""
    looked_at = range(min(len(dataset), limit or CANDIDATES, CANDIDATES))
    return max(looked_at, key=lambda index: len(np.unique(dataset.load(index)[1])))
