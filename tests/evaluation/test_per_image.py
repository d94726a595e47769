"""What each image adds: exact, compact, and there again after a kill."""

import contextlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import multiprocessing

from ddp_repro.data.io import DataError
from ddp_repro.evaluation.evaluate import evaluate_model
from ddp_repro.evaluation.per_image.collection import Collection
from ddp_repro.evaluation.per_image.journal import Journal
from ddp_repro.evaluation.per_image.statistics import ImageStatistics, StatisticsFileError
from ddp_repro.evaluation.resampling import MeanIoU, MeanScores
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.recipe import EvalConfig
from ddp_repro.tasks.depth.metrics import DepthErrors
from ddp_repro.tasks.depth.protocols import PROTOCOLS
from ddp_repro.tasks.segmentation.metrics import ClassCounts
from tests.evaluation.conftest import tiny_dataset, tiny_model

RUNS = EvalConfig(steps=(1, 3), seeds=(0, 7))
MADE_BY = {"weights": "w", "recipe": {"steps": [1, 3]}}


@pytest.fixture(scope="module")
def dataset(data_root):
    return tiny_dataset(data_root)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def whole(model, dataset):
    return evaluate_model(model, dataset, RUNS, progress=False)


@pytest.fixture
def predicted(monkeypatch):
    """Return the names of the images that go through the network."""
    names, predictor = [], type(task_named("segmentation")).predictor

    def recording(self, model, images, *rest):
        names.extend(image.id for image in images)
        if len(names) == 4:
            raise KeyboardInterrupt
        return predictor(self, model, images, *rest)

    monkeypatch.setattr(type(task_named("segmentation")), "predictor", recording)
    return names


def test_sums_over_images_are_the_scores(whole):
    images = whole.per_image
    assert images.runs == ((1, 0), (1, 7), (3, 0), (3, 7)) and len(images.ids) == 6
    for key, tally in whole.tallies.items():
        run = images.run(key)
        assert torch.from_numpy(run["intersection"].sum(0)).equal(tally.counts[0])
        assert torch.from_numpy(run["label"].sum(0)).equal(tally.counts[2])
    scores = MeanIoU(images.of("intersection", 3), images.of("union", 3))
    expected = [whole.tallies[3, seed].miou for seed in (0, 7)]
    np.testing.assert_allclose(scores.resampled(np.ones((1, 6)))[0], expected, rtol=1e-14)
    with pytest.raises(ValueError, match="2 steps were not evaluated; there are 1, 3"):
        images.of("union", 2)


def test_an_interrupted_evaluation_goes_on(model, dataset, whole, predicted, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        evaluate_model(model, dataset, RUNS, progress=False, journal=Journal(tmp_path, MADE_BY))
    path = tmp_path / "journal-0.jsonl"
    assert len(path.read_bytes().splitlines()) == 4  # the head, and three images
    with path.open("ab") as file:  # as a kill amid a write leaves it
        file.write(b'{"image":3,"seconds":0.1,"runs":[[1,0,{"interse')
    done = predicted[:3]
    again = evaluate_model(model, dataset, RUNS, progress=False, journal=Journal(tmp_path, MADE_BY))
    assert sorted(predicted[4:]) == sorted(set(dataset.ids) - set(done))
    assert again.per_image.to_bytes() == whole.per_image.to_bytes()
    assert {k: t.to_dict() for k, t in again.tallies.items()} == {k: t.to_dict() for k, t in whole.tallies.items()}
    finished = Journal(tmp_path, MADE_BY)
    evaluate_model(model, dataset, RUNS, progress=False, journal=finished)
    assert len(predicted) == 4 + 3
    finished.remove()
    assert not tmp_path.exists()


def evaluate_in_process(rank: int, count: int, folder: Path, root: Path, images: int) -> None:
    """Take part in an evaluation, and die after so many images."""
    torch.set_num_threads(1)
    group = f"file://{folder}/group-{count}-{images}"
    torch.distributed.init_process_group("gloo", init_method=group, rank=rank, world_size=count)
    write, done = Journal.write, []

    def write_and_die(journal, index, rows):
        write(journal, index, rows)
        done.append(index)
        if len(done) == images:
            os._exit(9)

    Journal.write = write_and_die
    result = evaluate_model(tiny_model(), tiny_dataset(root), RUNS, progress=False, journal=Journal(folder, MADE_BY))
    (folder / f"{rank}.npz").write_bytes(result.per_image.to_bytes())
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_that_died_go_on_as_one_or_as_two(whole, data_root, tmp_path):
    def evaluate(processes: int, images: int) -> None:
        given = (processes, tmp_path, data_root, images)
        multiprocessing.start_processes(evaluate_in_process, args=given, nprocs=processes, start_method="fork")

    with pytest.raises(multiprocessing.ProcessExitedException, match="exit code 9"):
        evaluate(2, images=1)
    journals = {path.name: len(path.read_bytes().splitlines()) - 1 for path in tmp_path.glob("journal-*.jsonl")}
    assert set(journals) == {"journal-0.jsonl", "journal-1.jsonl"} and 1 <= sum(journals.values()) <= 2
    with pytest.raises(multiprocessing.ProcessExitedException, match="exit code 9"):
        evaluate(1, images=2)
    evaluate(2, images=99)
    expected = whole.per_image.to_bytes()
    assert [(tmp_path / f"{rank}.npz").read_bytes() for rank in range(2)] == [expected] * 2


@pytest.mark.parametrize("name", ["weights", "recipe"])
def test_a_journal_of_something_else_is_not_continued(model, dataset, whole, tmp_path, name):
    other = Journal(tmp_path, MADE_BY | {name: "other"})
    evaluate_model(tiny_model(scale=0.5), dataset, RUNS, progress=False, journal=other)
    (tmp_path / "journal-1.jsonl").write_bytes((tmp_path / "journal-0.jsonl").read_bytes())
    result = evaluate_model(model, dataset, RUNS, progress=False, journal=Journal(tmp_path, MADE_BY))
    assert result.per_image.to_bytes() == whole.per_image.to_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["journal-0.jsonl"]


def test_lines_that_a_crash_damaged_are_done_again(tmp_path):
    journal = Journal(tmp_path, MADE_BY)
    journal.open()
    for index in range(4):
        journal.write(index, {(1, None): {"value": np.array([index, 1])}})
    journal.close()
    path = tmp_path / "journal-0.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[2], lines[3] = b"\0" * 40, b'{"image": 2}'
    path.write_bytes(b"\n".join(lines))
    (tmp_path / "journal-5.jsonl").write_bytes(lines[0] + b"\n" + lines[1].replace(b'"image":0', b'"image":9') + b"\n")
    again = Journal(tmp_path, MADE_BY)
    again.open()
    assert sorted(again.rows) == [0, 3, 9] and again.rows[3][1, None]["value"].tolist() == [3, 1]
    again.close()


def test_a_full_disk_is_an_error(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    journal = Journal(tmp_path, MADE_BY)
    journal.open()
    journal.close()
    journal._file = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")
    with pytest.raises(OSError, match="No space left"):
        journal.write(0, {(1, None): {"value": np.zeros(2)}})
    with contextlib.suppress(OSError):
        journal.close()


counts = hnp.arrays(np.int64, (2, 3, 4), elements=st.integers(0, 2**40))
floats = hnp.arrays(np.float64, (2, 3), elements=st.floats(allow_nan=True, width=64))


@settings(max_examples=40, deadline=None)
@given(counts, floats)
def test_the_file_holds_what_went_in(whole_numbers, numbers):
    made = ImageStatistics(("a", "b ü", "c"), ((1, None), (3, 2**62)), {"n": whole_numbers, "x": numbers})
    content = made.to_bytes()
    read = ImageStatistics.from_bytes(content)
    assert (read.ids, read.runs, content) == (made.ids, made.runs, read.to_bytes())
    for name, values in made.values.items():
        assert read.values[name].dtype == values.dtype
        np.testing.assert_array_equal(read.values[name], values)


@settings(max_examples=25, deadline=None)
@given(floats)
def test_a_journal_keeps_every_bit(tmp_path_factory, numbers):
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder, MADE_BY)
    journal.open()
    journal.write(0, {(1, None): {"x": numbers}})
    journal.close()
    again = Journal(folder, MADE_BY)
    again.open()
    again.close()
    np.testing.assert_array_equal(again.rows[0][1, None]["x"], numbers)


@pytest.mark.parametrize("cut", [0, 30, 200, -1])
def test_damaged_files_are_refused(whole, cut):
    content = whole.per_image.to_bytes()
    with pytest.raises(StatisticsFileError, match="not a file of images' statistics"):
        ImageStatistics.from_bytes(content[:cut])


def test_ade20k_is_small():
    """2,000 images of ten of 150 classes each, three steps and three seeds: below 4 MB."""
    rng = np.random.default_rng(0)
    values = np.zeros((9, 2000, 150), np.int64)
    rows = np.arange(2000).repeat(10)
    label = values.copy()
    label[:, rows, rng.integers(0, 150, 20_000)] = rng.integers(1, 100_000, (9, 20_000))
    label[1:] = label[0]  # one truth
    right = (label * rng.uniform(0.2, 1, label.shape)).astype(np.int64)
    union = label + (right * 0.3).astype(np.int64)
    made = ImageStatistics(
        tuple(f"ADE_val_{i:08d}" for i in range(2000)), tuple((s, k) for s in (1, 3, 10) for k in (0, 1, 2)),
        {"intersection": right, "union": union, "label": label},
    )  # fmt: skip
    assert len(made.to_bytes()) < 4e6


def test_depth_keeps_what_pooled_measures_need():
    protocol, rng = PROTOCOLS["outdoor"], np.random.default_rng(0)
    pairs = [tuple(torch.from_numpy(rng.uniform(1, 70, (n, 5))) for _ in range(2)) for n in (3, 9)]
    images = [DepthErrors(protocol).image_statistics(*pair) for pair in pairs]
    stacked = {name: np.stack([image[name] for image in images]) for name in images[0]}
    prediction, truth = (torch.cat([pair[side] for pair in pairs]) for side in (0, 1))
    pooled = DepthErrors(protocol).update(prediction, truth)
    weights = stacked["pixels"] / stacked["pixels"].sum()
    rel, rmse_log = (stacked["measures"][:, DepthErrors.metrics.index(name)] for name in ("rel", "rmse_log"))
    assert weights @ rel == pytest.approx(pooled.value("rel"), rel=1e-12)
    silog = 100 * np.sqrt(weights @ rmse_log**2 - (weights @ stacked["log_bias"]) ** 2)
    assert silog == pytest.approx(pooled.value("silog"), rel=1e-12)
    tally = DepthErrors(protocol).add(stacked)
    scores = MeanScores(stacked["measures"][:, 0]).resampled(np.ones((1, 2)))
    assert tally.value("rel") == pytest.approx(float(scores[0, 0]), rel=1e-15)


def test_two_images_of_one_name_are_refused():
    with pytest.raises(DataError, match="1 images have the name of another one"):
        Collection([(1, None)], lambda: ClassCounts(2), ["a", "b", "a"])


def test_an_image_that_does_not_fit_is_named():
    collection = Collection([(1, None)], lambda: ClassCounts(2), ["a"])
    with pytest.raises(DataError, match="image a: prediction has shape"):
        collection.count("a", (1, None), torch.zeros(2, 2, dtype=int), torch.zeros(3, 2, dtype=int))


def test_the_journal_says_what_it_is_of(tmp_path):
    journal = Journal(tmp_path, MADE_BY)
    journal.open()
    journal.close()
    assert json.loads((tmp_path / "journal-0.jsonl").read_text()) == MADE_BY
