"""A task of one's own, from recipe to figure, without touching the package: edges of the mini streets."""

from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from torch import nn

import ddp_repro
from data_prep.mini import write_mini
from ddp_repro import DataConfig, EvalConfig, Measure, Recipe, Score, TrainConfig, setting
from ddp_repro.data.io import read_image, read_label
from ddp_repro.store.paths import ROOT_VARIABLE
from ddp_repro.tasks import opacity
from ddp_repro.tasks.segmentation.datasets.cityscapes import CITYSCAPES
from ddp_repro.workbook.tables.rendering import to_markdown


class EdgeDataset(opacity.OpacityDataset):
    def _read(self, index):
        sample = self.samples[index]
        picture, label = read_image(sample.image), read_label(sample.label).astype(int)
        edge = (np.diff(label, axis=0, prepend=label[:1]) != 0) | (np.diff(label, axis=1, prepend=label[:, :1]) != 0)
        return picture, edge.astype(np.float32)


class Overlap:
    metrics, higher_is_better, counts = ("overlap",), True, 0

    def image_statistics(self, prediction, truth):
        edge, guess = truth == 1, prediction > 0.2
        return {"pixels": np.array([(guess & edge).sum(), (guess | edge).sum()])}

    def add(self, statistics):
        self.counts = self.counts + statistics["pixels"].sum(0)

    def value(self, metric):
        return float(100 * self.counts[0] / self.counts[1])

    def to_dict(self):
        return {"overlap": self.value("overlap")}


@dataclass(frozen=True, kw_only=True)
class EdgeScore(Score):
    overlap: float


class Edges(ddp_repro.PictureTask):
    name, truth, datasets, made_up_batch = "edges", "opacity", ("edges",), None
    asked_as, estimator, tally_type = name, opacity.OpacityEstimator, Overlap
    score_type, measures = EdgeScore, {"overlap": Measure("overlap", "higher", 2, "%")}

    def open(self, data, split, *, train, mean, std, limit):
        samples = CITYSCAPES.list_samples(Path(data.root), split)[:limit]
        return EdgeDataset("edges", samples, data, train=train, mean=mean, std=std)

    def predict(self, *picture_and_how):
        return opacity.OpacityPrediction(opacity=opacity.estimate_opacity(*picture_and_how))

    def writer(self, model, classes):
        return opacity.save_opacity


@dataclass(frozen=True, kw_only=True)
class EdgeConfig(ddp_repro.ModelSettings):
    kind, paper, builder, diffusion = "edges", "toy", "tests.test_toy_task:EdgeNetwork", False
    task: str = setting("edges", decides="weights")


class EdgeNetwork(nn.Sequential):
    mean, std, has_noise, has_steps = (120.0,) * 3, (60.0,) * 3, False, False

    def __init__(self, config):
        super().__init__(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))
        self.config = config

    def encode(self, batch):
        return self(batch["image"])

    def training_loss(self, batch):
        return {"loss": nn.functional.binary_cross_entropy_with_logits(self.encode(batch)[:, 0], batch["opacity"])}

    def sample(self, images=None, *, features=None):
        return (self(images) if features is None else features).sigmoid()


class Toy(ddp_repro.Paper):
    name, title, citation = "toy", "Edges", "nobody, never"

    def recipes(self, preset):
        data = DataConfig(dataset="edges", root="streets", train_split="train", eval_split="val", crop_size=(32, 48))
        train = {"iterations": 6, "batch_size": 2, "device_batch_size": 2, "warmup_iterations": 0, "workers": 0}
        how = {"train": TrainConfig(**train, backbone_weights=None), "evaluation": EvalConfig(steps=(1,), seeds=(0,))}
        recipe = Recipe(name="edges_mini", preset="mini", table="edges", model=EdgeConfig(), data=data, **how)
        return {"edges_mini": recipe} if preset == "mini" else {}


@pytest.mark.slow
def test_from_recipe_to_figure(tmp_path, monkeypatch):
    monkeypatch.setattr("ddp_repro.protocols.registry._REGISTERED", {})
    monkeypatch.setattr("ddp_repro.workbook.catalogue._REGISTERED", {})
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    ddp_repro.register_task(Edges())
    ddp_repro.register_paper(Toy())
    write_mini("cityscapes", tmp_path / "streets")

    record = ddp_repro.run(ddp_repro.recipe("edges_mini"), progress=False)
    assert record.metrics == ["overlap"] and 0 <= record.values(1)[0] <= 100
    assert "overlap (%) ↑" in to_markdown(ddp_repro.measured_table("mini"))

    model, picture = ddp_repro.trained_model(record), read_image(next(tmp_path.rglob("*_leftImg8bit.png")))
    edges = ddp_repro.predict(model, picture)
    assert edges.opacity.shape == picture.shape[:2]
    drawing = plt.figure()
    drawing.add_subplot().imshow(edges.preview())
    ddp_repro.save_figure(ddp_repro.Figure("edges", "Edges", "Where classes meet.", (record.run,), drawing), tmp_path)
    assert (tmp_path / "edges.png").is_file()
