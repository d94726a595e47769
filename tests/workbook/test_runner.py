"""The runner's failure modes, each with a tiny notebook of its own."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import nbformat
import pytest

from ddp_repro.settings.errors import ConfigError
from ddp_repro.store.locks import file_lock
from ddp_repro.workbook.notebooks import fingerprint as fingerprint_module
from ddp_repro.workbook.notebooks import runner
from ddp_repro.workbook.notebooks.notebook import read_notebook
from ddp_repro.workbook.notebooks.schedule import next_job, side_by_side

WRITE = """
import pathlib
pathlib.Path(output, preset).mkdir(parents=True, exist_ok=True)
pathlib.Path(output, preset, "table.md").write_text(f"rate {rate}")
"""
PARAMETERS = """
preset = "mini"
output = "results"
rate = 0.5  # of learning
steps = [1, 3]
limit: int | None = None
title = "x"
"""
MEET = """
import os, time
for _ in range(1200):
    if os.path.exists(other): break
    time.sleep(0.1)
else: raise TimeoutError
"""


class Workbook:
    """A folder of tiny notebooks and where their results go."""

    def __init__(self, root: Path):
        self.notebooks, self.results = root / "notebooks", root / "results"
        self.notebooks.mkdir()

    def add(self, *cells: str, name: str = "n", parameters: str = PARAMETERS, results: tuple[str, ...] = ("table.md",)):
        first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
        content = nbformat.v4.new_notebook(cells=[first, *map(nbformat.v4.new_code_cell, cells)])
        content.metadata["ddp_repro"] = {"results": list(results), "datasets": []}
        nbformat.write(content, self.notebooks / f"{name}.ipynb")

    def run(self, *names: str, **options) -> list[runner.Outcome]:
        return runner.reproduce("mini", list(names), notebooks=self.notebooks, **options)

    def path(self, name: str) -> Path:
        return self.results / "mini" / name

    def fails(self, message: str) -> None:
        """The only notebook fails with this message, and what is left says so."""
        (outcome,) = self.run()
        assert outcome.state == "failed"
        assert message in outcome.message
        assert not self.path("notebooks/n.ipynb").exists()
        assert not self.path("notebooks/n.json").exists()


@pytest.fixture
def workbook(tmp_path, monkeypatch) -> Workbook:
    monkeypatch.chdir(tmp_path)
    return Workbook(tmp_path)


@pytest.mark.slow
def test_a_finished_run_is_published_and_not_repeated(workbook):
    workbook.add(WRITE)
    (first,) = workbook.run(parameters={"rate": "1e-4"})
    assert (first.state, first.message) == ("done", "")
    assert workbook.path("table.md").read_text() == "rate 0.0001"  # a float, not papermill's string
    assert "<html" in workbook.path("notebooks/n.html").read_text()
    assert not list(workbook.path("notebooks").glob(".*partial*"))
    executed = workbook.path("notebooks/n.ipynb").read_text()
    assert str(workbook.results.parent) not in executed  # no local paths
    assert workbook.run(parameters={"rate": "1e-4"})[0].state == "skipped"
    workbook.path("table.md").unlink()
    assert workbook.run(parameters={"rate": "1e-4"})[0].state == "done"


@pytest.mark.slow
def test_another_run_in_the_same_place_is_refused_without_overwrite(workbook):
    workbook.add(WRITE)
    workbook.run(parameters={"rate": "0.25"})
    with pytest.raises(ConfigError, match=r"rate=0\.25.*--overwrite"):
        workbook.run()
    assert workbook.path("table.md").read_text() == "rate 0.25"
    assert workbook.run(overwrite=True)[0].state == "done"
    assert workbook.path("table.md").read_text() == "rate 0.5"


@pytest.mark.slow
def test_other_code_or_data_means_other_work(workbook, monkeypatch):
    workbook.add(WRITE)
    workbook.run()
    monkeypatch.setattr(fingerprint_module, "code_hash", lambda: "another")
    assert workbook.run()[0].state == "done"
    assert workbook.run()[0].state == "skipped"


def test_data_folders_are_told_apart_by_names_and_sizes(tmp_path):
    assert fingerprint_module.folder_hash(tmp_path / "none") is None
    before = fingerprint_module.folder_hash(tmp_path)
    (tmp_path / "ü.png").write_bytes(b"12")
    after = fingerprint_module.folder_hash(tmp_path)
    assert before != after == fingerprint_module.folder_hash(tmp_path)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ({"ratee": "1"}, "no parameter 'ratee'; did you mean rate"),
        ({"rate": "fast"}, "rate must be float; got 'fast'"),
        ({"rate": "true"}, "rate must be float; got True"),
        ({"steps": "3"}, r"steps must be a list like \[1, 3\]; got 3"),
        ({"steps": "1,'a'"}, "steps must be a list like"),
        ({"limit": "1.5"}, "limit must be None or int; got 1.5"),
        ({"preset": "paper"}, "set by --preset"),
    ],
)
def test_unknown_and_mistyped_parameters_are_rejected_before_anything_runs(workbook, typed, message):
    workbook.add(WRITE)
    with pytest.raises(ConfigError, match=message):
        workbook.run(parameters=typed)
    assert not workbook.results.exists()


@pytest.mark.slow
def test_parameters_are_python_literals(workbook):
    workbook.add(WRITE)
    notebook = read_notebook(workbook.notebooks / "n.ipynb")
    typed = {"rate": "1", "steps": "1,3,10", "limit": "none", "title": "123"}
    parsed = {name: notebook.parameter(name).parse(text) for name, text in typed.items()}
    assert parsed == {"rate": 1.0, "steps": [1, 3, 10], "limit": None, "title": "123"}
    assert isinstance(parsed["rate"], float)


def test_a_parameters_cell_holds_only_literals(workbook):
    workbook.add(WRITE, parameters="rate = 10 ** 3")
    with pytest.raises(ConfigError, match="parameters cell of"):
        workbook.run()
    (workbook.notebooks / "n.ipynb").write_text("{}")
    with pytest.raises(ConfigError, match="not a Jupyter notebook"):
        workbook.run()


def test_an_unknown_notebook_is_rejected_with_a_suggestion(workbook):
    workbook.add(WRITE, name="ddp_table1_ade20k")
    with pytest.raises(ConfigError, match="did you mean ddp_table1_ade20k"):
        workbook.run("ddp_table1")


@pytest.mark.slow
def test_a_failed_cell_fails_the_run_but_not_the_others(workbook):
    workbook.add("1 / 0", WRITE)
    workbook.add(WRITE, name="other")
    failed, done = workbook.run()
    assert (failed.state, done.state) == ("failed", "done")
    assert "cell In [3]: ZeroDivisionError: division by zero" in failed.message
    assert workbook.path("notebooks/n.failed.ipynb").is_file()
    assert not workbook.path("notebooks/n.ipynb").exists()


@pytest.mark.slow
def test_sys_exit_is_a_failure(workbook):
    workbook.add(WRITE, "import sys; sys.exit()", "unreached = True")
    workbook.fails("cell In [4]: SystemExit")


@pytest.mark.slow
def test_a_killed_kernel_is_a_failure(workbook):
    workbook.add(WRITE, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    workbook.fails("kernel died in the cell that begins 'import os, signal'")


@pytest.mark.slow
def test_a_missing_result_is_a_failure(workbook):
    workbook.add("done = True")
    workbook.fails("table.md is missing")


@pytest.mark.slow
def test_an_old_result_does_not_count_for_this_run(workbook):
    workbook.add("done = True")
    old = workbook.path("table.md")
    old.parent.mkdir(parents=True)
    old.write_text("old")
    os.utime(old, (1, 1))
    workbook.fails("is an old one")


@pytest.mark.slow
def test_a_failed_run_leaves_the_finished_result_as_it_was(workbook):
    workbook.add(WRITE, "assert rate < 1")
    workbook.run()
    before = {name: workbook.path(name).read_bytes() for name in ("table.md", "notebooks/n.ipynb", "notebooks/n.json")}
    (outcome,) = workbook.run(parameters={"rate": "2.0"}, overwrite=True)
    assert outcome.state == "failed"  # after it wrote its table
    assert before == {name: workbook.path(name).read_bytes() for name in before}
    assert workbook.run()[0].state == "skipped"


@pytest.mark.slow
def test_a_run_that_is_killed_counts_for_nothing_and_its_successor_puts_things_right(workbook, tmp_path):
    workbook.add(WRITE, "import time\nif rate > 1: time.sleep(200)")
    workbook.run()
    script = (
        "from pathlib import Path; from ddp_repro.workbook.notebooks import runner; runner.reproduce('mini', [], "
        "notebooks=Path('notebooks'), "
        "parameters={'rate': '2.0'}, overwrite=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 200
    while workbook.path("table.md").read_text() != "rate 2.0" and time.monotonic() < deadline:
        time.sleep(0.1)
    process.kill()
    process.wait()
    assert workbook.path("table.md").read_text() == "rate 2.0"  # half of a run
    workbook.add("1 / 0")
    assert workbook.run()[0].state == "failed"
    assert workbook.path("table.md").read_text() == "rate 0.5"  # the finished run's


@pytest.mark.slow
def test_notebooks_run_side_by_side(workbook):
    for name, other in (("a", "b"), ("b", "a")):
        cells = f"other = {other!r}\nopen({name!r}, 'w').close()", MEET, "assert os.environ['OMP_NUM_THREADS'] == '1'"
        workbook.add(*cells, name=name, results=())
    assert [outcome.state for outcome in workbook.run(jobs=2)] == ["done", "done"]


def test_notebooks_of_one_dataset_take_turns_while_others_can_run():
    jobs, related = ["city a", "city b", "ade"], lambda one, other: one.split()[0] == other.split()[0]
    assert next_job(jobs, [], related) == "city a"
    assert next_job(jobs[1:], ["city a"], related) == "ade"
    assert next_job(jobs[1:2], ["city a"], related) == "city b"  # rather wait in line than leave a core idle


@pytest.mark.slow
def test_a_killed_process_takes_only_its_own_job_with_it():
    ended = dict(side_by_side([-9, 0], _end_by_signal, 2, lambda one, other: False))
    with pytest.raises(BrokenProcessPool):
        ended[-9].result()
    assert ended[0].result() == "fine"


def _end_by_signal(number: int) -> str:
    if number:
        os.kill(os.getpid(), -number)
    return "fine"


@pytest.mark.slow
def test_two_runners_do_not_share_a_notebook(workbook):
    workbook.add(WRITE)
    with file_lock(workbook.path("notebooks/.n.lock")):
        workbook.fails("held by another process")


def test_a_lock_makes_the_second_wait(tmp_path, capsys):
    order = []

    def second() -> None:
        with file_lock(tmp_path / "lock"):
            order.append("second")

    with file_lock(tmp_path / "lock"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert "waiting for another process" in capsys.readouterr().err


@pytest.mark.slow
def test_an_unwritable_output_is_a_failure_with_its_path(workbook):
    workbook.add(WRITE)
    workbook.results.write_text("a file where a folder should be")
    (outcome,) = workbook.run()
    assert outcome.state == "failed"
    assert str(workbook.results) in outcome.message
