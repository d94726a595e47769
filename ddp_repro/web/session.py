"""What the page calls: models by name, and a prediction as it emerges, as files in a folder."""

from __future__ import annotations

import html
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from PIL import Image

import ddp_repro
from ddp_repro.data.io import read_image
from ddp_repro.evaluation.pictures import save_arrays
from ddp_repro.evaluation.sampling import Stage
from ddp_repro.protocols.registry import task_named
from ddp_repro.protocols.task import Classes
from ddp_repro.settings.errors import ConfigError
from ddp_repro.terminal import usual_device
from ddp_repro.workbook.models import ModelWeights, load_model

VIEWS = {"Overlay": 0.6, "Map": 1.0, "Uncertainty": 0.6}  # how much of the picture is covered by what is shown
LONGEST_SHOWN = 1024  # pixels; what is taken away has the picture's size
LOADED = 2  # models in memory: as many as are compared
MOST_FACTS = 12
HEAT = "inferno"  # of uncertainty: bright where it is largest


@dataclass
class Outcome:
    """What there is of a prediction: seconds of the stages that are done; in the end its facts as HTML, a ZIP file."""

    stages: dict[str, float] = field(default_factory=dict)
    facts: str = ""
    archive: str | None = None


class Models:
    """The models of the page by what it calls them, loaded when they are asked for, and shared by all users.

    Raises:
        ConfigError: none of them predicts pictures.
    """

    def __init__(self, weights: Sequence[ModelWeights]) -> None:
        self._weights = {
            f"{each.name} · {each.source}{'' if each.at_hand else ', to download'}": each for each in weights
            if task_named(each.recipe.model.task).predict is not None and each.recipe.model.predicts
        }  # fmt: skip
        if not self._weights:
            raise ConfigError("no model to show: train one (`ddp-repro train RECIPE`), or name one with --models")

    @property
    def tasks(self) -> list[str]:
        """Return the words for what can be predicted, those of models at hand first."""
        return list(dict.fromkeys(weights.task for weights in self._weights.values()))

    def names(self, task: str) -> list[str]:
        """Return the models for a task, those at hand first."""
        words = {name: weights.task for name, weights in self._weights.items()}
        return [name for name, word in words.items() if word == task]

    def predict(self, name: str, picture: str | None, steps: int, folder: Path) -> Iterator[Outcome]:
        """Yield what there is after every stage, with pictures of every step and the archive in ``folder``.

        Raises:
            ConfigError: no picture, or no such model.
            DataError: a picture that cannot be read.
            CheckpointError: weights that cannot be had.
        """
        if not picture or name not in self._weights:
            raise ConfigError(f"There is no model {name!r} here." if picture else "Drop a picture first, or take one.")
        pixels, weights, outcome = read_image(Path(picture)), self._weights[name], Outcome()
        model, classes = _loaded(weights)
        task, scale = task_named(weights.recipe.model.task), getattr(weights.recipe.data, "image_scale", None)
        prediction = None
        emerging = _emerging(lambda tell: ddp_repro.predict(model, pixels, steps, image_scale=scale, on_stage=tell))
        for stage, prediction in emerging:
            if stage is not None:
                outcome.stages[stage.name] = stage.seconds
            if prediction is not None:  # at last, the whole of it, which may know more than its last step does
                _draw(prediction, task.preview(prediction, classes), pixels, folder, len(outcome.stages))
            if stage is not None:
                yield outcome
        file = f"{Path(picture).stem}_{weights.name}"
        task.writer(weights.recipe.model, classes)(prediction, pixels, folder / "maps", file)
        save_arrays(prediction, folder / "maps", file)
        outcome.archive = shutil.make_archive(str(folder / file), "zip", folder / "maps")
        outcome.facts = _facts(prediction, classes)
        yield outcome


def drawn(folder: Path, view: str, step: int) -> str | None:
    """Return the picture of a view after a step, or after the last before it; None: there is none."""
    paths = sorted(folder.glob(f"??_{view}.png"))
    return str(paths[min(step, len(paths)) - 1]) if paths else None


def sentence(error: Exception, picture: str | None) -> str:
    """Return an error as the page says it, with the picture by its name alone."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.replace(picture, Path(picture).name) if picture else text


@lru_cache(maxsize=LOADED)
def _loaded(weights: ModelWeights) -> tuple[Any, Classes]:
    model, classes, _ = load_model(weights.recipe, weights.checkpoint(), usual_device())
    return model, classes


def _emerging(predict: Callable[[Callable[[Stage], None]], Any]) -> Iterator[tuple[Stage | None, Any]]:
    """Yield the stages of a prediction, and what there is of it, while it goes on in a thread of its own.

    At last comes the whole prediction, of no stage.  Its errors are raised here.
    """
    told: SimpleQueue[Stage | None] = SimpleQueue()
    with ThreadPoolExecutor(1) as pool:  # leaving waits for it: two predictions never share the cores
        outcome = pool.submit(predict, told.put)
        outcome.add_done_callback(lambda _: told.put(None))
        yield from ((stage, stage.prediction) for stage in iter(told.get, None))
        yield None, outcome.result()


def _draw(prediction: Any, colours: np.ndarray, pixels: np.ndarray, folder: Path, number: int) -> None:
    """Write what is shown after a step; a model without uncertainty has no picture of it."""
    import matplotlib

    layers, uncertainty = [colours, colours], prediction.uncertainty
    if uncertainty is not None:
        relative = uncertainty / max(float(uncertainty.max()), 1e-6)
        layers.append(matplotlib.colormaps[HEAT](relative, bytes=True)[..., :3])
    folder.mkdir(parents=True, exist_ok=True)
    for (view, share), layer in zip(VIEWS.items(), layers, strict=False):
        picture = Image.fromarray(np.round((1 - share) * pixels + share * layer).astype(np.uint8))
        picture.thumbnail((LONGEST_SHOWN, LONGEST_SHOWN))
        picture.save(folder / f"{number:02d}_{view}.png")


def _facts(prediction: Any, classes: Classes) -> str:
    """Return what a map says, as HTML: its classes in their colours, or its numbers; and its uncertainty."""
    colours, facts = dict(zip(classes.names, classes.colors, strict=False)), []
    for name, value in next(iter(prediction.facts(classes.names).values())).items():
        square = f'<i class="square" style="background:rgb{colours[name]}"></i>' if name in colours else ""
        text = f"{value:.1%}" if name in colours else f"{value:g}"
        facts.append(f"{square}{html.escape(name.replace('_', ' '))} <b>{text}</b>")
    more = len(facts) - MOST_FACTS
    facts[MOST_FACTS:] = [f"and {more} more"] if more > 0 else []
    if prediction.uncertainty is not None:
        mean, largest = float(prediction.uncertainty.mean()), float(prediction.uncertainty.max())
        facts.append(f"uncertainty ({prediction.uncertainty_score.replace('_', ' ')}): mean <b>{mean:.3g}</b>, "
                     f"largest <b>{largest:.3g}</b>")  # fmt: skip
    return " ".join(f'<span class="fact">{fact}</span>' for fact in facts)
