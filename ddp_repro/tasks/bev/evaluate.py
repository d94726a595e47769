"""Accuracy of a BEV model on nuScenes, for any number of sampling steps and noise seeds, whole or with failed sensors.

The sensors of a sample are encoded once; what follows is the sampling of :class:`ddp_repro.papers.ddp.bev.BEVDDP`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from tqdm import tqdm

from ddp_repro.diffusion import image_generator
from ddp_repro.evaluation.per_image.collection import Collection
from ddp_repro.evaluation.per_image.journal import Journal
from ddp_repro.evaluation.processes import prefetched, rank_and_world
from ddp_repro.evaluation.result import EvaluationResult, run_keys
from ddp_repro.evaluation.views import inference_mode, model_device
from ddp_repro.protocols.method import Method
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import EvalConfig
from ddp_repro.tasks.bev.metrics import ThresholdCounts
from ddp_repro.tasks.bev.nuscenes.index import CAMERAS

if TYPE_CHECKING:
    from ddp_repro.tasks.bev.dataset import NuScenesBEV

THINNING = 8  # one of so many LiDAR points is kept
Item = dict[str, Any]
Failure = Callable[[Item], Item]


def black_camera(number: int, mean: Sequence[float], std: Sequence[float]) -> Failure:
    """Camera ``number`` sees nothing: its picture is black (before normalisation)."""
    black = -torch.tensor(mean) / torch.tensor(std)

    def fail(item: Item) -> Item:
        images = item["image"].clone()
        images[number] = black[:, None, None]
        return item | {"image": images}

    return fail


def without_lidar(item: Item) -> Item:
    """There is no cloud."""
    return item | {"points": None}


def thinned_lidar(item: Item) -> Item:
    """Every eighth point of the cloud."""
    return item | {"points": item["points"][::THINNING]}


def failures(model: Method) -> dict[str, Failure | None]:
    """Return what the robustness of a model is measured with, by name; None: nothing fails."""
    found: dict[str, Failure | None] = {"all": None}
    for number, camera in enumerate(CAMERAS):
        words = camera.removeprefix("CAM_").replace("_", " ").lower()
        found[f"{words} camera black"] = black_camera(number, model.mean, model.std)
    if model.config.sensors == "fusion":
        found |= {f"one of {THINNING} LiDAR points": thinned_lidar, "no LiDAR": without_lidar}
    return found


def evaluate_bev(
    model: Method,
    dataset: NuScenesBEV,
    evaluation: EvalConfig,
    *,
    failure: Failure | None = None,
    progress: bool = True,
    journal: Journal | None = None,
) -> EvaluationResult:
    """As :func:`ddp_repro.evaluation.evaluate.evaluate_model`, which calls this for BEV models.

    Noise belongs to (seed, sample), and counts are integers: the result depends neither on batches nor on the number of
    processes.

    Args:
        failure: changes every sample before the model sees it, e.g. :func:`without_lidar`.
        journal: what was done is written there as it goes, and what is there already is not done again.

    Raises:
        ConfigError: several views, which do not exist here.
        DataError: a damaged sample.
        RuntimeError: the model's output is not finite.
    """
    if evaluation.scales != (1.0,) or evaluation.flip:
        raise ConfigError("BEV models see one view: set evaluation.scales=1.0 and evaluation.flip=false")
    started = time.perf_counter()
    count = min(len(dataset), evaluation.limit or len(dataset))
    keys = run_keys(evaluation, has_noise=model.has_noise, has_steps=model.has_steps)
    size = evaluation.batch_size
    hidden = not progress or rank_and_world()[0] > 0
    classes = model.config.num_classes
    with Collection(keys, lambda: ThresholdCounts(classes), dataset.ids[:count], journal) as collection:
        share = collection.share
        with inference_mode(model, evaluation.precision), tqdm(total=len(share), unit="sample", disable=hidden) as bar:
            for items in _batches(prefetched(dataset.__getitem__, share, ahead=2 * size), size):
                _count([failure(item) for item in items] if failure else items, model, dataset, collection)
                bar.update(len(items))
        per_image = collection.together()
    return EvaluationResult(
        dataset=dataset.name, dataset_fingerprint=dataset.fingerprint(), class_names=dataset.class_names, images=count,
        tallies=collection.tallies(per_image), per_image=per_image, scales=evaluation.scales, flip=evaluation.flip,
        view_average=evaluation.view_average,
        seconds=time.perf_counter() - started + (journal.seconds if journal else 0.0),
    )  # fmt: skip


def sensor_batch(items: list[Item], dataset: NuScenesBEV, device: torch.device) -> dict[str, Any]:
    """Return a batch of items on ``device``; ``points`` is None where no item has any."""
    absent = "points" in items[0] and items[0]["points"] is None
    batch = dataset.collate([{k: v for k, v in item.items() if v is not None} for item in items])
    moved = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}
    if "points" in moved:
        moved["points"] = [cloud.to(device) for cloud in moved["points"]]
    return moved | ({"points": None} if absent else {})


def _count(items: list[Item], model: Method, dataset: NuScenesBEV, collection: Collection) -> None:
    batch = sensor_batch(items, dataset, model_device(model))
    features = model.encode(batch)
    for steps, seed in collection.keys:
        assert seed is not None  # every BEV model samples
        generators = [image_generator(seed, name) for name in batch["id"]]
        probability = model.sample(features=features, steps=steps, generator=generators)
        if not probability.isfinite().all():
            names = ", ".join(batch["id"])
            raise RuntimeError(f"the model's output is not finite for sample {names}; check its weights")
        for name, each, masks in zip(batch["id"], probability, batch["masks"], strict=True):
            collection.count(name, (steps, seed), each, masks)


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
