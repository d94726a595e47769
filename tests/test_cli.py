"""The command line: quick help, one-line errors, and every command on something small."""

import json
import subprocess
import sys

import nbformat
import numpy as np
import pytest
from PIL import Image

from ddp_repro import cli, commands, predicting
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.presets import PRESETS
from ddp_repro.workbook.catalogue import BUILT_IN
from ddp_repro.workbook.tables.printed import printed_names


@pytest.fixture
def called(monkeypatch):
    """Commands record their arguments instead of running."""
    calls = []
    for home, name in ((commands, "train"), (commands, "evaluate"), (predicting, "predict"), (commands, "reproduce")):
        monkeypatch.setattr(home, name, lambda **options: calls.append(options))
    return calls


def error_of(capsys, *words: str) -> str:
    """The one line on stderr of a command that is refused."""
    assert cli.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("ddp-repro: error: ")


@pytest.mark.parametrize("words", [["--help"], ["predict", "--help"], ["data", "--help"]], ids=" ".join)
def test_help_is_quick_and_imports_nothing_heavy(words):
    heavy = "{'torch', 'timm', 'pandas', 'scipy'} & {*sys.modules}"
    code = (f"import sys, time, atexit; atexit.register(lambda: print({heavy} or '', time.process_time(), "
            f"file=sys.stderr)); import ddp_repro.cli as c; c.main({words})")  # fmt: skip
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("usage: ")
    assert float(run.stderr) < 2  # seconds of the processor (half a second here), and nothing heavy named before them


COMMANDS = [
    "reproduce", "table", "render", "list", "train", "evaluate", "rescore", "predict", "flicker", "throughput",
    "export", "convert", "push", "web", "doctor",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, "--help"])
    assert stopped.value.code == 0
    assert f"ddp-repro {command}" in capsys.readouterr().out


def test_overrides_may_stand_around_options(called):
    cli.main(["train", "ade20k_mini", "--preset", "mini", "train.iterations=2", "--output", "o", "model.layers=1"])
    assert called[0]["overrides"] == ["train.iterations=2", "model.layers=1"]
    cli.main(["reproduce", "a", "--jobs", "2", "b", "-p", "x=1", "-p", "y=2"])
    assert (called[1]["names"], called[1]["parameters"]) == (["a", "b"], ["x=1", "y=2"])


@pytest.mark.parametrize(
    "words", [["tabel"], ["table", "ddp_table1", "--presett", "mini"], ["train"], ["list", "x"], []]
)
def test_a_mistyped_command_line_is_refused_with_a_hint(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    assert stopped.value.code == 2
    assert "--help" in capsys.readouterr().err


def test_an_unknown_recipe_suggests_close_names(capsys):
    assert "did you mean ade20k_mini" in error_of(capsys, "train", "ade_mini")


def test_a_wrong_override_names_field_and_type(capsys):
    assert error_of(capsys, "train", "ade20k_mini", "train.iterations=ten").startswith(
        "train.iterations must be of type int"
    )
    assert "unknown field 'train.iteration'" in error_of(capsys, "evaluate", "ade20k_mini", "train.iteration=1")
    assert "evaluation.steps" in error_of(capsys, "evaluate", "ade20k_mini", "--steps", "1,x")


def test_an_unknown_table_names_those_there_are(capsys):
    assert "ddp_table1, ddp_table2" in error_of(capsys, "table", "ddp_table99")


@pytest.mark.parametrize("name", ["table1", "table5a", "table5e", "claims"])
def test_tables_are_known_by_their_names_of_version_0_1(name, tmp_path, capsys):
    texts = []
    for known in (name, f"ddp_{name}"):
        assert cli.main(["table", known, "--output", str(tmp_path)]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert f"ddp_{name}.md" in texts[0]


@pytest.mark.slow
@pytest.mark.parametrize("paper", BUILT_IN[1:])  # of the first, tests.workbook.test_tables
def test_every_printed_table_is_shown(paper, tmp_path, capsys):
    names = [name for name in printed_names(paper) if "figure" not in name]
    assert names
    for name in names:
        assert cli.main(["table", name, "--output", str(tmp_path)]) == 0
        assert f"{name}.md" in capsys.readouterr().out


def test_an_unwritable_output_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").write_text("a file where a folder should be")
    assert "results" in error_of(capsys, "table", "runs")


def test_a_fault_of_the_program_is_not_hidden(monkeypatch):
    def broken(**options):
        raise ValueError("a bug")

    monkeypatch.setattr(commands, "list_all", broken)
    with pytest.raises(ValueError, match="a bug"):
        cli.main(["list"])


def test_list_shows_recipes_and_notebooks(capsys):
    assert cli.main(["list", "--preset", "mini"]) == 0
    out = capsys.readouterr().out
    assert "ade20k_mini" in out
    assert "ade20k_swin_t" not in out


def test_list_is_filtered_by_what_recipes_are_for(capsys):
    def listed(*words: str) -> dict:
        assert cli.main(["list", *words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    everything = listed()
    assert {line["preset"] for line in everything["recipes"]} == {*PRESETS}
    asked = {"paper": "ddp", "preset": "mini", "task": "depth", "data": "kitti", "table": "ddp_table4"}
    for field, name in asked.items():
        expected = [line for line in everything["recipes"] if line[field] == name]
        assert len(expected) > 0
        assert listed(f"--{field}", name)["recipes"] == expected
    kitti = listed(*(word for field, name in asked.items() for word in (f"--{field}", name)))
    assert {line["name"] for line in kitti["recipes"]} == {"kitti_mini", "kitti_mini_baseline"}
    (table,) = (notebook for notebook in kitti["notebooks"] if "table4" in notebook["name"])
    assert table["parameters"]["preset"] == "mini" and "kitti" in table["data"]
    assert not any("ade20k" in notebook["name"] for notebook in kitti["notebooks"])
    assert listed("--table", "table4") == listed("--table", "ddp_table4")  # its name in version 0.1
    assert listed("--task", "bev", "--data", "nyu") == {"recipes": [], "notebooks": []}


@pytest.mark.parametrize(
    ("field", "known"), [("paper", "ddp"), ("table", "ddp_table1"), ("task", "segmentation"), ("data", "ade20k")]
)
def test_list_names_what_there_is_instead(field, known, capsys):
    message = error_of(capsys, "list", f"--{field}", "tabel")
    assert "tabel'" in message and known in message


def test_predict_needs_a_recipe_or_weights_that_name_it(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "give --recipe" in error_of(capsys, "predict", "a.jpg", "--output", "maps")
    assert "run `ddp-repro train ade20k_mini`" in error_of(
        capsys, "predict", "a.jpg", "--recipe", "ade20k_mini", "--output", "m"
    )
    words = ("predict", "x/a.jpg", "--recipe", "ade20k_mini", "--checkpoint", "w")
    assert error_of(capsys, *words) == "x/a.jpg: no such file or folder"
    (tmp_path / "x").mkdir()
    assert error_of(capsys, "predict", "x", *words[2:]).startswith("x: no pictures there; expected files of avi, bmp")
    assert error_of(capsys, "predict", "x/*.png", *words[2:]).startswith("x/*.png: no pictures there")
    assert error_of(capsys, *words, "--device", "gpu").startswith("--device gpu: cannot be used here")
    assert error_of(capsys, *words, "--device", "meta").startswith("--device meta: cannot be used here")
    assert not (tmp_path / "predictions").exists()


def test_predict_writes_three_maps_of_the_pictures_size(tmp_path, monkeypatch, capsys):
    from test_readme import save_untrained

    from ddp_repro.settings.overrides import override
    from ddp_repro.workbook.catalogue import recipe

    monkeypatch.chdir(tmp_path)
    weights = tmp_path / "weights" / "model.safetensors"
    save_untrained(override(recipe("cityscapes_mini"), {"model.layers": 1}), weights)
    pixels = np.random.default_rng(0).integers(0, 255, (37, 50, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "straße 1.png")
    assert cli.main(["predict", "straße 1.png", "--checkpoint", str(weights), "--output", "maps"]) == 0
    maps = {
        kind: Image.open(tmp_path / "maps" / f"straße 1_{kind}.png") for kind in ("labels", "overlay", "uncertainty")
    }
    assert {kind: (m.mode, m.size) for kind, m in maps.items()} == {
        "labels": ("P", (50, 37)), "overlay": ("RGB", (50, 37)), "uncertainty": ("L", (50, 37)),
    }  # fmt: skip
    assert maps["labels"].getpalette()[:3] == [128, 64, 128]  # road
    assert np.asarray(maps["labels"]).max() < 19
    assert "maps/straße 1_overlay.png" in capsys.readouterr().out


def test_convert_writes_weights_that_name_their_recipe(tmp_path, capsys):
    from safetensors import safe_open
    from test_readme import save_untrained

    from ddp_repro.workbook.catalogue import recipe

    source, destination = tmp_path / "w" / "source.safetensors", tmp_path / "converted.safetensors"
    save_untrained(recipe("ade20k_mini"), source)
    assert cli.main(["convert", str(source), str(destination), "--recipe", "ade20k_mini"]) == 0
    assert "ddp_repro checkpoint: used" in capsys.readouterr().out
    with safe_open(destination, "pt") as file:
        assert '"name": "ade20k_mini"' in file.metadata()["recipe"]
    assert "source.safetensors" in error_of(capsys, "convert", str(source), "x", "--recipe", "cityscapes_mini")


def test_data_has_a_command_line_of_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["data", "mini", "--dataset", "ade20k", "--train", "1", "--val", "1", "--size", "32", "48"]
    assert cli.main(words) == 0
    assert len(list((tmp_path / "data/mini/ade20k/images").rglob("*.jpg"))) == 2
    capsys.readouterr()
    assert cli.main(["data", "ade20k", "--verify", "--output", "nowhere"]) > 0


def test_reproduce_runs_and_shows_tables_paths_and_index(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "repository_root", lambda: tmp_path)
    (tmp_path / "notebooks").mkdir()
    cells = [
        ("preset = 'mini'\noutput = 'results'\nfail = False", ["parameters"]),
        ("import pathlib\nout = pathlib.Path(output, preset, 'tables')\nout.mkdir(parents=True, exist_ok=True)", []),
        ("(out / 't.md').write_text('| mIoU |')\nassert not fail", []),
    ]
    content = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source, metadata={"tags": tags}) for source, tags in cells],
        metadata={"ddp_repro": {"results": ["tables/t.md"], "datasets": []}},
    )
    nbformat.write(content, tmp_path / "notebooks" / "table_t.ipynb")
    assert cli.main(["reproduce", "--preset", "mini", "table_t"]) == 0
    out = capsys.readouterr().out
    assert "| mIoU |" in out
    assert "index page: results/mini/index.html" in out
    assert cli.main(["reproduce", "table_t", "-p", "fail=true", "--overwrite"]) == 1
    assert "FAILED table_t: cell In [4]: AssertionError" in capsys.readouterr().out


def test_user_errors_are_all_there_is_to_catch():
    import importlib

    for module, names in cli.USER_ERRORS.items():
        assert all(issubclass(getattr(importlib.import_module(module), name), Exception) for name in names)
    assert ConfigError in cli._user_errors()
