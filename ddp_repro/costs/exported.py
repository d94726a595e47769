"""Exported graphs beside PyTorch: seconds at one picture size, scores on the recipe's evaluation images."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ddp_repro.costs.timing import measure_speed
from ddp_repro.data.io import DataError
from ddp_repro.diffusion.noise import draw_noise
from ddp_repro.evaluation.evaluate import evaluate_model
from ddp_repro.interop.export.runtime import ExportedModel
from ddp_repro.networks.identity import weights_hash
from ddp_repro.settings.recipe import Recipe
from ddp_repro.store.paths import resolve
from ddp_repro.tasks.build import build_dataset

STEPS, REPETITIONS, SEED = 3, 5, 0


class RuntimeMethod(nn.Module):
    """Exported graphs as a method that evaluations take, with the noise that PyTorch's model gets."""

    def __init__(self, runtime: ExportedModel, model: Any) -> None:
        super().__init__()
        self.runtime = runtime
        self.config, self.mean, self.std = model.config, model.mean, model.std
        self.has_noise, self.has_steps = model.has_noise, model.has_steps
        self.register_buffer("place", torch.zeros(()))  # says that predictions are made on the CPU

    def encode(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the features (B, D, h, w) of a batch's images."""
        return torch.from_numpy(self.runtime.encode(batch["image"].numpy()))

    def sample(self, *, features: Tensor, steps: int, generator: Any = None) -> Tensor:
        """Return the prediction (B, C, h, w) of features."""
        noise = draw_noise((self.runtime.facts["map_channels"], *features.shape[2:]), len(features), generator)
        return torch.from_numpy(self.runtime.sample(features=features.numpy(), noise=noise.numpy(), steps=steps))


def measure_export(recipe: Recipe, model: Any, folder: Path, size: tuple[int, int], int8: bool) -> dict[str, Any]:
    """Time and score what a folder holds beside PyTorch.

    Args:
        model: with the weights that were exported.
        size: (height, width) of the pictures that are timed.
        int8: take the quantised graphs as well.
    """
    methods: dict[str, Any] = {"PyTorch": model}
    for name, quantised in {"onnxruntime": False, "onnxruntime, INT8": True}.items():
        if int8 or not quantised:
            runtime = ExportedModel.load(folder, int8=quantised, threads=torch.get_num_threads())
            methods[name] = RuntimeMethod(runtime, model)
    return {
        "recipe": recipe.name, "weights_sha256": weights_hash(model.state_dict()),
        "size": list(size), "steps": STEPS, "repetitions": REPETITIONS, "threads": torch.get_num_threads(),
        "seconds": _seconds(methods, size), "megabytes": _megabytes(folder), "scores": _scores(methods, recipe),
    }  # fmt: skip


def report(record: dict[str, Any]) -> str:
    """Return a record as lines: stages in seconds, then the scores."""
    lines = [f"{'x'.join(map(str, record['size']))}, batch 1, {record['threads']} thread(s); medians, seconds"]
    for name, seconds in record["seconds"].items():
        lines.append(f"  {name:<20}" + "  ".join(f"{stage} {value:.3f}" for stage, value in seconds.items()))
    if record["scores"] is None:
        return "\n".join([*lines, "scores: the recipe's evaluation images are not there"])
    for name, scores in record["scores"]["methods"].items():
        numbers = "  ".join(f"{metric} {value:.4f}" for metric, value in scores.items())
        lines.append(f"  {name:<20}{numbers}   ({record['scores']['images']} images)")
    return "\n".join(lines)


def _seconds(methods: dict[str, Any], size: tuple[int, int]) -> dict[str, dict[str, float]]:
    """Return the median seconds of each method's stages, all measured in turns."""
    features = {name: method.encode({"image": torch.zeros(1, 3, *size)}).detach() for name, method in methods.items()}
    stages: dict[str, Callable[[Any, str, Tensor], Tensor]] = {
        "encoder": lambda method, name, images: method.encode({"image": images}),
        "one step": lambda method, name, images: method.sample(features=features[name], steps=1),
        f"image, {STEPS} steps": lambda method, name, images: method.sample(
            features=method.encode({"image": images}), steps=STEPS
        ),
    }

    def candidate(method: Any, name: str, stage: Callable[[Any, str, Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda images: stage(method, name, images)

    candidates = {
        f"{name}/{label}": candidate(method, name, stage)
        for name, method in methods.items() for label, stage in stages.items()
    }  # fmt: skip
    with torch.no_grad():
        speeds = {speed.name: speed for speed in measure_speed(candidates, size, repetitions=REPETITIONS)}
    return {name: {label: statistics.median(speeds[f"{name}/{label}"].seconds) for label in stages} for name in methods}


def _scores(methods: dict[str, Any], recipe: Recipe) -> dict[str, Any] | None:
    """Return each method's scores on the evaluation images; None where these are not there."""
    evaluation = dataclasses.replace(recipe.evaluation, steps=(STEPS,), seeds=(SEED,))
    data = recipe.data.placed(lambda root: str(resolve(root)))
    model = methods["PyTorch"]
    try:
        dataset: Any = build_dataset(data, data.eval_split, train=False, mean=model.mean, std=model.std)
    except (DataError, OSError):
        return None
    results = {name: evaluate_model(method, dataset, evaluation) for name, method in methods.items()}
    values = {}
    for name, result in results.items():
        [tally] = result.tallies.values()
        values[name] = {metric: tally.value(metric) for metric in tally.metrics}
    return {"dataset": dataset.name, "split": data.eval_split, "images": len(dataset), "seed": SEED, "methods": values}


def _megabytes(folder: Path) -> dict[str, float]:
    return {path.name: round(path.stat().st_size / 1e6, 2) for path in sorted(folder.iterdir())}
