"""The command ``predict``: from a user's files to maps beside a manifest."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import Recipe
from ddp_repro.store.paths import run_folder
from ddp_repro.terminal import say, short, usual_device
from ddp_repro.workbook.catalogue import recipe as named_recipe
from ddp_repro.workbook.models import weights_in
from ddp_repro.workbook.predictors import answers, predictor_for
from ddp_repro.workbook.runs.weights import weights_at_hand

if TYPE_CHECKING:
    import numpy as np

    from ddp_repro.evaluation.folders.run import Report
    from ddp_repro.evaluation.predict import PicturePredictor
    from ddp_repro.protocols.method import Method
    from ddp_repro.protocols.task import Writer
    from ddp_repro.settings.recipe import Precision


def predict(
    images: list[str], task: str | None, method: str | None, recipe: str | None, checkpoint: str | None, steps: int,
    noise_samples: int, resolution: int | None, window: str | None, output: str, device: str, precision: Precision,
    arrays: bool,
) -> int:  # fmt: skip
    """Write a task's maps of every picture: labels, depth, normals, masks or mattes, previews, uncertainty."""
    from ddp_repro.store.deferred import defer_image_models

    defer_image_models()  # before anything imports timm: one picture should not wait for all of its models
    from ddp_repro.evaluation.folders.inputs import find_pictures
    from ddp_repro.evaluation.folders.run import predict_pictures
    from ddp_repro.evaluation.pictures import save_arrays
    from ddp_repro.evaluation.predict import PicturePredictor
    from ddp_repro.settings.checks import check_positive

    if method is not None and (task is None or recipe or checkpoint):
        raise ConfigError("--method goes with --task, in place of a recipe and a checkpoint")
    if recipe is None and checkpoint is None and task is not None:
        recipe, checkpoint = _named_by(task, method)
    chosen, weights = recipe_and_weights(recipe, checkpoint)
    if task is not None and not answers(chosen, task):
        raise ConfigError(f"{chosen.name} is a model for {chosen.model.task}, not for {task}")
    check_positive(steps=steps, noise_samples=noise_samples, resolution=resolution)
    sides, scale = _window_and_scale(window, resolution, chosen)
    place, folder = _checked_device(device), Path(output)
    pictures = find_pictures(images, folder)
    loaded = _load(chosen, weights, place)

    def write(prediction: Any, pixels: np.ndarray, folder: Path, name: str) -> list[Path]:
        paths = loaded.write(prediction, pixels, folder, name)
        return list(dict.fromkeys(paths + (save_arrays(prediction, folder, name) if arrays else [])))

    decisive = {
        "recipe": chosen.name, "weights_sha256": loaded.weights_sha256, "steps": steps, "noise_samples": noise_samples,
        "image_scale": scale and list(scale), "precision": precision, "arrays": arrays,
    } | ({"window": list(sides)} if sides else {})  # fmt: skip
    predictor = PicturePredictor(
        loaded.model, steps, noise_samples, image_scale=scale, window=sides, precision=precision
    )
    report = predict_pictures(predictor, write, pictures, folder, model=decisive, class_names=loaded.class_names)
    _show_predictions(report, len(pictures), folder)
    return int(bool(report.failed))


def flicker(
    frames: list[str], recipe: str | None, checkpoint: str | None, steps: int, output: str, as_json: bool
) -> None:
    """Measure how a prediction changes on static pixels of a clip, and write the record."""
    from ddp_repro.evaluation.folders.inputs import find_pictures, read_pictures
    from ddp_repro.workbook.prediction.flicker import measure_flicker

    chosen, weights = recipe_and_weights(recipe, checkpoint)
    pictures = find_pictures(frames, Path(output))
    loaded = _load(chosen, weights, usual_device())
    result = measure_flicker(loaded.predictor(chosen, steps), read_pictures(pictures))
    _record("flicker", chosen, loaded, steps, result, output, as_json)


def throughput(
    images: list[str], recipe: str | None, checkpoint: str | None, steps: int, rounds: int, output: str, as_json: bool
) -> None:
    """Measure how fast pictures are predicted one by one and as a folder, and write the record."""
    from ddp_repro.evaluation.folders.inputs import find_pictures
    from ddp_repro.settings.checks import check_positive
    from ddp_repro.workbook.prediction.throughput import measure_throughput

    check_positive(steps=steps, rounds=rounds)
    chosen, weights = recipe_and_weights(recipe, checkpoint)
    pictures = find_pictures(images, Path(output))
    loaded = _load(chosen, weights, usual_device())
    command = ("--checkpoint", str(weights), "--steps", str(steps))
    result = measure_throughput(
        loaded.predictor(chosen, steps), loaded.write, pictures,
        class_names=loaded.class_names, rounds=rounds, command=command,
    )  # fmt: skip
    _record("throughput", chosen, loaded, steps, result, output, as_json)


@dataclass(frozen=True)
class _Loaded:
    """A model with its weights, where it runs, and what writes its predictions."""

    model: Method
    weights_sha256: str
    class_names: Sequence[str]
    write: Writer

    def predictor(self, recipe: Recipe, steps: int) -> PicturePredictor:
        from ddp_repro.evaluation.predict import PicturePredictor

        return PicturePredictor(self.model, steps, image_scale=getattr(recipe.data, "image_scale", None))


def _load(recipe: Recipe, weights: str | Path, device: str) -> _Loaded:
    """Build a recipe's model and fill it with weights; says what was used of them.

    Raises:
        ConfigError: its task is not predicted from one picture.
        CheckpointError: weights that do not fit.
    """
    from ddp_repro.networks.identity import weights_hash
    from ddp_repro.workbook.models import load_model

    task = task_named(recipe.model.task)
    if task.predict is None:
        raise ConfigError(f"{recipe.name}: {task.not_from_a_picture}; `ddp-repro evaluate` scores it")
    model, classes, report = load_model(recipe, weights, device)
    say(str(report))
    return _Loaded(model, weights_hash(model.state_dict()), classes.names, task.writer(recipe.model, classes))


def _record(kind: str, recipe: Recipe, loaded: _Loaded, steps: int, result: Any, output: str, as_json: bool) -> None:
    """Write what was measured of a model, with what it depends on, and print it."""
    from ddp_repro.evaluation.views import model_device
    from ddp_repro.store.atomic import write_atomically
    from ddp_repro.workbook.runs import provenance

    facts = provenance.measured_with(
        {"recipe": recipe.name, "weights_sha256": loaded.weights_sha256, "steps": steps,
         "result": dataclasses.asdict(result)}, model_device(loaded.model),
    )  # fmt: skip
    path = Path(output) / "predict" / kind / f"{recipe.name}.json"
    write_atomically(path, (json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
    say(json.dumps(facts, indent=1, ensure_ascii=False) if as_json else f"{result}\nwrote {short(path)}")


def _window_and_scale(
    window: str | None, resolution: int | None, recipe: Recipe
) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """Return the sides of the windows, and the bounds of what the network sees: with windows, the picture's own size.

    Raises:
        ConfigError: both are given, or the windows cannot work.
    """
    from ddp_repro.costs.size import parse_size
    from ddp_repro.evaluation.windows import check_window

    if window is None:
        usual = getattr(recipe.data, "image_scale", None)
        return None, usual if resolution is None else (resolution, resolution)
    if resolution is not None:
        raise ConfigError("--window shows pictures at their own size: it goes without --resolution")
    sides = parse_size(window)
    check_window(sides, task_named(recipe.model.task))
    return sides, None


def _show_predictions(report: Report, pictures: int, folder: Path) -> None:
    """Print the files of a single picture; of more, how many there are and where."""
    from ddp_repro.evaluation.folders.manifest import MANIFEST

    if pictures == 1:
        for path in report.written:
            say(short(path))
    before = f"{report.done_before} of {pictures} pictures done before with this model; " if report.done_before else ""
    failed = f"; {len(report.failed)} FAILED" if report.failed else ""
    done = pictures - report.done_before - len(report.failed)
    say(f"{before}{done} predicted{failed}; manifest: {short(folder / MANIFEST)}")


def _checked_device(name: str) -> str:
    """Return the device of this name, ``auto`` being a GPU where there is one.

    Raises:
        ConfigError: PyTorch knows no such device, or this machine has none.
    """
    import torch

    if name == "auto":
        return usual_device()
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"--device {name}: cannot be used here ({str(error).splitlines()[0]})") from None
    return name


def _named_by(task: str, method: str | None) -> tuple[str, str | None]:
    """Return the recipe that answers what is asked, and ``official`` where its weights are the authors'."""
    recipe, checkpoint = predictor_for(task, method)
    how = "with the authors' weights" if checkpoint else f"trained on {recipe.data.dataset} ({recipe.preset})"
    say(f"with {recipe.name}, {how}")
    return recipe.name, checkpoint


def recipe_and_weights(name: str | None, checkpoint: str | None) -> tuple[Recipe, str | Path]:
    """Return the recipe by name, or the one inside the checkpoint; and its weights, or those ``train`` has left."""
    if name is None:
        if checkpoint in (None, "official"):
            raise ConfigError("give --recipe, or a --checkpoint that was trained here")
        return weights_in(Path(checkpoint)).recipe, checkpoint
    recipe = named_recipe(name)
    if checkpoint is not None:
        return recipe, checkpoint
    trained = recipe.weights_of or name
    weights = weights_at_hand(trained, recipe.preset)
    if weights is None:
        raise ConfigError(
            f"{name} has no finished weights in {short(run_folder('results', recipe.preset, trained))}: run "
            f"`ddp-repro train {trained}`, or give --checkpoint (a file, or official)"
        )
    return weights_in(weights).recipe, weights
