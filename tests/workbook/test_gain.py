"""What more steps add, as a table and a figure: over trainings where there are several."""

import json

import pytest
from workbook.fake_analyses import make_analysis, write_analyses
from workbook.tiny import tiny, write_data

from ddp_repro.papers.ddp import analyses
from ddp_repro.papers.ddp.diagnostics.gain import GAINS, PARTS
from ddp_repro.papers.ddp.figures.gain import gain_figure
from ddp_repro.papers.ddp.tables.gain import gain_table, gains_of
from ddp_repro.settings.errors import ConfigError
from ddp_repro.workbook.runs.run import run


def made_up(run, looks, maps):
    """``looks``, ``maps``: gains in points, by number of steps from 2 on."""
    rows = [{"steps": 1, "scores": dict.fromkeys(PARTS, 30.0), "gains": {}}]
    for steps, (look, of_map) in enumerate(zip(looks, maps, strict=True), 2):
        values = {"total": look + of_map, "look": look, "map": of_map, "look_noise": look, "map_noise": of_map}
        gains = {kind: {"estimate": values.get(kind, 0.0), "low": -9.0, "high": 9.0} for kind in GAINS}
        rows.append({"steps": steps, "scores": dict.fromkeys(PARTS, 30 + look + of_map), "gains": gains})
    settings = {"steps": [1, *range(2, 2 + len(looks))], "seeds": [0, 1], "limit": None}
    return make_analysis("gain", run, "mini", settings=settings, result={"measure": "miou", "rows": rows})


def cells(table, name):
    (key,) = [key for key in table.frame.columns if key[1] == name]
    return table.frame[key].tolist()


def test_one_training_has_the_interval_of_its_images(tmp_path):
    write_analyses(tmp_path, made_up("ade20k_mini_small", [1.0, 2.0], [0.5, 0.25]))
    table = gain_table("mini", tmp_path)
    assert cells(table, "Steps") == ["2", "3"]
    assert cells(table, "another look") == ["+1.00 [-9.00, +9.00]", "+2.00 [-9.00, +9.00]"]
    assert cells(table, "its map") == ["+0.50 [-9.00, +9.00]", "+0.25 [-9.00, +9.00]"]
    assert cells(table, "so many steps") == ["31.50", "32.25"]


def test_several_trainings_have_an_interval_over_them(tmp_path):
    """Of 1 and 3: mean 2, standard error 1, t of 97.5 % at one degree of freedom 12.706."""
    write_analyses(
        tmp_path, made_up("ade20k_mini_small", [1.0], [0.5]), made_up("ade20k_mini_small-seed1", [3.0], [0.5])
    )
    table = gain_table("mini", tmp_path)
    assert cells(table, "Trainings") == ["2"]
    assert cells(table, "another look") == ["+2.00 [-10.71, +14.71]"]
    assert cells(table, "its map") == ["+0.50 [+0.50, +0.50]"]


def test_models_are_in_the_order_of_their_scales(tmp_path):
    names = ("ade20k_mini_small_scale_0.1", "ade20k_mini_small", "ade20k_mini_small_scale_0.001")
    write_analyses(tmp_path, *(made_up(name, [1.0, 2.0], [0.0, -0.5]) for name in names))
    assert [gains.scale for gains in gains_of("mini", tmp_path)] == [0.001, 0.01, 0.1]
    figure = gain_figure("mini", tmp_path)
    assert [axes.get_title(loc="left") for axes in figure.drawing.axes] == [
        "(a) scale 0.001", "(b) scale 0.01", "(c) scale 0.1"
    ]  # fmt: skip
    lines = {
        line.get_label(): list(line.get_ydata()) for line in figure.drawing.axes[1].containers[0].get_children()[:1]
    }
    assert list(lines.values()) == [[1.0, 1.5]]  # all of it, at 2 and at 3 steps


def test_nothing_was_measured(tmp_path):
    for make in (gain_table, gain_figure):
        with pytest.raises(ConfigError, match="no gain was measured under mini"):
            make("mini", tmp_path)


def test_the_analysis_of_a_run_is_kept_beside_its_record(tmp_path):
    recipe = tiny("cityscapes_mini", write_data("cityscapes", tmp_path / "data" / "cityscapes"))
    record = run(recipe, output=tmp_path, progress=False)
    subject = analyses.Subject(recipe=recipe, record=record, output=tmp_path, progress=False)
    made = analyses.gain(subject, steps=(1, 3), seeds=record.seeds)
    assert analyses.gain(subject, steps=(1, 3), seeds=record.seeds) == made
    path = tmp_path / "mini" / "runs" / "cityscapes_mini" / "gain.json"
    last = json.loads(path.read_text(encoding="utf-8"))["result"]["rows"][-1]
    assert last["scores"]["steps"] == pytest.approx(sum(record.values(3)) / len(record.values(3)), abs=0.5)
