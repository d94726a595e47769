"""Predictions on disk: label maps as PNG, in a folder that knows which run made them.

::

    FOLDER/predictions.json                what made them (weights, settings, dataset), as hashes and values
    FOLDER/steps_3_seed_0/IMAGE_ID.png     8-bit class indices at the image's original size
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ddp_repro.data.dataset import PairDataset
from ddp_repro.data.io import DataError, read_label
from ddp_repro.evaluation.per_image.statistics import RunKey
from ddp_repro.networks.identity import weights_hash
from ddp_repro.protocols.method import Method
from ddp_repro.settings.overrides import to_dict
from ddp_repro.settings.recipe import EvalConfig
from ddp_repro.store.atomic import write_atomically
from ddp_repro.store.work import differing

MANIFEST = "predictions.json"
_RUN_FOLDER = re.compile(r"steps_(\d+)_seed_(-?\d+|none)")


class PredictionFolder:
    """Reads and writes the label maps of one run.

    Args:
        folder: created if missing.
        made_by: :func:`description` of the run.

    Raises:
        DataError: the folder holds something else, or the predictions of another run.
    """

    def __init__(self, folder: Path, made_by: dict[str, Any], *, create: bool) -> None:
        self.folder = folder
        if created := (create and not (folder / MANIFEST).exists()):
            if folder.exists() and any(folder.iterdir()):
                raise DataError(
                    f"{folder}: is not empty and has no {MANIFEST}; save predictions into a folder of their own"
                )
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / MANIFEST, json.dumps(made_by, indent=1, ensure_ascii=False).encode())
        if not created and (changed := differing(read_manifest(folder), made_by)):
            raise DataError(
                f"{folder}: holds predictions of another run (different {', '.join(sorted(changed))}); "
                "choose another folder or remove this one"
            )

    def read(self, key: RunKey, image_id: str, size: tuple[int, int]) -> Tensor | None:
        """Read the saved labels, int64 (H, W); None if no file of this size is readable (an interrupted run)."""
        try:
            return read_prediction(self.folder, key, image_id, size)
        except DataError:
            return None

    def write(self, key: RunKey, image_id: str, labels: Tensor) -> None:
        """Save the labels (H, W) of one image; the file appears whole or not at all."""
        path = prediction_path(self.folder, key, image_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            Image.fromarray(labels.to("cpu", torch.uint8).numpy()).save(temporary, format="PNG")
            os.replace(temporary, path)
        except OSError as error:
            raise OSError(f"{path}: the prediction cannot be saved ({error})") from error
        finally:
            temporary.unlink(missing_ok=True)


def description(model: Method, dataset: PairDataset, evaluation: EvalConfig, images: int) -> dict[str, Any]:
    """Describe what a prediction depends on, without batch size, and steps and seeds, which name the subfolders."""
    views = {"scales": list(evaluation.scales), "flip": evaluation.flip, "view_average": evaluation.view_average}
    settings = dataset.data
    return {
        "model": to_dict(model.config),
        "weights_sha256": weights_hash(model.state_dict()),
        "precision": evaluation.precision,
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint(),
        "class_names": list(dataset.class_names),
        "image_scale": settings.image_scale and list(settings.image_scale),
        "images": images,
        **views,
    }


def saved_runs(folder: Path) -> list[RunKey]:
    """Return the (steps, seed) that have a subfolder."""
    matches = [_RUN_FOLDER.fullmatch(path.name) for path in folder.iterdir() if path.is_dir()]
    keys = [(int(m[1]), None if m[2] == "none" else int(m[2])) for m in matches if m]
    if not keys:
        raise DataError(f"{folder}: holds no predictions; expected subfolders such as steps_3_seed_0")
    return sorted(keys, key=lambda key: (key[0], key[1] or 0))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read what made the predictions in ``folder``; see :func:`description`."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); expected the folder of an evaluation's predictions"
        ) from error
    needed = {"class_names", "dataset", "images", "scales", "flip", "view_average"}
    if not isinstance(manifest, dict) or not needed <= manifest.keys():
        raise DataError(f"{path}: expected an object with {', '.join(sorted(needed))}")
    return manifest


def prediction_path(folder: Path, key: RunKey, image_id: str) -> Path:
    """Where a prediction lies.

    Raises:
        DataError: the image id would lead out of the folder.
    """
    name = PurePosixPath(image_id)
    if name.is_absolute() or ".." in name.parts or not name.parts:
        raise DataError(f"image id {image_id!r} cannot name a file inside {folder}")
    steps, seed = key
    return folder / f"steps_{steps}_seed_{'none' if seed is None else seed}" / f"{image_id}.png"


def read_prediction(folder: Path, key: RunKey, image_id: str, size: tuple[int, int]) -> Tensor:
    """Return the saved labels, int64 (H, W).

    Raises:
        DataError: missing, damaged, or not of ``size``.
    """
    path = prediction_path(folder, key, image_id)
    labels = read_label(path)
    if labels.shape != size:
        raise DataError(f"{path}: is {labels.shape[1]} x {labels.shape[0]}, its label map {size[1]} x {size[0]}")
    return torch.from_numpy(labels.astype(np.int64))
