"""BEV evaluation: batches, processes and seeds, failed sensors, and the constant map that is to be beaten."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import multiprocessing

from ddp_repro.diffusion import image_generator
from ddp_repro.evaluation.evaluate import evaluate_model
from ddp_repro.evaluation.per_image import collection
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.overrides import override
from ddp_repro.settings.recipe import EvalConfig
from ddp_repro.tasks.bev.constant import best_constant_map, evaluate_constant_map
from ddp_repro.tasks.bev.evaluate import evaluate_bev, failures, sensor_batch
from ddp_repro.tasks.bev.metrics import ThresholdCounts
from tests.evaluation.tiny_bev import TinyBEV, tiny_bev_model

pytestmark = pytest.mark.numerics

SETTINGS = EvalConfig(steps=(1, 2), seeds=(0, 1), batch_size=2)


@pytest.fixture(scope="module")
def fusion():
    model, dataset = tiny_bev_model("fusion"), TinyBEV()
    return model, dataset, evaluate_model(model, dataset, SETTINGS, progress=False)


def test_counts_are_those_of_the_samples_own_noise(fusion):
    model, dataset, result = fusion
    expected = ThresholdCounts(6)
    for index in range(len(dataset)):
        batch = dataset.collate([dataset[index]])
        with torch.no_grad():
            probability = model.sample(batch, steps=2, generator=[image_generator(1, dataset.ids[index])])
        expected.update(probability, batch["masks"])
    assert result.tallies[2, 1].counts.tolist() == expected.counts.tolist()
    assert 0 < result.summary(2).mean == (expected.best_iou().mean() + result.tallies[2, 0].value("miou")) / 2
    assert result.tallies[2, 0].counts.tolist() != expected.counts.tolist()  # the seed matters


def test_two_processes_of_single_samples_count_as_one_of_batches(fusion, monkeypatch):
    model, dataset, whole = fusion
    alone, halves = dataclasses.replace(SETTINGS, batch_size=1), []
    monkeypatch.setattr(collection, "gathered", lambda rows: halves.append(rows) or (halves * 2)[:2])
    for rank in range(2):
        monkeypatch.setattr(collection, "rank_and_world", lambda rank=rank: (rank, 2))
        with contextlib.suppress(KeyError):  # the first has only its own half
            both = evaluate_bev(model, dataset, alone, progress=False)
    assert [set(half) for half in halves] == [{0, 2}, {1}]
    for key, tally in both.tallies.items():
        assert tally.counts.tolist() == whole.tallies[key].counts.tolist()


def evaluate_in_process(rank: int, count: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=count)
    result = evaluate_bev(tiny_bev_model("fusion"), TinyBEV(), SETTINGS, progress=False)
    counts = {str(key): tally.counts.tolist() for key, tally in result.tallies.items()}
    (folder / f"{rank}.json").write_text(json.dumps([result.images, counts]))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_real_processes_count_as_one(fusion, tmp_path):
    multiprocessing.start_processes(evaluate_in_process, args=(2, tmp_path), nprocs=2, start_method="fork")
    expected = [3, {str(key): tally.counts.tolist() for key, tally in fusion[2].tallies.items()}]
    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)] == [expected, expected]


def test_failed_sensors_change_what_they_should(fusion):
    model, dataset, _ = fusion
    item, found = dataset[0], failures(model)
    assert next(iter(found)) == "all" and len(found) == 9
    black = found["front left camera black"](item)["image"]
    changed = [not torch.equal(a, b) for a, b in zip(black, item["image"], strict=True)]
    assert changed == [False, False, True, False, False, False]
    restored = black[2] * torch.tensor(model.std)[:, None, None] + torch.tensor(model.mean)[:, None, None]
    assert restored.abs().max() < 1e-4
    assert len(found["one of 8 LiDAR points"](item)["points"]) == 25
    whole, blind = (sensor_batch([each], dataset, torch.device("cpu")) for each in (item, found["no LiDAR"](item)))
    assert blind["points"] is None and not torch.equal(model.encode(whole), model.encode(blind))
    assert len(failures(tiny_bev_model("camera"))) == 7


def test_failure_reaches_the_evaluation(fusion):
    model, dataset, whole = fusion
    opposite = evaluate_bev(
        model, dataset, SETTINGS, failure=lambda item: item | {"masks": ~item["masks"]}, progress=False
    )
    for key, tally in opposite.tallies.items():  # what was a hit is a false alarm, and the other way round
        assert tally.counts[1].tolist() == whole.tallies[key].counts[0].tolist()


def test_what_cannot_work_is_refused(fusion):
    model, dataset, _ = fusion
    with pytest.raises(ConfigError, match="one view"):
        evaluate_model(model, dataset, dataclasses.replace(SETTINGS, flip=True))
    with pytest.raises(ConfigError, match="segmentation only"):
        evaluate_model(model, dataset, SETTINGS, save_to="folder")
    with pytest.raises(ConfigError, match="map_cell"):
        task_named("bev").check(override(model.config, {"map_cell": 1.0}), dataset)
    dataset.data = dataclasses.replace(dataset.data, lidar=False)
    with pytest.raises(ConfigError, match=r"data\.lidar"):
        task_named("bev").check(model.config, dataset)


def test_constant_map_is_the_best_of_all():
    truths = np.random.default_rng(0).random((5, 2, 2, 3)) < 0.4
    truths[:, 1] = False
    best = best_constant_map(truths.mean(0))
    assert not best[1].any()

    def iou(cells: np.ndarray) -> float:
        return (truths[:, 0] & cells).sum() / (truths[:, 0] | cells).sum()

    every = [iou(np.reshape(cells, (2, 3))) for cells in itertools.product((False, True), repeat=6)]
    assert iou(best[0]) == max(every) > 0


def test_constant_map_is_scored_on_other_samples():
    tally = evaluate_constant_map(TinyBEV(1), TinyBEV(1), SETTINGS)
    assert tally.value("miou") == pytest.approx(1)  # the map of the only sample
    other = evaluate_constant_map(TinyBEV(1), TinyBEV(3), SETTINGS)
    assert 0 < other.value("miou") < 1 and other.value("miou") == pytest.approx(other.value("miou_at_half"))
