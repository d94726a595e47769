import dataclasses
import json
import math

import pytest
import torch
import torch.multiprocessing as multiprocessing
from PIL import Image
from torch import distributed

from ddp_repro.data.io import DataError
from ddp_repro.diffusion import image_generator
from ddp_repro.evaluation.evaluate import evaluate_model
from ddp_repro.evaluation.views import to_image_size
from ddp_repro.papers.ddp.analyses import usual_size
from ddp_repro.papers.ddp.diagnostics.drift import evaluate_drift
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import EvalConfig
from ddp_repro.tasks.segmentation.metrics import ClassCounts
from ddp_repro.tasks.segmentation.predict import Segmenter
from ddp_repro.tasks.segmentation.rescore import rescore
from ddp_repro.tasks.segmentation.uncertainty import evaluate_uncertainty
from tests.evaluation.conftest import tiny_dataset, tiny_model

pytestmark = pytest.mark.numerics

TWO = EvalConfig(steps=(1, 3), seeds=(0, 7))


def counts(result):
    return {key: matrix.counts.tolist() for key, matrix in result.tallies.items()}


@pytest.fixture(scope="module")
def reference(model, data_root):
    return evaluate_model(model, tiny_dataset(data_root), TWO, progress=False)


def test_equals_a_plain_loop(model, dataset, reference):
    """The published recipe, spelled out: sample, resize to the input, resize to the original, argmax."""
    model.eval()
    for (steps, seed), matrix in reference.tallies.items():
        expected = ClassCounts(3)
        for index in range(len(dataset)):
            item = dataset[index]
            generator = image_generator(seed, item["id"])
            output = model.sample(item["image"][None], steps=steps, generator=generator)
            scores = to_image_size(output, item["image"].shape[-2:], item["label"].shape)
            expected.update(scores.argmax(1)[0], item["label"])
        assert matrix.counts.tolist() == expected.counts.tolist(), (steps, seed)


def test_result(reference, dataset):
    assert reference.images == len(dataset) == 6
    assert reference.steps == (1, 3) and reference.seeds(3) == (0, 7)
    values = [reference.tallies[3, seed].miou for seed in (0, 7)]
    assert values[0] != values[1]  # noise matters
    summary = reference.summary(3)
    assert summary.mean == pytest.approx(sum(values) / 2)
    assert summary.std == pytest.approx(abs(values[0] - values[1]) / math.sqrt(2))
    record = json.loads(json.dumps(reference.to_dict(), allow_nan=False))
    assert [(run["steps"], run["seed"]) for run in record["runs"]] == [(1, 0), (1, 7), (3, 0), (3, 7)]
    assert record["summary"][1]["miou"]["mean"] == pytest.approx(summary.mean)
    assert record["class_names"] == ["wall", "floor", "sky"]
    with pytest.raises(ValueError, match="5 steps were not evaluated"):
        reference.summary(5)


def test_batch_size_does_not_matter(model, dataset, reference):
    batched = evaluate_model(model, dataset, EvalConfig(steps=(1, 3), seeds=(0, 7), batch_size=3), progress=False)
    for key, matrix in batched.tallies.items():
        # float rounding of batched convolutions may move a pixel on a class border
        assert (matrix.counts - reference.tallies[key].counts).abs().sum() <= 4
        assert matrix.counts[2].tolist() == reference.tallies[key].counts[2].tolist()


def test_baseline_has_one_run(dataset):
    result = evaluate_model(tiny_model(diffusion=False), dataset, TWO, progress=False)
    assert list(result.tallies) == [(1, None)]
    assert math.isnan(result.summary(1).std) and result.to_dict()["summary"][0]["miou"]["std"] is None


def test_limit_and_training_mode(model, dataset):
    model.train()
    result = evaluate_model(model, dataset, EvalConfig(steps=(1,), seeds=(0,), limit=2), progress=False)
    assert model.training and result.images == 2
    assert result.tallies[1, 0].counts[2].sum() <= 2 * 40 * 56


def test_saved_predictions_are_rescored_and_reused(model, dataset, reference, tmp_path, monkeypatch):
    folder = tmp_path / "vorhersagen é"
    saved = evaluate_model(model, dataset, TWO, progress=False, save_to=folder)
    assert counts(saved) == counts(reference) == counts(rescore(folder, dataset))
    assert Image.open(folder / "steps_3_seed_7" / "bild ü0.png").size == (56, 40)

    (folder / "steps_1_seed_0" / "bild ü1.png").write_bytes(b"\x89PNG truncated")
    (folder / "steps_3_seed_0" / "bild ü4.png").unlink()
    segmented = []

    def recording(model, images, *rest):
        segmented.extend(images)
        return Segmenter(model, images, *rest)

    monkeypatch.setattr(type(task_named("segmentation")), "predictor", lambda self, *given: recording(*given))
    again = evaluate_model(model, dataset, TWO, progress=False, save_to=folder)
    assert counts(again) == counts(reference)
    assert [image.id for image in segmented] == ["bild ü1", "bild ü4"]  # nothing else was computed again
    assert not [path for path in folder.rglob(".*")]


def test_predictions_of_another_run_are_kept(model, dataset, tmp_path):
    one = EvalConfig(steps=(1,), seeds=(0,))
    evaluate_model(model, dataset, one, progress=False, save_to=tmp_path / "run")
    other = tiny_model(diffusion=False)
    with pytest.raises(DataError, match=r"another run.*weights_sha256"):
        evaluate_model(other, dataset, one, progress=False, save_to=tmp_path / "run")
    with pytest.raises(DataError, match="different flip"):
        evaluate_model(
            model, dataset, EvalConfig(steps=(1,), seeds=(0,), flip=True), progress=False, save_to=tmp_path / "run"
        )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(DataError, match="not empty"):
        evaluate_model(model, dataset, one, progress=False, save_to=tmp_path / "mine")


def test_pictures_in_their_own_size_are_saved_too(model, data_root, tmp_path):
    dataset = tiny_dataset(data_root)
    dataset.data = dataclasses.replace(dataset.data, image_scale=None)
    one = EvalConfig(steps=(1,), seeds=(0,))
    evaluate_model(model, dataset, one, progress=False, save_to=tmp_path / "run")
    assert json.loads((tmp_path / "run/predictions.json").read_text())["image_scale"] is None
    assert usual_size(dataset) == dataset.load(0)[0].shape[:2]
    assert usual_size(tiny_dataset(data_root)) == (48, 64)


def test_rescore_names_what_is_wrong(model, dataset, tmp_path):
    folder = tmp_path / "run"
    evaluate_model(model, dataset, EvalConfig(steps=(1,), seeds=(0,)), progress=False, save_to=folder)
    path = folder / "steps_1_seed_0" / "bild ü2.png"
    Image.new("L", (47, 33), 9).save(path)
    with pytest.raises(DataError, match=r"bild ü2: prediction holds class 9"):
        rescore(folder, dataset)
    Image.new("L", (5, 5)).save(path)
    with pytest.raises(DataError, match=r"bild ü2.png: is 5 x 5, its label map 47 x 33"):
        rescore(folder, dataset)
    path.unlink()
    with pytest.raises(DataError, match=r"bild ü2.png: no such file"):
        rescore(folder, dataset)
    with pytest.raises(DataError, match=r"predictions.json: cannot be read"):
        rescore(tmp_path, dataset)
    (tmp_path / "predictions.json").write_text("[1]")
    with pytest.raises(DataError, match="expected an object"):
        rescore(tmp_path, dataset)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": (0,)}, "steps must be at least 1"),
        ({"steps": (1, 1)}, "steps must be one or more different"),
        ({"seeds": ()}, "seeds takes one or more values"),
        ({"scales": (0.0,)}, "scales must be greater than 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"limit": 0}, "limit must be at least 1"),
    ],
)
def test_impossible_settings(model, dataset, settings, message):
    with pytest.raises(ConfigError, match=message):
        evaluate_model(model, dataset, EvalConfig(**settings), progress=False)


def test_wrong_number_of_classes(dataset):
    with pytest.raises(ConfigError, match=r"model.num_classes is 5, but .*classes\.json has 3 classes"):
        evaluate_model(tiny_model(num_classes=5), dataset, TWO, progress=False)


def test_a_diverged_model_is_not_scored(dataset):
    broken = tiny_model()
    with torch.no_grad():
        broken.decoder.classifier.weight.fill_(math.nan)
    with pytest.raises(RuntimeError, match=r"not finite.*bild ü0"):
        evaluate_model(broken, dataset, TWO, progress=False)


def evaluate_all(root, folder):
    """Everything that shares images between processes, as one JSON text."""
    model, dataset = tiny_model(), tiny_dataset(root)
    result = evaluate_model(model, dataset, TWO, progress=False, save_to=folder)
    records = [
        evaluate_uncertainty(model, dataset, noise_samples=2, progress=False).to_dict(),
        evaluate_drift(model, dataset, steps=2, seeds=(0,), progress=False).to_dict(),
    ]
    for record in records:
        del record["seconds"]
    return json.dumps([[matrix.counts.tolist() for matrix in result.tallies.values()], *records])


def evaluate_in_process(rank, world, root, folder):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    (folder / f"{rank}.json").write_text(evaluate_all(root, folder / "saved"))
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_agree_with_one(reference, data_root, dataset, tmp_path):
    multiprocessing.spawn(evaluate_in_process, args=(2, data_root, tmp_path), nprocs=2)
    expected = evaluate_all(data_root, tmp_path / "alone")
    for rank in range(2):
        assert (tmp_path / f"{rank}.json").read_text() == expected
    assert counts(rescore(tmp_path / "saved", dataset)) == counts(reference)
