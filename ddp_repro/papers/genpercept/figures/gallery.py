"""Figures 1, 3 to 7, 9 and 11 to 19 on pictures of one's own: one column a model, one row a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import nn

from ddp_repro.data.io import read_image
from ddp_repro.evaluation.predict import predict
from ddp_repro.interop.checkpoints import load_checkpoint
from ddp_repro.protocols.method import Method
from ddp_repro.settings.overrides import override, parse_overrides
from ddp_repro.settings.recipe import Recipe
from ddp_repro.store.paths import resolve
from ddp_repro.workbook.catalogue import paper_of, recipe
from ddp_repro.workbook.figures.panels import show
from ddp_repro.workbook.figures.style import TEXT_WIDTH, Figure, paper_style
from ddp_repro.workbook.runs.records import Record
from ddp_repro.workbook.runs.run import evaluation_dataset, run, trained_model

# By preset: what is shown, and the recipe whose model shows it.
COLUMNS = {
    "mini": {
        "depth": "genpercept_depth_mini", "normals": "genpercept_normals_mini",
        "foreground": "genpercept_foreground_mini", "matte": "genpercept_matte_mini",
    },
    "paper": {
        "depth": "genpercept_depth", "disparity": "genpercept_disparity_dpt", "normals": "genpercept_normals",
        "foreground": "genpercept_foreground", "matte": "genpercept_matte",
    },
}  # fmt: skip


def gallery_models(
    preset: str,
    *,
    checkpoint: str | None = None,
    overrides: Sequence[str] = (),
    output: str | Path = "results",
    overwrite: bool = False,
) -> dict[str, nn.Module]:
    """Return the models that the gallery shows by what they predict, trained or loaded where need be.

    Args:
        checkpoint: None trains; ``official`` takes the authors' weights, and asks for no dataset.
        overrides: settings of every recipe to change, e.g. ``["train.iterations=20"]``.

    Raises:
        ConfigError: the preset has no such models, or settings that cannot work.
        CheckpointError: the authors' weights cannot be had.
    """
    changes = parse_overrides(list(overrides))
    chosen = {what: override(recipe(name, preset), changes) for what, name in COLUMNS[preset].items()}
    if checkpoint == "official":
        return {what: _official(each) for what, each in chosen.items()}
    records: dict[str, Record] = {
        what: run(each, checkpoint=checkpoint, output=output, overwrite=overwrite) for what, each in chosen.items()
    }
    return {what: trained_model(record, output) for what, record in records.items()}


def _official(chosen: Recipe) -> nn.Module:
    model = chosen.model.build()
    load_checkpoint(model, paper_of(chosen).official_checkpoint(chosen.name))
    return model.eval()


def example_pair(
    name: str, preset: str, index: int = 0, overrides: Sequence[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture, uint8 (H, W, 3), and its truth from a recipe's evaluation set; a synthetic set is written.

    Raises:
        DataError: missing images.
    """
    from ddp_repro.workbook.runs.training import prepare_data

    chosen = override(recipe(name, preset), parse_overrides(list(overrides)))
    prepare_data(chosen)
    return evaluation_dataset(chosen, chosen.model.build()).load(index)


def gallery_pictures(preset: str) -> list[Path]:
    """Return a few pictures of the evaluation sets: a room, and a head before another.

    Raises:
        DataError: missing images.
    """
    paths = []
    for what in ("depth", "matte"):
        chosen = recipe(COLUMNS[preset][what], preset)
        paths.append(evaluation_dataset(chosen, chosen.model.build()).samples[0].image)
    return paths


def gallery_figure(
    pictures: Sequence[str | Path], models: Mapping[str, Method], preset: str, longest: int | None = None
) -> Figure:
    """Draw every picture and what every model makes of it.

    Args:
        pictures: files; maps have their size.
        longest: longest side at which the networks see a picture; None: its own size.

    Raises:
        DataError: an unreadable file.
    """
    import matplotlib.pyplot as plt

    images = [read_image(resolve(path)) for path in pictures]
    shape = max(image.shape[0] / image.shape[1] for image in images)
    columns = 1 + len(models)
    scale = None if longest is None else (longest, longest)
    with paper_style():
        size = (TEXT_WIDTH, TEXT_WIDTH / columns * shape * len(images) + 0.3)
        drawing, axes = plt.subplots(len(images), columns, figsize=size, squeeze=False, layout="constrained")
        for row, image in enumerate(images):
            show(axes[row, 0], image, "picture" if row == 0 else "")
            for column, (what, model) in enumerate(models.items(), 1):
                prediction = predict(model, image, 1, image_scale=scale)
                show(axes[row, column], prediction.preview(), what if row == 0 else "")
        plt.close(drawing)
    caption = f"Predictions of GenPercept's models ({preset}). Depth: near is red; normals: walls ahead are blue."
    return Figure("genpercept_gallery", "What GenPercept makes of a picture", caption, (preset,), drawing)
