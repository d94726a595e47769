"""Table 3, its verdict and failed sensors, and Figure 7, from made-up records and samples."""

import dataclasses
import json

import matplotlib as mpl
import numpy as np
import pytest
import torch
from workbook.fake_analyses import make_analysis, write_analyses
from workbook.fake_map_use import make_map_use
from workbook.fakes import write_records

from ddp_repro.papers.ddp.claims import claims_table
from ddp_repro.papers.ddp.figures.figure7 import PALETTE, colour_map, overlay
from ddp_repro.papers.ddp.samples import bev as bev_samples
from ddp_repro.papers.ddp.samples.bev import load_bev_samples, save_bev_samples
from ddp_repro.papers.ddp.tables.robustness import bev_figure, robustness_table
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.overrides import override
from ddp_repro.settings.recipe import EvalConfig, Recipe, TrainConfig
from ddp_repro.tasks.bev.constant import CONSTANT_MAP
from ddp_repro.tasks.bev.metrics import ThresholdCounts
from ddp_repro.tasks.bev.nuscenes.geometry import project_points
from ddp_repro.tasks.bev.score import BEV_CLASSES, BEVScore, bev_score
from ddp_repro.tasks.bev.task import TASK
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.runs import constant, provenance, records
from ddp_repro.workbook.runs.records import RecordError
from ddp_repro.workbook.runs.verdicts import compare, overall
from ddp_repro.workbook.tables.table import paper_table
from tests.evaluation.tiny_bev import DATA, TinyBEV, tiny_bev_model
from tests.models.bev.test_model import CONFIGS

mpl.use("Agg")
PRINTED = {"drivable": 83.6, "ped_crossing": 58.3, "walkway": 61.8, "stop_line": 52.3, "carpark": 51.4, "divider": 49.2}


def score(steps=3, seed=0, miou=59.4, **classes):
    return BEVScore(steps=steps, seed=seed, miou=miou, miou_at_half=50.0, iou=[[1.0] * 7] * 6, **PRINTED | classes)


def make_record(name, scores, images=6019):
    settings = recipe(name)
    dataset = records.Dataset(
        name="nuscenes", split=settings.data.eval_split, images=images, split_images=images, fingerprint="d" * 64,
        classes=list(settings.model.classes),
    )  # fmt: skip
    comparisons = compare(settings, dataset, scores)
    return records.Record(
        recipe=provenance.public_recipe(settings), scores=scores, dataset=dataset,
        checkpoint=records.Checkpoint(sha256="c" * 64, origin="ddp_repro", file=f"results/{name}/model.safetensors"),
        training=None, code=provenance.Code(commit="a" * 40, dirty=False, fingerprint="f" * 64),
        environment=provenance.environment("cpu"), wall_seconds=1.0, comparisons=comparisons,
        verdict=overall(comparisons),
    )  # fmt: skip


def cells(table, heading):
    column = next(c for c in table.frame.columns if c[0].startswith(heading) and c[1].startswith("measured"))
    return list(table.frame[column])


# -- records and verdict -----------------------------------------------------------------------------------------------


def test_score_is_the_counts_in_percent():
    generator = torch.Generator().manual_seed(0)
    probability = torch.rand(2, 6, 8, 8, generator=generator)
    counts = ThresholdCounts(6).update(probability, torch.rand(2, 6, 8, 8, generator=generator) > 0.5)
    made = bev_score(3, 1, counts)
    best = [getattr(made, name) for name in BEV_CLASSES]
    assert best == [max(row) for row in made.iou] and made.miou == pytest.approx(np.mean(best))
    assert made.miou_at_half == pytest.approx(np.mean([row[3] for row in made.iou]))


def test_record_survives_the_disk(tmp_path):
    record = make_record("nuscenes_camera", [score(), score(seed=1, divider=48.0)])
    records.save_record(record, tmp_path / "record.json")
    loaded = records.load_record(tmp_path / "record.json")
    assert loaded == record and loaded.settings() == recipe("nuscenes_camera")
    assert loaded.metrics == ["miou", *BEV_CLASSES, "miou_at_half"]
    assert loaded.values(3, "divider") == [49.2, 48.0]


@pytest.mark.parametrize(
    ("changes", "images", "verdict"),
    [({}, 6019, "reproduced"), ({"divider": 48.8}, 6019, "differs"), ({}, 6018, "trend only")],
)
def test_verdict_needs_every_class_and_the_whole_split(changes, images, verdict):
    record = make_record("nuscenes_camera", [score(**changes)], images)
    assert record.verdict == verdict
    assert len(record.comparisons) == (7 if images == 6019 else 0)


def test_another_test_picture_claims_nothing():
    settings = recipe("nuscenes_camera")
    settings = dataclasses.replace(settings, data=dataclasses.replace(settings.data, test_resize=0.5))
    dataset = make_record("nuscenes_camera", [score()]).dataset
    assert compare(settings, dataset, [score()]) == []


def test_a_constant_map_is_scored_anew_for_other_maps(tmp_path, monkeypatch):
    """Fingerprints are of files, and say nothing about how the ground is drawn from them."""
    asked = []
    plain = recipe("nuscenes_mini_camera")
    monkeypatch.setattr(constant, "build_dataset", lambda *given, **how: Samples())

    def evaluate(train, scored, how):
        asked.append(1)
        return counted()

    evaluate.__module__ = CONSTANT_MAP.evaluate.__module__
    monkeypatch.setattr(type(TASK), "constant", CONSTANT_MAP._replace(evaluate=evaluate))
    for changes, times in (({}, 1), ({}, 1), ({"data.map_cell": 0.5}, 2), ({"data.map_range": 20.0}, 3)):
        constant.score_constant(override(plain, changes), tmp_path)
        assert len(asked) == times


class Samples:
    def fingerprint(self):
        return "f" * 64

    def __len__(self):
        return 3


def counted():
    counts = ThresholdCounts(len(BEV_CLASSES))
    counts.counts[0] += 1
    return counts


# -- tables ------------------------------------------------------------------------------------------------------------


def test_small_models_have_rows_of_their_own(tmp_path):
    for name, miou in (("nuscenes_mini_camera", 30.0), ("nuscenes_mini_fusion", 40.0)):
        write_records(tmp_path, make_record(name, [score(s, k, miou + s + k) for s in (1, 3) for k in (0, 1)], 8))
        best = constant.ConstantScore(
            training="t" * 64, dataset="d" * 64, images=8, score=score(0, None, 20.0),
            code=provenance.Code(commit="a" * 40, dirty=False, fingerprint="f" * 64),
        )  # fmt: skip
        values = {"schema": constant.SCHEMA} | dataclasses.asdict(best)
        (tmp_path / "mini/runs" / name / CONSTANT_MAP.file).write_text(json.dumps(values))
    table = paper_table("ddp_table3", "mini", tmp_path)
    own = table.frame.iloc[14:]
    assert list(own["", "Method"]) == [
        "DDP (step 1), mini", "DDP (step 3), mini", "DDP (step 1), mini", "DDP (step 3), mini",
        "best constant map of the training samples, mini",
    ]  # fmt: skip
    assert list(own["", "Modality"]) == ["C", "C", "C+L", "C+L", "–"]
    assert cells(table, "Mean")[14:] == ["31.5 ± 0.7", "33.5 ± 0.7", "41.5 ± 0.7", "43.5 ± 0.7", "20.0"]
    assert set(cells(table, "mIoU at 0.5")[14:]) == {"50.0 ± 0.0", "50.0"}
    assert set(cells(table, "Mean")[:14]) == {"–", "not run"}
    assert any("best of 7 thresholds" in note for note in table.notes)
    assert list(table.provenance["Run"]) == ["nuscenes_mini_camera", "nuscenes_mini_fusion"]


def test_failed_sensors_of_both_models():
    def made(run, **values):
        rows = [
            {"failure": name, "seed": seed, "miou": v + seed, "miou_at_half": v}
            for name, v in values.items()
            for seed in (0, 1)
        ]
        settings = {"steps": 3, "seeds": [0, 1], "limit": None}
        return make_analysis("robustness", run, "mini", settings=settings, result={"scores": rows})

    table = robustness_table([made("cam", all=40.0, front=20.0), made("fus", all=50.0, lidar=30.0)])
    assert list(table.frame["", "Sensors"]) == ["all", "front", "lidar"]
    columns = [list(table.frame[c]) for c in table.frame.columns if c[0] == "mIoU (%) ↑"]
    assert columns == [["40.5 ± 0.7", "20.5 ± 0.7", "not run"], ["50.5 ± 0.7", "not run", "30.5 ± 0.7"]]


# -- Figure 7 ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Samples of both tiny models, as a run saves them."""
    folder = tmp_path_factory.mktemp("runs")
    for sensors in CONFIGS:
        settings = Recipe(
            name="tiny", model=CONFIGS[sensors], data=DATA, train=TrainConfig(), evaluation=EvalConfig(seeds=(0,))
        )
        path = folder / f"mini/runs/nuscenes_mini_{sensors}" / bev_samples.FILE
        save_bev_samples(tiny_bev_model(sensors), TinyBEV(), settings, path)
    return folder


def test_samples_hold_what_was_predicted(saved):
    first, last = load_bev_samples(saved / "mini/runs/nuscenes_mini_fusion" / bev_samples.FILE)
    assert (first.token, last.token) == ("token 0", "token 2")
    assert first.pictures.shape == (6, 90, 160, 3) and first.probability.shape == first.truth.shape == (6, 24, 24)
    assert np.array_equal(last.truth, TinyBEV().masks(2)) and first.ground == -1.8
    p = first.probability.astype(float)  # the mean over steps and start noises, in half precision
    entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    np.testing.assert_allclose(first.uncertainty, entropy.max(0), atol=2e-3)
    assert len(last.points) == 400


def test_map_is_seen_from_above_driving_upwards():
    masks = np.zeros((6, 4, 4), bool)
    masks[2, 3, 3] = masks[0, 0, 3] = True  # right and ahead; left and ahead
    picture = colour_map(masks)
    assert tuple(picture[0, 3]) == tuple(PALETTE[2]) and tuple(picture[0, 0]) == tuple(PALETTE[0])


def test_projected_map_has_the_colour_of_the_ground_there(saved):
    sample = load_bev_samples(saved / "mini/runs/nuscenes_mini_camera" / bev_samples.FILE)[0]
    camera = np.array([[60.0, 0, 80], [0, 60, 45], [0, 0, 1]])
    probability = np.zeros_like(sample.probability)
    probability[4, 14, 20] = 1  # x 1 to 1.5 m, y 4 to 4.5 m
    forward = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    sample = dataclasses.replace(
        sample, probability=probability, intrinsics=np.stack([camera] * 6), camera_to_lidar=np.stack([forward] * 6),
        pictures=np.zeros_like(sample.pictures),
    )  # fmt: skip
    (pixel,), _ = project_points(np.array([[1.25, 4.25, sample.ground]]), forward, camera)
    drawn, (u, v) = overlay(sample, 0), pixel.astype(int)
    assert drawn[v, u].astype(float) == pytest.approx(0.55 * PALETTE[4], abs=1)
    assert (drawn.any(-1)).sum() < 60  # and nothing else


def test_figure_of_both_models(saved):
    names = ["nuscenes_mini_camera", "nuscenes_mini_fusion"]
    with pytest.raises(FileNotFoundError, match="run nuscenes_mini_camera first"):
        bev_figure(names, "mini", saved)
    write_records(saved, *(make_record(name, [score()], 3) for name in names))
    figure = bev_figure(names, "mini", saved)
    assert figure.sources == tuple(names) and "3 images" in figure.caption
    titles = [axes.get_title() for axes in figure.drawing.findobj(mpl.axes.Axes)]
    assert titles.count("truth") == 2 and titles.count("uncertainty, C+L") == 2 and titles.count("front left") == 2


def test_damaged_or_other_samples_are_refused(saved, tmp_path):
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(RecordError, match="holds no BEV samples"):
        load_bev_samples(tmp_path / "x.npz")
    names = ["nuscenes_mini_camera", "nuscenes_mini_fusion"]
    write_records(tmp_path, *(make_record(name, [score()], 3) for name in names))
    for name, count in zip(names, (3, 1), strict=True):
        settings = Recipe(name="tiny", model=CONFIGS["camera"], data=DATA)
        path = tmp_path / f"mini/runs/{name}" / bev_samples.FILE
        save_bev_samples(tiny_bev_model("camera"), TinyBEV(count), settings, path)
    with pytest.raises(ConfigError, match="different samples"):
        bev_figure(names, "mini", tmp_path)


# -- claims ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fusion", "verdict"),
    [((45.0, 46.0), "supported"), ((40.1, 41.1), "equal"), ((37.0, 38.0), "not supported")],
)
def test_claims_of_bev(tmp_path, fusion, verdict):
    """Two trainings each."""
    scores = {"camera": (40.0, 41.0), "fusion": fusion}
    for sensors, (one, three) in scores.items():
        several = [score(steps, seed, miou) for steps, miou in ((1, one), (3, three)) for seed in (0, 1)]
        for end in ("", "-seed1"):
            write_records(tmp_path, make_record(f"nuscenes_mini_{sensors}{end}", several))
        write_analyses(tmp_path, make_map_use(f"nuscenes_mini_{sensors}"))
    table = claims_table("mini", tmp_path)
    rows = dict(zip(table.frame["", "Key"], table.frame["Verdict", "by itself"], strict=True))
    expected = {"bev_steps_camera": "supported", "bev_steps_fusion": "supported", "lidar": verdict}
    assert {key: rows[key].partition(" (p")[0] for key in expected} == expected
    names = [f"nuscenes_mini_{sensors}{end}" for sensors in ("camera", "fusion") for end in ("", "-seed1")]
    assert sorted(table.provenance["Run"]) == sorted(names)
