"""The table of fast paths: pairs of records of the same weights, images and noise."""

import shutil

import pytest

from ddp_repro.settings.overrides import override
from ddp_repro.workbook import catalogue
from ddp_repro.workbook.runs.run import evaluate, run
from ddp_repro.workbook.tables.fast_paths import fast_path_lines

pytestmark = pytest.mark.slow


@pytest.fixture
def records(tmp_path, monkeypatch):
    """A trained model and its records in float32 and bf16."""
    monkeypatch.chdir(tmp_path)
    quick = {"train.iterations": 2, "evaluation.limit": 3, "evaluation.steps": (1, 2), "evaluation.seeds": (0,)}
    recipe = override(catalogue.recipe("ade20k_mini", "mini"), quick)
    trained = run(recipe, output=tmp_path / "trained", progress=False)
    weights = tmp_path / "trained/mini/runs/ade20k_mini/model.safetensors"
    for precision in ("float32", "bf16"):
        narrow = override(recipe, {"evaluation.precision": precision})
        evaluate(narrow, checkpoint=weights, output=tmp_path / "results/fast_paths" / precision, progress=False)
    return trained, tmp_path / "results"


def test_a_row_compares_the_last_number_of_steps(records):
    trained, results = records
    heading, rule, row = fast_path_lines(results)
    assert heading.count("|") == rule.count("|") == row.count("|") == 7
    assert row.startswith("| bf16 | `ade20k_mini` | 3 | mIoU ")
    without = float(row.split("mIoU ")[1].split(" | ")[0])
    assert without == pytest.approx(trained.values(2, "miou")[0], abs=0.006)
    assert "[" in row and row.endswith("] |")


def test_records_without_a_partner_or_statistics(records):
    _, results = records
    (results / "fast_paths/bf16/mini/runs/ade20k_mini/images.npz").unlink()
    assert fast_path_lines(results)[-1].endswith("– |")  # a difference, no interval
    shutil.rmtree(results / "fast_paths/float32")
    assert len(fast_path_lines(results)) == 2
    assert len(fast_path_lines(results / "nowhere")) == 2
