"""Claims that only a GPU can afford to ask stand beside the others, and are not trained for unasked."""

from ddp_repro import commands
from ddp_repro.papers.ddp.claims import claims
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.claims import decide as deciding


def test_claims_for_a_gpu_stand_beside_the_others():
    """On a model of their own, which shares its data, schedule and seeds with its baseline."""
    found = {question[0].key: question for question in claims("camvid") if question[0].for_gpu}
    assert set(found) == {"baseline_gpu", "steps_gpu", "drift_gpu"}
    assert all(claim.model == "camvid_gpu" for question in found.values() for claim in question)
    model, baseline = recipe("camvid_gpu"), recipe("camvid_gpu_baseline")
    assert (model.data, model.train) == (baseline.data, baseline.train)
    assert model.data.image_scale == (480, 360) and model.train.mixed_precision == "bf16"
    usual = next(question for question in claims("camvid") if question[0].key == "baseline")
    assert [claim.model for claim in usual] == ["camvid_lite0", "camvid_map"]


def test_all_claims_are_decided_without_those_for_a_gpu(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(deciding, "decide", lambda questions, keys, *rest: asked.extend(keys) or [])
    commands.decide(["all"], "1m", "ddp", "camvid", "local", [], str(tmp_path))
    assert "steps" in asked and not [key for key in asked if key.endswith("_gpu")]
    asked.clear()
    commands.decide(["steps_gpu"], "1m", "ddp", "camvid", "local", [], str(tmp_path))
    assert asked == ["steps_gpu"]
