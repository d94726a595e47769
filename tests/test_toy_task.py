"""A task and a paper of one's own, from recipe to picture, without touching the package: edges of the mini streets."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import ddp_repro
from data_prep.mini import write_mini
from ddp_repro.evaluation.measure import Measure
from ddp_repro.evaluation.score import Score
from ddp_repro.evaluation.views import Predictor, resized
from ddp_repro.protocols.registry import register_task
from ddp_repro.protocols.task import Classes
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.kinds import ModelSettings
from ddp_repro.settings.recipe import DataConfig, EvalConfig, Recipe, TrainConfig
from ddp_repro.settings.setting import setting
from ddp_repro.tasks.segmentation.dataset import SegmentationDataset
from ddp_repro.tasks.segmentation.task import Segmentation
from ddp_repro.workbook import catalogue
from ddp_repro.workbook.runs.run import run
from ddp_repro.workbook.tables.rendering import to_markdown
from ddp_repro.workbook.tables.table import measured_table


@dataclass(frozen=True, kw_only=True)
class EdgeConfig(ModelSettings):
    kind: ClassVar[str] = "edges"
    paper: ClassVar[str] = "toy"
    builder: ClassVar[str] = "tests.test_toy_task:EdgeNetwork"
    task: str = setting("edges", decides="weights")
    channels: int = setting(8, decides="weights", at_least=1)
    diffusion: bool = setting(False, decides="weights")


class EdgeNetwork(nn.Module):
    mean, std, has_noise, has_steps = (120.0,) * 3, (60.0,) * 3, False, False

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.body = nn.Sequential(
            nn.Conv2d(3, config.channels, 3, padding=1), nn.ReLU(), nn.Conv2d(config.channels, 1, 1)
        )

    def encode(self, batch):
        return self.body(batch["image"])

    def training_loss(self, batch):
        loss = nn.functional.binary_cross_entropy_with_logits(self.body(batch["image"])[:, 0], batch["edge"].float())
        return {"loss": loss}

    def sample(self, images=None, *, features=None):
        return (self.body(images) if features is None else features).sigmoid()


class EdgeDataset(SegmentationDataset):
    truth = "edge"

    def _read(self, index):
        picture, label = super()._read(index)
        label = label.astype(np.int64)
        edge = (np.diff(label, axis=0, prepend=label[:1]) != 0) | (np.diff(label, axis=1, prepend=label[:, :1]) != 0)
        return picture, edge.astype(np.uint8)


class Overlap:
    metrics, higher_is_better = ("overlap",), True

    def __init__(self):
        self.counts = np.zeros(2, np.int64)

    def image_statistics(self, prediction, truth):
        edge = truth == 1
        return {"pixels": np.array([(prediction & edge).sum(), (prediction | edge).sum()])}

    def add(self, statistics):
        self.counts += statistics["pixels"].sum(0)

    def value(self, metric):
        return float(self.counts[0] / self.counts[1])


@dataclass(frozen=True, kw_only=True)
class EdgeScore(Score):
    overlap: float


class EdgePredictor(Predictor):
    def finish(self, outputs, index):
        return next(self.at_original_size(outputs, index))[0, 0] > 0.2


class Edges(Segmentation):
    name, truth, datasets, score_type, saves_predictions = "edges", "edge", ("edges",), EdgeScore, False
    measures: ClassVar = {"overlap": Measure("overlap", "higher", 2, "%")}

    def open(self, data, split, *, train, mean, std, limit):
        from ddp_repro.tasks.segmentation.datasets.cityscapes import CITYSCAPES

        samples = CITYSCAPES.list_samples(Path(data.root), split)[:limit]
        return EdgeDataset(CITYSCAPES, samples, data, train=train, mean=mean, std=std)

    def made_up_batch(self, model, data, train):
        image = torch.linspace(-2, 2, 2 * 3 * 16 * 24).sin().reshape(2, 3, 16, 24)
        return {"image": image, "edge": (image[:, 0] > 0).to(torch.uint8), "id": ["a", "b"]}

    def complete(self, recipe):
        return recipe

    def check(self, model, dataset):
        assert dataset.truth == self.truth

    def survey(self, dataset, recipe):
        return None

    def classes(self, data):
        return Classes(("inside", "edge"), ((0, 0, 0), (255, 255, 255)))

    def tally(self, model, evaluation):
        return Overlap()

    def score(self, steps, seed, tally):
        return EdgeScore(steps=steps, seed=seed, overlap=100 * tally.value("overlap"))

    def predictor(self, *given):
        return EdgePredictor(*given)

    def predict(self, model, image, steps, noise_samples, seed):
        return resized(model.sample(image.views[0][None])[0, 0], tuple(image.views[0].shape[-2:]), image.truth.shape)


RECIPE = Recipe(
    name="edges_mini", preset="mini", table="edges", row="edges", model=EdgeConfig(),
    data=DataConfig(dataset="edges", root="streets", train_split="train", eval_split="val", image_scale=(128, 64),
                    crop_size=(32, 48)),
    train=TrainConfig(iterations=6, batch_size=2, device_batch_size=2, learning_rate=1e-2, warmup_iterations=0,
                      backbone_weights=None, workers=0, validate_every=3),
    evaluation=EvalConfig(steps=(1,), seeds=(0,)),
)  # fmt: skip


class ToyPaper:
    """The parts of a paper that a recipe of its own needs; the rest is asked of papers with printed tables."""

    name = "toy"
    released = ()

    def recipes(self, preset):
        return {RECIPE.name: RECIPE} if preset == "mini" else {}

    def samples(self, recipe):
        return None

    def count(self, recipe, size, steps, printed=None):
        return None

    def row_label(self, recipe, steps):
        return "edges"


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr("ddp_repro.protocols.registry._REGISTERED", {})
    monkeypatch.setattr(catalogue, "_REGISTERED", {})
    register_task(Edges())
    catalogue.register(ToyPaper())


def test_from_recipe_to_picture(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ddp_repro.store.paths.working_root", lambda: tmp_path)
    monkeypatch.setattr("ddp_repro.workbook.runs.run.working_root", lambda: tmp_path)
    monkeypatch.setattr("ddp_repro.workbook.runs.training.working_root", lambda: tmp_path)
    write_mini("cityscapes", tmp_path / "streets")
    record = run(ddp_repro.recipe("edges_mini"), progress=False)
    assert record.metrics == ["overlap"] and 0 <= record.values(1)[0] <= 100
    assert "overlap (%) ↑" in to_markdown(measured_table("mini"))
    model = ddp_repro.create_model("edges_mini", checkpoint="results/mini/runs/edges_mini/model.safetensors")
    edges = ddp_repro.predict(model, Image.fromarray(np.zeros((40, 60, 3), np.uint8)))
    assert edges.shape == (40, 60)


def test_a_task_that_lacks_a_part_is_refused_by_its_name():
    with pytest.raises(ConfigError, match="task 'half' lacks .*tally"):
        register_task(type("Half", (), {"name": "half", "truth": "x"})())


def test_unknown_names_tell_the_known_ones():
    from ddp_repro.protocols.registry import task_named

    with pytest.raises(ConfigError, match="no task 'edges'; tasks are segmentation, depth, bev, affine_depth, normals"):
        task_named("edges")
    with pytest.raises(ConfigError, match="no paper 'x'; papers are ddp"):
        catalogue.paper_named("x")
