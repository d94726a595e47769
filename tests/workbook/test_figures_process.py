"""Figures 1 and 2: drawn from a model while it runs; what is drawn is what the model does."""

import dataclasses

import matplotlib as mpl
import numpy as np
import pytest
import torch
from workbook.fakes import make_record
from workbook.tiny import tiny, write_data

from ddp_repro.costs.macs import count_parameters
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.figures import figure1, figure2
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.overrides import to_dict
from ddp_repro.workbook.runs.run import evaluation_dataset

mpl.use("Agg")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A model that was not trained, its images, and a record that names them."""
    recipe = tiny("cityscapes_mini", write_data("cityscapes", tmp_path_factory.mktemp("data")))
    torch.manual_seed(0)
    model = build_model(recipe.model)
    record = dataclasses.replace(make_record("cityscapes_mini"), recipe=to_dict(recipe))
    return model, evaluation_dataset(recipe, model), record


def panels(figure) -> dict[str, np.ndarray]:
    """Pictures of a drawing by their titles."""
    pictures = {}
    for axes in figure.drawing.axes:
        for inner in (axes, *axes.child_axes):
            if inner.images:
                pictures[inner.get_title() or inner.get_xlabel()] = inner.images[0].get_array()
    return pictures


def test_both_processes_meet_in_the_same_noise(scene):
    drawn = panels(figure1.figure_1(*scene))
    noise, corrupted = (drawn[title].astype(int) for title in ("noise (t = 1)", "t = 1"))
    assert np.abs(noise - corrupted).mean() < 2  # of 255; at t = 1 the schedule leaves a trace of the true map
    assert np.abs(drawn["t = 0"].astype(int) - noise).mean() > 20


def test_every_class_of_the_true_map_has_one_colour(scene):
    _, dataset, _ = scene
    clean = panels(figure1.figure_1(*scene, index=1))["t = 0"].astype(int)
    label = dataset.load(1)[1]
    labels = label[:: len(label) // len(clean), :: len(label) // len(clean)]  # the nearest pixel of each cell
    classes = np.unique(labels)
    means = np.array([clean[labels == number].mean(0) for number in classes])
    assert len(classes) > 3
    assert max(np.ptp(clean[labels == number], axis=0).max() for number in classes) <= 1
    assert len(np.unique(means.round(), axis=0)) > 3


def test_each_step_starts_from_a_map_and_predicts(scene):
    drawn = panels(figure1.figure_1(*scene))
    assert [title for title in drawn if title.endswith("predicts")] == [f"step {n} predicts" for n in (3, 2, 1)]
    assert {"after step 1 (t = 0.33)", "after step 2 (t = 0)", "after step 3 (t = 0)"} <= drawn.keys()


def test_the_framework_shows_shapes_and_parameters_of_the_model(scene):
    model, dataset, _ = scene
    figure = figure2.figure_2(*scene)
    words = [text.get_text() for text in figure.drawing.axes[0].texts]
    encoder = (count_parameters(model.backbone) + count_parameters(model.neck)) / 1e6
    assert any(word.startswith(f"encoder\n{encoder:.3g} M parameters") for word in words)
    height, width = dataset[0]["image"].shape[1:]
    assert any(f"{model.config.channels} × {height // model.stride} × {width // model.stride}" in w for w in words)
    assert f"prediction\n{model.config.num_classes} × {height // model.stride} × {width // model.stride}" in panels(
        figure
    )


@pytest.mark.parametrize("draw", [figure1.figure_1, figure2.figure_2])
def test_a_model_without_noise_has_no_such_figure(scene, draw):
    _, dataset, record = scene
    baseline = build_model(dataclasses.replace(scene[0].config, diffusion=False))
    with pytest.raises(ConfigError, match="cityscapes_mini: the figure shows a diffusion model"):
        draw(baseline, dataset, record)


def test_the_model_is_left_as_it_was(scene):
    model = scene[0].train()
    figure1.figure_1(*scene)
    figure2.figure_2(*scene)
    assert model.training
