import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score, roc_auc_score

from ddp_repro.diffusion import image_generator
from ddp_repro.settings.errors import ConfigError
from ddp_repro.tasks.segmentation.uncertainty import evaluate_uncertainty
from tests.evaluation.conftest import tiny_model

pytestmark = pytest.mark.numerics

SCORES = ["change_count", "entropy", "sample_variance", "disagreement"]


def enlarge(score, item):
    whole = F.interpolate(score, item["image"].shape[-2:], mode="bilinear")
    return F.interpolate(whole, item["label"].shape, mode="bilinear")[0]


@torch.no_grad()
def by_hand(model, dataset, steps, samples, seed):
    """Flattened arrays over all valid pixels of the dataset: wrong, confidence and right of the average, scores."""
    rows = {name: [] for name in ("wrong", "confidence", "right", *SCORES)}
    for index in range(len(dataset)):
        item = dataset[index]
        runs = [
            model.sample(
                item["image"][None],
                steps=steps,
                generator=image_generator(seed + j, item["id"]),
                return_trajectory=True,
            )
            for j in range(samples)
        ]
        valid = item["label"] != 255
        means = torch.stack([run.decoded.softmax(2).mean(0)[0] for run in runs])  # (N, K, h, w)
        votes = F.one_hot(means.argmax(1), 3).sum(0).max(-1).values
        first = runs[0].decoded.argmax(2)[:, 0]
        maps = {
            "change_count": (first[1:] != first[:-1]).float().mean(0),
            "entropy": -(means[0] * means[0].log()).sum(0) / math.log(3),
            "sample_variance": (means - means.mean(0)).square().mean(0).sum(0),
            "disagreement": 1 - votes / samples,
        }
        for name, score in maps.items():
            rows[name].append(enlarge(score[None, None], item)[0][valid])
        rows["wrong"].append((enlarge(runs[0].output, item).argmax(0) != item["label"])[valid])
        confidence, predicted = enlarge(means[:1], item).max(0)
        rows["confidence"].append(confidence[valid])
        rows["right"].append((predicted == item["label"])[valid])
    return {name: torch.cat(values).numpy() for name, values in rows.items()}, rows


def test_agrees_with_sklearn_on_flattened_arrays(dataset):
    model = tiny_model().eval()
    result = evaluate_uncertainty(model, dataset, steps=4, noise_samples=3, seed=5, progress=False)
    flat, rows = by_hand(model, dataset, 4, 3, 5)
    assert list(result.errors) == SCORES
    assert result.error_rate == pytest.approx(flat["wrong"].mean())
    for name in SCORES:
        found = result.scores()[name]
        assert found.auroc == pytest.approx(roc_auc_score(flat["wrong"], flat[name]), abs=1e-3)
        assert found.aupr == pytest.approx(average_precision_score(flat["wrong"], flat[name]), abs=1e-3)
        assert found.correlation == pytest.approx(np.corrcoef(flat["wrong"], flat[name])[0, 1], abs=1e-3)
        third = roc_auc_score(rows["wrong"][2].numpy(), rows[name][2].numpy())
        assert result.per_image[name]["auroc"][2] == pytest.approx(third, abs=2e-3)
    bins = np.clip(np.ceil(flat["confidence"] * 15) - 1, 0, 14)
    gaps = [(bins == b).mean() * abs((flat["right"] - flat["confidence"])[bins == b].mean()) for b in np.unique(bins)]
    assert result.calibration["step_average"].ece() == pytest.approx(sum(gaps), abs=1e-4)


def test_record(dataset, model):
    result = evaluate_uncertainty(model, dataset, steps=2, noise_samples=2, limit=2, progress=False)
    record = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert record["images"] == 2 and list(record["scores"]) == SCORES
    assert set(record["scores"]["entropy"]["dataset"]) == {"auroc", "aupr", "aurc", "ause", "correlation"}
    assert record["scores"]["entropy"]["per_image"]["auroc"]["images"] == 2
    assert record["scores"]["entropy"]["risk_coverage"]["risk"][-1] == pytest.approx(record["error_rate"])
    assert set(record["calibration"]) == {"step_average", "last_step"}


def test_one_step_leaves_nothing_to_count(dataset, model):
    result = evaluate_uncertainty(model, dataset, steps=1, noise_samples=1, limit=2, progress=False)
    for name in ("change_count", "sample_variance", "disagreement"):
        assert result.scores()[name].auroc == 0.5 and math.isnan(result.scores()[name].correlation)
    assert result.calibration["step_average"].ece() == result.calibration["last_step"].ece()


def test_baseline_has_the_entropy_only(dataset):
    result = evaluate_uncertainty(tiny_model(diffusion=False), dataset, limit=2, progress=False)
    assert list(result.errors) == ["entropy"]
    assert (result.steps, result.noise_samples, result.seed) == (1, 1, None)


def test_impossible_requests(dataset, model):
    with pytest.raises(ConfigError, match="noise_samples must be at least 1"):
        evaluate_uncertainty(model, dataset, noise_samples=0)
    with pytest.raises(ConfigError, match="classes"):
        evaluate_uncertainty(tiny_model(num_classes=4), dataset)
