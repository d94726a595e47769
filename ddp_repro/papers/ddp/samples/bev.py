"""A few samples with what the model predicted, kept beside the record so that Figure 7 needs no model and no data."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ddp_repro.data.transforms import resize_image
from ddp_repro.diffusion import image_generator
from ddp_repro.evaluation.views import inference_mode, model_device
from ddp_repro.protocols.method import Method
from ddp_repro.settings.recipe import Recipe
from ddp_repro.store.atomic import write_atomically
from ddp_repro.tasks.bev.evaluate import sensor_batch
from ddp_repro.tasks.bev.uncertainty import uncertainty_scores
from ddp_repro.workbook.runs.records import RecordError

if TYPE_CHECKING:
    from ddp_repro.tasks.bev.dataset import NuScenesBEV

FILE = "bev_samples.npz"
SAMPLES = 2
STEPS = 3
WIDTH = 480  # pixels, at most, of a camera's picture
POINTS = 20_000  # at most
_ARRAYS = ("pictures", "intrinsics", "camera_to_lidar", "points", "truth", "probability", "uncertainty")


@dataclass(frozen=True)
class BEVSample:
    """What Figure 7 draws of one sample; ground maps are indexed [class, x, y] as the data is.

    Attributes:
        pictures: uint8 (6, H, W, 3), in the order of :data:`ddp_repro.tasks.bev.nuscenes.index.CAMERAS`.
        intrinsics: (6, 3, 3), for the pictures' size; camera_to_lidar: (6, 4, 4).
        points: (P, 3) x, y, z of the LiDAR in metres; none for a camera-only model.
        truth: boolean (K, X, Y); probability: (K, X, Y), averaged as the model's settings say.
        uncertainty: (X, Y) in [0, 1], entropy of the mean probability over steps and start noises, of the class where
            it is largest.
        map_range: the maps cover ± so many metres.
        ground: z of the ground under the car, in metres.
    """

    token: str
    map_range: float
    ground: float
    pictures: np.ndarray
    intrinsics: np.ndarray
    camera_to_lidar: np.ndarray
    points: np.ndarray
    truth: np.ndarray
    probability: np.ndarray
    uncertainty: np.ndarray


def save_bev_samples(model: Method, dataset: NuScenesBEV, recipe: Recipe, path: Path) -> None:
    """Predict :data:`SAMPLES` samples, evenly spaced over the split, and write what Figure 7 shows of them."""
    count = min(len(dataset), recipe.evaluation.limit or len(dataset))
    indices = sorted({round(i) for i in np.linspace(0, count - 1, SAMPLES)})
    arrays: dict[str, np.ndarray] = {}
    with inference_mode(model):
        for number, index in enumerate(indices):
            made = _views(dataset, index) | _prediction(model, dataset, index, recipe.evaluation.seeds[0])
            arrays |= {f"{name}_{number}": array for name, array in made.items()}
    facts = {
        "tokens": [dataset.ids[index] for index in indices],
        "map_range": dataset.data.map_range,
        "ground": [-float(dataset.records[index].lidar_to_ego[2, 3]) for index in indices],
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, facts=np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8), **arrays)
    write_atomically(path, buffer.getvalue())


def load_bev_samples(path: Path) -> list[BEVSample]:
    """Read what :func:`save_bev_samples` wrote; no code in the file is run.

    Raises:
        RecordError: not such a file.
        FileNotFoundError: there is none.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            facts = json.loads(content["facts"].tobytes())
            return [
                BEVSample(token, facts["map_range"], ground, *(content[f"{name}_{number}"] for name in _ARRAYS))
                for number, (token, ground) in enumerate(zip(facts["tokens"], facts["ground"], strict=True))
            ]
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; run the recipe again to write it") from None
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RecordError(f"{path} holds no BEV samples ({error}); delete it and run the recipe again") from None


def _views(dataset: NuScenesBEV, index: int) -> dict[str, np.ndarray]:
    """Return the cameras' whole pictures, made smaller, with the intrinsics that fit them."""
    record, pictures = dataset.records[index], dataset.pictures(index)
    scale = min(1.0, WIDTH / pictures[0].shape[1])
    size = round(pictures[0].shape[0] * scale), round(pictures[0].shape[1] * scale)
    shrink = np.diag([size[1] / pictures[0].shape[1], size[0] / pictures[0].shape[0], 1.0])
    return {
        "pictures": np.stack([resize_image(picture, size) for picture in pictures]),
        "intrinsics": np.stack([shrink @ view.intrinsics for view in record.views]),
        "camera_to_lidar": np.stack([view.camera_to_lidar for view in record.views]),
    }


def _prediction(model: Method, dataset: NuScenesBEV, index: int, seed: int) -> dict[str, np.ndarray]:
    item = dataset[index]
    batch = sensor_batch([item], dataset, model_device(model))
    generator = [image_generator(seed, item["id"])]
    run = model.sample(batch, steps=STEPS, generator=generator, return_trajectory=True)
    points = item["points"].numpy() if "points" in item else np.empty((0, 5), np.float32)
    return {
        "points": points[:: max(1, -(-len(points) // POINTS)), :3].astype(np.float16),
        "truth": item["masks"].numpy(),
        "probability": _half(run.output[0]),
        "uncertainty": _half(uncertainty_scores(run.probabilities[:, :, 0])["entropy"].amax(0)),
    }


def _half(values: torch.Tensor) -> np.ndarray:
    return values.cpu().to(torch.float16).numpy()
