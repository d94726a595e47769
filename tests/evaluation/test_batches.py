"""Batches of pictures: by size, bounded, side by side, and of no influence on what is predicted."""

import time

import numpy as np
import pytest
import torch
from PIL import Image

from ddp_repro.evaluation.folders import run as run_module
from ddp_repro.evaluation.folders.batches import BATCH, WAITING, batches, share_of_batch
from ddp_repro.evaluation.folders.inputs import find_pictures
from ddp_repro.evaluation.folders.run import predict_pictures
from ddp_repro.evaluation.predict import PicturePredictor, predict
from tests.evaluation.conftest import tiny_model
from tests.evaluation.test_folders import entries
from tests.evaluation.tiny_depth import tiny_depth_model

CPU, GPU = torch.device("cpu"), torch.device("cuda")
RNG = np.random.default_rng(0)


def pictures_of(sizes):
    return [RNG.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


@pytest.mark.parametrize("make", [tiny_model, tiny_depth_model])
def test_a_prediction_does_not_depend_on_its_batch(make):
    """With noise that matters: it belongs to the seed, not to the place in the batch."""
    model, pictures = make(), pictures_of([(33, 47)] * 3)
    together = PicturePredictor(model, 3, noise_samples=2, seed=4).predict(pictures)
    for picture, prediction in zip(pictures, together, strict=True):
        alone = predict(model, picture, 3, noise_samples=2, seed=4)
        for kind, values in alone.arrays.items():
            if values.dtype == np.uint8:
                assert (values == prediction.arrays[kind]).mean() > 0.999
            elif kind == "change_count":  # a label of the small map that rounding turns is a few pixels of the picture
                assert np.isclose(values, prediction.arrays[kind], atol=1e-3).mean() > 0.95
            else:
                np.testing.assert_allclose(prediction.arrays[kind], values, rtol=0, atol=1e-3)
    other = predict(model, pictures[0], 3, noise_samples=2, seed=5)
    assert any((other.arrays[kind] != values).any() for kind, values in together[0].arrays.items())


def test_pictures_of_one_size_go_together_and_few_wait():
    sizes = [(index % 7, 1) for index in range(100)]
    consumed = 0

    def watched():
        nonlocal consumed
        for size in sizes:
            consumed += 1
            yield size

    done, largest = [], 0
    for batch in batches(watched(), lambda size: size, lambda size: 1 / BATCH):
        assert len(set(batch)) == 1 and len(batch) <= BATCH
        largest = max(largest, len(batch))
        assert consumed - len(done) <= WAITING * BATCH + 1
        done += batch
    assert sorted(done) == sorted(sizes) and largest > BATCH / 2


@pytest.mark.parametrize(
    ("size", "input_size", "device", "together"),
    [
        ((120, 160), (120, 160), CPU, 6),
        ((30, 40), (30, 40), CPU, BATCH),
        ((1024, 1024), (1024, 1024), CPU, 1),
        ((512, 512), (512, 512), GPU, BATCH),
        ((3000, 4000), (120, 160), CPU, 1),
    ],
)
def test_the_rule_of_batches(size, input_size, device, together):
    share = share_of_batch(size, input_size, device)
    found = list(batches([size] * 20, lambda _: input_size, lambda _: share))
    assert len(found[0]) == together and sum(map(len, found)) == 20


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for index, pixels in enumerate(pictures_of([(33, 47), (40, 56), (33, 47), (56, 40)] * 3)):
        Image.fromarray(pixels).save(f"in/{index:02d}.png")
    return tmp_path


def run(predictor, output):
    def write(prediction, pixels, place, name):
        place.mkdir(parents=True, exist_ok=True)
        np.save(place / f"{name}_labels.npy", prediction.labels)
        return [place / f"{name}_labels.npy"]

    pictures = find_pictures(["in"], output)
    names = ("a", "b", "c")
    return predict_pictures(predictor, write, pictures, output, model={}, class_names=names, progress=False)


def test_a_folder_gives_what_its_pictures_give_one_by_one(folder):
    predictor = PicturePredictor(tiny_model(), 2)
    report = run(predictor, folder / "out")
    assert not report.failed and len(report.written) == 12
    for path in sorted((folder / "in").glob("*.png")):
        alone = predictor.predict([np.asarray(Image.open(path))])[0].labels
        assert (np.load(folder / "out" / f"{path.stem}_labels.npy") == alone).mean() > 0.99  # rounding turns ties


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_every_picture_has_a_core_and_a_large_one_all(folder, monkeypatch, three_threads):
    Image.fromarray(pictures_of([(200, 300)])[0]).save("in/05_large.png")
    monkeypatch.setattr(run_module, "PICTURE_PIXELS", 100 * 100)
    busy, seen, whole = [], [], PicturePredictor.predict

    def watched(self, pictures):
        busy.append(1)
        time.sleep(0.2)  # so that the others have begun
        seen.append((pictures[0].shape[0] == 200, len(busy), torch.get_num_threads()))
        try:
            return whole(self, pictures)
        finally:
            busy.pop()

    monkeypatch.setattr(PicturePredictor, "predict", watched)
    monkeypatch.setattr(run_module, "share_of_batch", lambda *_: 1.0)
    assert not run(PicturePredictor(tiny_model(), 1), folder / "out").failed
    assert [facts for facts in seen if facts[0]] == [(True, 1, 3)]
    others = [facts for facts in seen if not facts[0]]
    assert {threads for *_, threads in others} == {1} and max(count for _, count, _ in others) > 1
    assert torch.get_num_threads() == 3
    files = [entry["file"] for entry in entries("out")]
    assert len(files) == 13 and files == sorted(files)  # as they were given


def test_what_a_batch_cannot_do_is_tried_alone(folder, monkeypatch):
    """A picture that the model chokes on takes none of its batch with it."""
    poisoned = np.asarray(Image.open("in/02.png"))
    whole = PicturePredictor.predict

    def choking(self, pictures):
        if any(np.array_equal(picture, poisoned) for picture in pictures):
            raise RuntimeError("not enough memory")
        return whole(self, pictures)

    monkeypatch.setattr(PicturePredictor, "predict", choking)
    report = run(PicturePredictor(tiny_model(), 1), folder / "out")
    assert [(failure.picture.path.name, failure.reason) for failure in report.failed] == [
        ("02.png", "not enough memory")
    ]
    assert len(entries("out")) == 11


def test_results_that_cannot_be_written_end_the_run(folder):
    def write(*_):
        raise OSError("no space left on device")

    pictures = find_pictures(["in"], folder / "out")
    with pytest.raises(OSError, match="no space left"):
        predict_pictures(PicturePredictor(tiny_model(), 1), write, pictures, folder / "out", model={}, progress=False)
