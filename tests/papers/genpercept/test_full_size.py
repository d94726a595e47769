"""The measurement at full size, on small networks: what it says, and what it refuses."""

import dataclasses

import pytest

from ddp_repro.papers.genpercept.costs import full_size, records
from ddp_repro.papers.genpercept.costs.full_size import FLOOR, Measurement, Setting
from ddp_repro.papers.genpercept.recipes import recipes
from ddp_repro.papers.genpercept.tables.full_size import COMMAND, full_size_table, sentence
from ddp_repro.settings.errors import ConfigError
from ddp_repro.workbook.tables.rendering import to_markdown

pytest.importorskip("diffusers")
OPTIONS = {
    **records.UNUSED, "size": "64x96", "dtype": "float32", "repetitions": 1, "stages_only": False,
    "checkpointing": True,
}  # fmt: skip


@pytest.fixture
def here(monkeypatch):
    """Measure in this process: a process of its own takes seconds to start."""
    monkeypatch.setattr(full_size, "apart", lambda device, function, *arguments: function(*arguments))


@pytest.mark.parametrize("name", ["genpercept_depth_mini", "genpercept_dpt_mini"])
def test_what_is_measured_is_recorded_and_shown(name, here, tmp_path):
    recipe = recipes("mini")[name]
    (record,) = records.run_full_size(recipe, OPTIONS, "cpu", tmp_path)
    assert records.find_full_size(tmp_path) == [record]
    result = record.measurement
    assert set(result.seconds) == {stage + end for stage in result.stages for end in ("", FLOOR)}
    assert len(result.stages) == 3 and result.total > result.floor > 0
    assert 0 < result.trained_bytes < result.weight_bytes and min(result.peak_bytes.values()) > result.weight_bytes
    half = {difference.dtype: difference for difference in result.differences}
    assert 0 < half["fp16"].mean < half["bf16"].mean < half["bf16"].largest < 0.2
    text = to_markdown(full_size_table(tmp_path))
    assert record.conditions in text and "with checkpointing" in text
    unet, floor = result.median("one U-Net pass"), result.median(f"one U-Net pass{FLOOR}")
    assert f"{unet:.1f} s, {unet / floor:.2f} times its products and convolutions" in sentence(record)
    assert f"training step of one image with checkpointing {result.peak_bytes['training'] / 1e9:.1f} GB" in sentence(
        record
    )


def test_ratios_are_of_medians():
    seconds = {"encode": [2.0, 4.0, 9.0], f"encode{FLOOR}": [2.0, 2.0, 3.0], "decode": [1.0], f"decode{FLOOR}": [0.5]}
    result = Measurement(
        clock="process", seconds=seconds, weight_bytes=1, trained_bytes=1, peak_bytes={"prediction": 1}, differences=()
    )
    assert (result.total, result.floor) == (5.0, 2.5)


def test_without_a_record_the_table_says_how_one_is_made(tmp_path):
    text = to_markdown(full_size_table(tmp_path))
    assert "not run" in text and COMMAND in text


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("genpercept_depth_mini", {"batch": 2, "channels_last": True}, "--batch, --channels-last do not apply"),
        ("genpercept_stochastic_mini", {}, "one-step pipelines"),
        ("genpercept_vae_mini", {}, "one-step pipelines that predict"),
    ],
)
def test_options_without_a_meaning_are_refused(name, changes, words):
    with pytest.raises(ConfigError, match=words):
        records.check_options(recipes("mini")[name], OPTIONS | changes)


@pytest.mark.parametrize("changes", [{"dtype": "int8"}, {"repetitions": 0}, {"size": (16, 64)}])
def test_impossible_settings_are_refused(changes):
    with pytest.raises(ConfigError):
        dataclasses.replace(Setting(), **changes)


@pytest.mark.parametrize("text", ["480x", "a", "1x2x3"])
def test_sizes_that_are_none_are_refused(text, tmp_path):
    with pytest.raises(ConfigError, match="neither like 512"):
        next(records.run_full_size(recipes("mini")["genpercept_depth_mini"], OPTIONS | {"size": text}, "cpu", tmp_path))
