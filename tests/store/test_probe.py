"""Probes: the same on every processor, moved by what the code does otherwise, and by nothing else."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from ddp_repro.data import transforms
from ddp_repro.papers.ddp import segmentation
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.errors import ConfigError
from ddp_repro.store.work import first_moved
from ddp_repro.tasks.segmentation.metrics import ClassCounts
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.runs import works

GOLDEN = Path(__file__).parents[1] / "golden" / "probes.json"
RECIPES = ("camvid_small", "nyu_mini", "nuscenes_camera")


def probes(name):
    """Both probes of a recipe, taken now."""
    settings = recipe(name)
    scores = works.probe_scores(settings.model, settings.data, settings.evaluation)
    return {"scores": scores, "weights": works._probe_training(settings)}


@pytest.mark.numerics
@pytest.mark.parametrize("name", RECIPES)
def test_probes_are_those_of_another_processor(name):
    """Where the behaviour was changed on purpose: write ``{name: probes(name) for name in RECIPES}`` anew."""
    stored = json.loads(GOLDEN.read_text())[name]
    for part, numbers in probes(name).items():
        assert first_moved(stored[part], numbers) is None


@pytest.mark.parametrize("what", ["depth", "normals", "foreground", "matte"])
def test_every_task_of_pictures_can_be_probed(what):
    """Pictures that are not square: maps of the wrong shape show."""
    pytest.importorskip("diffusers")
    settings = recipe(f"genpercept_{what}_mini")
    numbers = works.probe_scores(settings.model, settings.data, settings.evaluation)
    assert any(value is not None for name, value in numbers.items() if name.startswith("counted"))


def other_metric(monkeypatch):
    monkeypatch.setattr(ClassCounts, "iou", lambda self: self.counts[0].double() / self.counts[2])


def other_normalisation(monkeypatch):
    old = transforms.normalize
    monkeypatch.setattr(transforms, "normalize", lambda image, mean, std: old(image, mean, std) * 1.01)


def other_labels(monkeypatch):
    old = segmentation.SegmentationDDP.target_map
    monkeypatch.setattr(segmentation.SegmentationDDP, "target_map", lambda self, *given: old(self, *given).flip(-1))


def other_augmentation(monkeypatch):
    monkeypatch.setattr(transforms, "random_flip", lambda image, label, rng: (image, label))


def other_optimizer(monkeypatch):
    old = works.build_optimizer
    monkeypatch.setattr(works, "build_optimizer", lambda network, config: old(network, dataclasses.replace(
        config, learning_rate=2 * config.learning_rate
    )))  # fmt: skip


@pytest.mark.parametrize(
    ("change", "scores", "weights"),
    [
        (other_metric, "tally miou", None), (other_normalisation, "sample", "training image"),
        (other_labels, None, "loss"), (other_augmentation, None, "training image"),
        (other_optimizer, None, "gradient step"),
    ],
)  # fmt: skip
def test_what_the_code_does_otherwise_is_noticed(change, scores, weights, monkeypatch):
    before = probes("camvid_small")
    change(monkeypatch)
    after = probes("camvid_small")
    for part, expected in (("scores", scores), ("weights", weights)):
        moved = {name for name in before[part] if first_moved({"": before[part][name]}, {"": after[part][name]})}
        assert any(name.startswith(expected) for name in moved) if expected else not moved


def test_a_probe_leaves_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    probes("camvid_small")
    assert torch.equal(torch.rand(3), expected)


def test_a_made_up_batch_that_does_not_fit_is_refused_with_what_to_change(monkeypatch):
    task = task_named("segmentation")
    monkeypatch.setattr(
        task, "made_up_batch", lambda *_: {"image": torch.zeros(1, 5, 8, 8), "id": ["a"]}, raising=False
    )
    with pytest.raises(ConfigError, match=r"ModelConfig failed .* made_up_batch of task 'segmentation'"):
        probes("camvid_small")


def test_without_a_made_up_batch_there_is_no_probe(monkeypatch):
    monkeypatch.setattr(task_named("segmentation"), "made_up_batch", None, raising=False)
    assert dict(works.scores_work(recipe("camvid_small"), "i", "w").probe) == {}
