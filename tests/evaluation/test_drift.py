import json

import pytest
import torch
import torch.nn.functional as F

from ddp_repro.diffusion import image_generator
from ddp_repro.evaluation.evaluate import evaluate_model
from ddp_repro.papers.ddp.diagnostics.drift import evaluate_drift
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import EvalConfig
from tests.evaluation.conftest import tiny_model

pytestmark = pytest.mark.numerics


def test_curves_against_a_plain_loop(dataset):
    model = tiny_model().eval()
    result = evaluate_drift(model, dataset, steps=3, seeds=(0, 4), progress=False)
    codes = model.encoding.codes().detach()
    for row, seed in enumerate(result.seeds):
        right, similar, changed, cells, valid_cells = torch.zeros(3), torch.zeros(3), torch.zeros(3), 0, 0
        for index in range(len(dataset)):
            item = dataset[index]
            generator = image_generator(seed, item["id"])
            run = model.sample(item["image"][None], steps=3, generator=generator, return_trajectory=True)
            label = F.interpolate(item["label"][None, None].float(), run.output.shape[-2:]).long()[0, 0]
            valid = label != 255
            for step in range(3):
                predicted = run.predictions[step, 0]
                right[step] += (predicted == label)[valid].sum()
                similar[step] += F.cosine_similarity(codes[predicted[valid]], codes[label[valid]]).sum()
                changed[step] += (predicted != run.predictions[step - 1, 0]).sum() if step else float("nan")
            cells, valid_cells = cells + label.numel(), valid_cells + int(valid.sum())
        assert result.agreement[row].float().allclose(right / valid_cells)
        assert result.code_similarity[row].float().allclose(similar / valid_cells, atol=1e-5)
        assert result.changed[row].float().allclose(changed / cells, equal_nan=True)


def test_last_step_is_what_the_evaluator_scores(dataset):
    """With the step average the last step's own prediction differs from the output; without, it is the output."""
    model = tiny_model()
    drift = evaluate_drift(model, dataset, steps=3, seeds=(0,), progress=False)
    plain = evaluate_model(model, dataset, EvalConfig(steps=(3,), seeds=(0,)), progress=False).tallies[3, 0]
    # the evaluator resizes logits, drift probabilities: a few pixels on class borders differ
    assert drift.miou[0, 2] == pytest.approx(plain.miou, abs=0.02)


def test_record(dataset, model):
    record = evaluate_drift(model, dataset, steps=2, seeds=(1,), limit=2, progress=False).to_dict()
    record = json.loads(json.dumps(record, allow_nan=False))
    assert record["steps"] == 2 and record["seeds"] == [1] and record["images"] == 2
    assert record["changed"][0][0] is None and len(record["miou"][0]) == 2


def test_impossible_requests(dataset, model):
    with pytest.raises(ConfigError, match="seeds must be one or more"):
        evaluate_drift(model, dataset, seeds=(1, 1))
    with pytest.raises(ConfigError, match="baseline predicts in one pass"):
        evaluate_drift(tiny_model(diffusion=False), dataset)
