"""The mean label as a prediction, against plain means; and the tables that show it."""

import dataclasses

import numpy as np
import pytest
import torch

from data_prep.mini import write_mini
from ddp_repro.papers.genpercept.recipes import recipes, small_model
from ddp_repro.papers.genpercept.tables.mean_label import mean_label, mean_label_constant, score_mean_label
from ddp_repro.protocols.registry import task_named
from ddp_repro.workbook.runs.constant import load_constant

pytest.importorskip("diffusers")


class Labels:
    def __init__(self, truth: str, *maps: np.ndarray) -> None:
        self.truth, self.maps = truth, maps

    def __len__(self) -> int:
        return len(self.maps)

    def load(self, index: int) -> tuple[None, np.ndarray]:
        return None, self.maps[index]


def test_of_masks_it_is_their_mean_where_they_are_known():
    one = np.array([[0, 1], [1, 0]], np.float32)
    two = np.array([[0, 1], [0, 1]], np.float32)
    mean = mean_label(Labels("mask", one, two), small_model(task="dichotomous", loss="image"))
    assert torch.equal(mean, torch.tensor([[0, 1], [0.5, 0.5]]))


def test_of_normals_it_is_a_direction():
    ahead, down = np.zeros((3, 2, 2), np.float32), np.zeros((3, 2, 2), np.float32)
    ahead[2], down[1] = -1, 1
    down[:, 0, 0] = 0  # unknown in one of the two
    mean = mean_label(Labels("normals", ahead, down), small_model(task="normals", loss="angular"))
    assert torch.allclose(mean[:, 0, 0], torch.tensor([0.0, 0, -1]))
    assert torch.allclose(mean[:, 1, 1], torch.tensor([0.0, 0.5**0.5, -(0.5**0.5)]))


def test_of_classes_it_is_the_most_frequent_and_unknown_ones_do_not_vote():
    config = small_model(task="segmentation", loss="image", num_classes=19)
    maps = (np.array([[3, 255]], np.uint8), np.array([[3, 7]], np.uint8), np.array([[5, 255]], np.uint8))
    assert mean_label(Labels("label", *maps), config).tolist() == [[3, 7]]


def test_depth_that_nobody_measured_has_the_mean_of_all():
    depth = np.array([[0, 1, 2, 3]], np.float32)
    mean = mean_label(Labels("depth", depth), small_model(loss="customised"))
    assert mean.isfinite().all() and mean[0, 0] == pytest.approx(mean[0, 1:].mean().item(), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "dataset"), [("genpercept_normals_mini", "nyu_normals"), ("genpercept_matte_mini", "p3m10k")]
)
def test_its_scores_are_kept(name, dataset, tmp_path):
    root = tmp_path / dataset
    write_mini(dataset, root, train=2, val=1, size=(48, 64))
    recipe = recipes("mini")[name]
    recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, root=str(root)))
    first = score_mean_label(recipe, tmp_path / "results")
    assert first.images == 1 and all(getattr(first.score, name) is not None for name in first.score.measures())
    constant = mean_label_constant(recipe)
    assert load_constant(task_named(recipe.model.task), name, "mini", tmp_path / "results", constant) == first
    assert score_mean_label(recipe, tmp_path / "results") == first
