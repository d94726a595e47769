"""Depth from recipe to record, and the commands on what is left there, on a handful of synthetic pictures."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from ddp_repro import cli, training
from ddp_repro.data.io import DataError, read_depth
from ddp_repro.papers.ddp import analyses
from ddp_repro.papers.ddp.samples import depth as depth_samples
from ddp_repro.papers.ddp.samples.depth import load_depth_samples
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.overrides import override, parse_overrides
from ddp_repro.settings.training_seeds import seeded
from ddp_repro.tasks.depth.dataset import DepthDataset
from ddp_repro.tasks.depth.metrics import METRICS
from ddp_repro.tasks.depth.score import DepthScore
from ddp_repro.tasks.depth.task import TASK
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.runs import provenance
from ddp_repro.workbook.runs import run as runs
from ddp_repro.workbook.runs import training as trainings
from ddp_repro.workbook.runs.constant import load_constant, score_constant
from ddp_repro.workbook.runs.records import RecordError, load_record
from ddp_repro.workbook.runs.run import evaluate, run, run_table, trained_model
from ddp_repro.workbook.runs.training import train
from ddp_repro.workbook.tables.measures import measures

SIZES = {"kitti": (48, 160), "nyu": (48, 64), "sunrgbd": (60, 80)}
OVERRIDES = [
    "train.iterations=2", "train.batch_size=2", "train.device_batch_size=2", "train.warmup_iterations=1",
    "evaluation.steps=1,3", "evaluation.seeds=0,1", "model.layers=1", "model.channels=32", "model.heads=2",
    "model.feedforward_channels=32",
]  # fmt: skip
QUIET = {"progress": False}


def tiny(name, *words):
    return override(recipe(name), parse_overrides([*OVERRIDES, *words]))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder outside any clone, where Table 6 and KITTI's model were made; tests take copies of it."""
    from data_prep.mini import write_mini

    place = tmp_path_factory.mktemp("place")
    for dataset, size in SIZES.items():
        write_mini(dataset, place / "data/mini" / dataset, train=0 if dataset == "sunrgbd" else 3, val=2, size=size)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        run_table("ddp_table6", "mini", overrides=OVERRIDES, **QUIET)
        run(tiny("kitti_mini"), **QUIET)
    return place


@pytest.fixture
def place(finished, tmp_path, monkeypatch):
    """Its data, and a copy of its results."""
    (tmp_path / "data").symlink_to(finished / "data")
    shutil.copytree(finished / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def folder(place):
    return place / "results/mini/runs/kitti_mini"


@pytest.fixture
def calls(monkeypatch):
    """Which of the two expensive parts were called, with the real thing behind them."""
    made = []

    def spy(name, function):
        def call(*arguments, **options):
            made.append(name)
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(runs, "evaluate_model", spy("evaluate", runs.evaluate_model))
    monkeypatch.setattr(training, "train", spy("train", training.train))
    return made


def test_record_of_a_run(folder):
    record = load_record(folder / "record.json")
    assert (record.run, record.preset, record.verdict) == ("kitti_mini", "mini", "trend only")  # flip needs no "-ms"
    assert [(s.steps, s.seed) for s in record.scores] == [(1, 0), (1, 1), (3, 0), (3, 1)]
    assert all(isinstance(score, DepthScore) for score in record.scores)
    assert all(0 <= s.delta1 <= s.delta2 <= s.delta3 <= 1 and s.rel > 0 for s in record.scores)
    assert record.metrics == list(METRICS) and set(METRICS) <= measures().keys()
    assert (record.dataset.images, record.dataset.split_images, record.dataset.unannotated) == (2, 2, 2)
    assert record.dataset.classes == [] and record.training.iterations == 2
    assert record.recipe["evaluation"]["protocol"] == "kitti_garg" and record.recipe["evaluation"]["flip"]
    assert record.checkpoint.sha256 == provenance.weights_sha256(folder / "model.safetensors")
    summary = json.loads((folder / "record.json").read_text())["summary"]
    assert summary[0]["rel_mean"] == pytest.approx(np.mean(record.values(1, "rel")))


def test_equal_work_is_skipped_and_other_refused(place, calls, capsys):
    run(tiny("kitti_mini"), **QUIET)
    run_table("ddp_table6", "mini", overrides=OVERRIDES, **QUIET)
    assert calls == [] and capsys.readouterr().err.count("skipped") == 2
    with pytest.raises(ConfigError, match=r"evaluation\.protocol was 'kitti_garg', is 'outdoor'"):
        run(tiny("kitti_mini", "evaluation.protocol=outdoor"), **QUIET)


def test_the_released_variant_is_another_recipe(place):
    with pytest.raises(ConfigError, match=r"model\.time_conditioned was True, is False"):
        run(tiny("kitti_mini", "model.time_conditioned=false"), **QUIET)


def test_baseline_has_one_score_and_no_samples(place):
    record = run(tiny("kitti_mini_baseline", "evaluation.steps=1", "evaluation.seeds=0"), **QUIET)
    (score,) = record.scores
    assert score.seed is None and record.seeds == []
    assert not (place / "results/mini/runs/kitti_mini_baseline" / depth_samples.FILE).exists()


# -- a recipe that evaluates another one's weights -----------------------------------------------------------------


def test_evaluation_alone_trains_the_other_recipe_first_and_shares_its_weights(place, calls):
    weights = place / "results/mini/runs/nyu_mini/model.safetensors"
    (record,) = run_table("ddp_table6", "mini", overrides=OVERRIDES, **QUIET)
    assert record.checkpoint.sha256 == provenance.weights_sha256(weights)
    assert record.dataset.name == "sunrgbd" and record.training is None
    assert not (place / "results/mini/runs/sunrgbd_mini/model.safetensors").exists()
    before = weights.read_bytes()
    (other,) = run_table("ddp_table7", "mini", rows=["nyu_mini"], overrides=OVERRIDES, **QUIET)
    assert calls == ["train", "evaluate"]  # the former finds the weights finished
    assert weights.read_bytes() == before and other.checkpoint.sha256 == record.checkpoint.sha256
    assert trained_model(record).config == other.settings().model


def test_data_in_another_folder_are_looked_for_side_by_side(place, calls):
    (place / "elsewhere").symlink_to((place / "data/mini").resolve())
    (place / "data").unlink()
    shutil.rmtree(place / "results")
    run_table("ddp_table6", "mini", overrides=[*OVERRIDES, "data.root=elsewhere/sunrgbd"], **QUIET)
    assert calls == ["train", "evaluate"] and not (place / "data/mini/nyu").exists()
    assert trainings.source_of(tiny("sunrgbd_mini")).data.root == "data/mini/nyu"


def test_weights_trained_anew_are_scored_anew(place, calls):
    folder = place / "results/mini/runs"
    run(tiny("nyu_mini", "train.learning_rate=0.01"), overwrite=True, **QUIET)
    calls.clear()
    record = run(tiny("sunrgbd_mini"), **QUIET)
    assert calls == ["evaluate"]
    assert record.checkpoint.sha256 == provenance.weights_sha256(folder / "nyu_mini/model.safetensors")


def test_a_clone_with_records_but_no_weights_is_finished(place, calls):
    record = load_record(place / "results/mini/runs/sunrgbd_mini/record.json")
    shutil.rmtree(place / "results/mini/runs/nyu_mini")
    assert run(tiny("sunrgbd_mini"), **QUIET) == record
    assert calls == []
    with pytest.raises(ConfigError, match=r"nyu_mini/model.safetensors is missing.*train nyu_mini to have them"):
        trained_model(record)


def test_evaluation_alone_is_never_training(place, capsys):
    with pytest.raises(ConfigError, match="sunrgbd_mini is not trained, .*weights of nyu_mini: train nyu_mini, then"):
        train(tiny("sunrgbd_mini"), **QUIET)
    assert cli.main(["train", "sunrgbd_mini"]) == 2
    assert "train nyu_mini, then evaluate sunrgbd_mini" in capsys.readouterr().err
    assert cli.main(["train", "nyu_mini", "train.iterations=0", "--overwrite"]) == 2
    assert "error: train.iterations must be at least 1 and at most 1000000000; got 0" in capsys.readouterr().err
    shutil.rmtree(place / "results/mini/runs/nyu_mini")
    with pytest.raises(ConfigError, match="train nyu_mini first"):
        evaluate(tiny("sunrgbd_mini", "evaluation.steps=1"), overwrite=True, **QUIET)


def test_a_training_seed_evaluates_the_weights_of_that_seed():
    assert seeded(recipe("sunrgbd_mini"), 2).weights_of == "nyu_mini-seed2"
    assert recipe("sunrgbd_mini-seed2").name == "sunrgbd_mini-seed2"
    assert seeded(recipe("nyu_mini"), 2).weights_of is None


# -- beside the record -------------------------------------------------------------------------------------------------


def test_samples_beside_the_record(folder):
    samples = load_depth_samples(folder / depth_samples.FILE)
    assert len({sample.image_id for sample in samples}) == len(samples) == 2  # of three, there are two
    for sample in samples:
        assert sample.image.shape == (48, 160, 3) and sample.truth.shape == (48, 160)
        assert sample.depths.shape == (10, 12, 40) and sample.spread.shape == (12, 40)
        assert 0 < (sample.truth > 0).mean() < 0.5  # LiDAR
        assert sample.depths.min() >= 1e-3 and sample.depths.max() <= 80 and sample.spread.min() >= 0


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x93NUMPY", None])
def test_damaged_samples_are_named(folder, content):
    path = folder / depth_samples.FILE
    path.write_bytes(path.read_bytes()[:3000] if content is None else content)
    with pytest.raises(RecordError, match=r"depth_samples\.npz holds no depth samples"):
        load_depth_samples(path)
    for facts in (b"[]", b"{", b'{"ids": ["a"]}'):
        np.savez(path, facts=np.frombuffer(facts, np.uint8))
        with pytest.raises(RecordError, match=r"depth_samples\.npz holds no depth samples"):
            load_depth_samples(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="run the recipe again"):
        load_depth_samples(path)


def test_a_sparse_map_made_smaller_keeps_the_nearest_points():
    depth = np.zeros((8, 8), np.float32)
    depth[1, 1], depth[0, 1], depth[7, 7] = 5.0, 3.0, 9.0
    assert depth_samples.shrink_truth(depth, (2, 2)).tolist() == [[3, 0], [0, 9]]
    np.testing.assert_array_equal(depth_samples.shrink_truth(depth, (8, 8)), depth)


def test_mean_depth_is_scored_once(place, monkeypatch):
    made = score_constant(tiny("kitti_mini"))
    assert (made.images, made.protocol, made.score.seed) == (2, "kitti_garg", None) and made.score.rel > 0
    assert load_constant(TASK, "kitti_mini", "mini") == made and load_constant(TASK, "nyu_mini", "mini") is None
    with monkeypatch.context() as patch:
        patch.setattr(DepthDataset, "load", lambda *_: pytest.fail("scored before"))
        assert score_constant(tiny("kitti_mini")) == made
    assert score_constant(tiny("kitti_mini", "evaluation.limit=1")).images == 1
    assert score_constant(tiny("kitti_mini", "evaluation.protocol=outdoor")).protocol == "outdoor"


def test_mean_depth_of_evaluation_alone_is_of_the_other_recipes_images(place):
    indoor, other = score_constant(tiny("nyu_mini")), score_constant(tiny("sunrgbd_mini"))
    assert indoor.training == other.training and indoor.dataset != other.dataset


def test_depth_uncertainty_is_analysed_once(place, folder, monkeypatch):
    record = load_record(folder / "record.json")
    subject = analyses.Subject(recipe=tiny("kitti_mini"), record=record, progress=False)
    made = analyses.depth_uncertainty(subject, steps=2, noise_samples=2, limit=1)
    assert (made.run, made.images) == ("kitti_mini", 1)
    judged = {"fractions", "correlation", "sparsification", "ause", "advantage", "calibration"}
    assert made.result.keys() == judged
    monkeypatch.setattr("ddp_repro.workbook.runs.analyses.trained_model", lambda *_: pytest.fail("analysed before"))
    assert analyses.depth_uncertainty(subject, steps=2, noise_samples=2, limit=1) == made


# -- commands ----------------------------------------------------------------------------------------------------------


def test_evaluate_prints_nine_measures(place, capsys):
    assert cli.main(["evaluate", "kitti_mini", *OVERRIDES, "--overwrite"]) == 0
    head, headings, one, three, *_ = capsys.readouterr().out.splitlines()
    assert head == "kitti_mini on kitti test, 2 images; 2 more have no ground truth"
    record = load_record(place / "results/mini/runs/kitti_mini/record.json")
    assert headings.split() == [
        "steps", *" ".join(measures()[name].heading for name in record.metrics).split(), *["(±", "over", "2", "seeds)"]
    ]  # fmt: skip
    assert f"{np.mean(record.values(1)):.3f} ± " in one and len(one.split("±")) == len(three.split("±")) == 10


def test_predictions_are_not_saved(place, capsys):
    assert cli.main(["evaluate", "kitti_mini", *OVERRIDES, "--predictions", "maps"]) == 2
    assert "predictions are saved for segmentation only" in capsys.readouterr().err
    assert cli.main(["rescore", "maps", "kitti_mini"]) == 2
    assert "predictions are saved for segmentation only; kitti has depth maps" in capsys.readouterr().err


def test_predict_depth_with_what_was_trained_here(place, capsys):
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (37, 50, 3), np.uint8))
    exif = photo.getexif()
    exif[0x0112] = 6  # a quarter turn
    photo.save("straße 1.jpg", exif=exif)
    shutil.rmtree("results/mini/runs/kitti_mini")
    assert cli.main(["predict", "straße 1.jpg", "--task", "depth", "--output", "maps"]) == 0
    assert "with nyu_mini, trained on nyu (mini)" in capsys.readouterr().out
    for kind in ("depth", "depth_colour", "uncertainty"):
        assert Image.open(f"maps/straße 1_{kind}.png").size == (37, 50)
    with Image.open("maps/straße 1_depth.png") as stored:
        assert stored.text["depth_scale"] == "1000"
    assert read_depth(place / "maps/straße 1_depth.png").max() <= 10_000


def test_predict_with_weights_of_another_recipe(place):
    Image.new("RGB", (40, 30)).save("a.png")
    assert cli.main(["predict", "a.png", "--recipe", "sunrgbd_mini", "--steps", "1", "--output", "maps"]) == 0
    assert sorted(path.name for path in (place / "maps").iterdir()) == [
        "a_depth.png", "a_depth_colour.png", "a_uncertainty.png", "predictions.jsonl",
    ]  # fmt: skip


def test_predict_refuses_what_it_cannot_do(place, capsys):
    words = ["predict", "a.png", "--output", "maps"]
    assert cli.main([*words, "--task", "segmentation", "--recipe", "kitti_mini"]) == 2
    assert "kitti_mini is a model for depth, not for segmentation" in capsys.readouterr().err
    shutil.rmtree("results")
    assert cli.main([*words, "--task", "depth"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no model for depth has been trained here: `ddp-repro train RECIPE` with one of" in line
    assert "kitti_mini" in line and "ade20k" not in line
    assert "sunrgbd" not in line and "baseline" not in line  # neither is trained for this
    assert cli.main([*words, "--recipe", "sunrgbd_mini"]) == 2
    assert "run `ddp-repro train nyu_mini`" in capsys.readouterr().err


def test_every_preset_is_on_the_command_line():
    from ddp_repro.settings.presets import PRESETS

    assert cli.PRESETS == PRESETS


def test_missing_data_says_how_to_prepare_it(place):
    (place / "data").unlink()
    with pytest.raises(DataError, match=r"data/kitti: no such folder; prepare it with `python -m data_prep kitti"):
        run(recipe("kitti_swin_t"), **QUIET)
