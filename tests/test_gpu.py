"""``ddp-repro gpu``: parts are done once, within limits and a budget, and one that fails stops no other."""

import json
import os
import sys
import time
from pathlib import Path

import pytest
import torch

from ddp_repro import cli
from ddp_repro.gpu import parts, sequence
from ddp_repro.gpu.part import Part, commands_of
from ddp_repro.gpu.runner import Runner
from ddp_repro.gpu.summary import Summary
from ddp_repro.store.paths import repository_root
from ddp_repro.workbook.runs import provenance

ROOT = repository_root()


def part(name: str, code: str = "print('ran')", **settings) -> Part:
    """A program that adds a line to ``<name>.runs`` in its working directory, then does ``code``."""
    program = [sys.executable, "-c", f"open('{name}.runs', 'a').write('x')\n{code}"]
    return Part(**{"name": name, "program": program, "seconds": 1.0, "limit": 60.0} | settings)


def runs(folder: Path, name: str) -> int:
    path = folder / f"{name}.runs"
    return len(path.read_text()) if path.exists() else 0


def a_runner(folder: Path, budget: float = 600.0, gpu: str | None = None, again: bool = False, **settings) -> Runner:
    environment = provenance.environment("cpu")
    object.__setattr__(environment, "gpu", gpu)
    return Runner(Summary.read(folder / "gpu", environment, again), folder, folder, os.environ, budget, **settings)


def test_what_is_done_is_not_done_again(tmp_path):
    first, second = part("first"), part("second")
    assert a_runner(tmp_path).run(first) == "first: done"
    later = a_runner(tmp_path)
    assert [later.run(each) for each in (first, second)] == ["first: done before", "second: done"]
    assert (runs(tmp_path, "first"), runs(tmp_path, "second")) == (1, 1)
    assert a_runner(tmp_path, again=True).run(first) == "first: done"
    assert runs(tmp_path, "first") == 2


def test_another_gpu_or_another_command_is_another_part(tmp_path):
    assert a_runner(tmp_path, gpu="H100").run(part("first")) == "first: done"
    assert a_runner(tmp_path, gpu="H100").run(part("first")) == "first: done before"
    assert a_runner(tmp_path, gpu="H200").run(part("first")) == "first: done"
    assert a_runner(tmp_path, gpu="H200").run(part("first", "print('other')")) == "first: done"


def test_a_part_that_fails_is_told_and_begun_again_and_stops_no_other(tmp_path):
    wrong = part("wrong", "print('because of this'); raise SystemExit(3)")
    now = a_runner(tmp_path)
    said = [now.run(each) for each in (wrong, part("right"))]
    assert said[0].startswith("wrong: failed: exit code 3") and said[1] == "right: done"
    assert now.summary.failed
    text = (tmp_path / "gpu/summary.md").read_text()
    assert "| wrong | failed |" in text and "because of this" in text and "| right | done |" in text
    later = a_runner(tmp_path)
    assert later.run(part("wrong")) == "wrong: done" and not later.summary.failed


def test_a_part_over_its_limit_is_ended_with_all_that_it_has_started(tmp_path):
    code = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', CHILD]); time.sleep(60)"
    child = "import time, pathlib; time.sleep(6); pathlib.Path('alive').touch()"
    slow = part("slow", f"CHILD = {child!r}\n{code}", limit=3.0)
    started, now = time.monotonic(), a_runner(tmp_path)
    assert now.run(slow) == "slow: over its limit: ended after 3 s"
    assert now.summary.failed and time.monotonic() - started < 30
    time.sleep(max(0.0, started + 12 - time.monotonic()))
    assert not (tmp_path / "alive").exists()


def test_a_program_may_save_its_state_before_it_ends(tmp_path):
    code = (
        "import pathlib, signal, time\n"
        "def save(*_): pathlib.Path('saved').touch(); raise SystemExit\n"
        "signal.signal(signal.SIGTERM, save); time.sleep(60)"
    )
    assert a_runner(tmp_path).run(part("training", code, limit=3.0)).startswith("training: over its limit")
    assert (tmp_path / "saved").exists()


def test_the_budget_decides_what_is_begun(tmp_path):
    """By what a part of the same kind took where one was done, else by what the part says."""
    times = iter([0.0, 0.0, 10.0, 60.0, 70.0, 75.0])  # construction; left, start, end; left; left
    now = a_runner(tmp_path, budget=100.0, clock=lambda: next(times))
    assert now.run(part("pair 0", seconds=90.0, kind="pair")) == "pair 0: done"
    assert now.run(part("pair 1", seconds=1.0, kind="pair")) == "pair 1: not begun: takes about 50 s, and 30 s are left"
    assert now.run(part("long", seconds=26.0)) == "long: not begun: takes about 26 s, and 25 s are left"
    assert (runs(tmp_path, "pair 1"), runs(tmp_path, "long")) == (0, 0) and not now.summary.failed
    assert a_runner(tmp_path).run(part("pair 1", seconds=1.0, kind="pair")) == "pair 1: done"


def test_what_the_budget_ends_is_no_failure(tmp_path):
    now = a_runner(tmp_path, budget=3.0)
    said = now.run(part("training", "import time; time.sleep(60)"))
    assert said.startswith("training: not finished: ended after") and not now.summary.failed


def test_a_part_may_be_impossible_here(tmp_path):
    now = a_runner(tmp_path)
    said = now.run(part("bench", obstacle=lambda: "the package triton is not installed"))
    assert said == "bench: cannot be run here: because the package triton is not installed"
    assert runs(tmp_path, "bench") == 0 and not now.summary.failed


def test_numbers_are_read_and_weights_removed(tmp_path):
    def numbers(folder: Path, printed: str) -> dict[str, str]:
        return {"printed": printed.strip(), "file": (folder / "score").read_text()}

    code = "open('score', 'w').write('37.1'); open('model.safetensors', 'w'); print('hello')"
    a_runner(tmp_path).run(part("training", code, numbers=numbers, leaves_out=["*.safetensors"]))
    content = json.loads((tmp_path / "gpu/summary.json").read_text())
    assert content["parts"]["training"]["numbers"] == {"printed": "hello", "file": "37.1"}
    assert "- file: 37.1" in (tmp_path / "gpu/summary.md").read_text()
    assert not (tmp_path / "model.safetensors").exists()
    assert str(tmp_path) not in (tmp_path / "gpu/summary.json").read_text()


def test_a_part_without_its_numbers_has_failed(tmp_path):
    said = a_runner(tmp_path).run(part("bench", numbers=lambda folder, printed: {"x": (folder / "none").read_text()}))
    assert said.startswith("bench: failed: its results cannot be read: FileNotFoundError")


def test_without_a_gpu_only_a_dry_run(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cli.main(["gpu", "--output", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "there is no GPU that PyTorch can use here; --dry-run tries every part on the CPU" in error
    assert cli.main(["gpu", "--budget", "soon"]) == 2 and "'soon'" in capsys.readouterr().err


@pytest.mark.parametrize(("keep_going", "ran"), [(False, 2), (True, 3)])
def test_several_commands_in_one_process(monkeypatch, keep_going, ran):
    called = []

    def command(words):
        called.append(words)
        if words == ["second"]:
            raise ValueError("wrong")
        return 0

    monkeypatch.setattr(sequence.cli, "main", command)
    assert sequence.run([["first"], ["second"], ["third"]], keep_going) == 1
    assert len(called) == ran
    program = commands_of(["first"], ["second"], keep_going=keep_going)
    assert program[1:3] == ["-m", "ddp_repro.gpu.sequence"] and ("--keep-going" in program) == keep_going
    assert json.loads(program[-1]) == [["first"], ["second"]]


def test_the_parts_of_a_gpu(monkeypatch, tmp_path):
    """Their commands are ones that the command line takes, and data from elsewhere is read from there."""
    monkeypatch.setattr(parts, "_gpu_name", lambda: "H100")
    monkeypatch.setenv(parts.DATA_VARIABLE, str(tmp_path))
    all_parts = list(parts.gpu_parts("results"))
    assert [p.name for p in all_parts[:5]] == [
        "tests", "bench reference", "bench triton", "bench genpercept", "CamVid, pair 0",
    ]  # fmt: skip
    for each in all_parts[1:]:
        for words in json.loads(each.program[-1]):
            options = cli._options(words)
            assert options["output"] == "results"
    words = json.loads(all_parts[5].program[-1])
    assert [command[:2] for command in words] == [
        ["train", "camvid_gpu_baseline-seed1"], ["evaluate", "camvid_gpu_baseline-seed1"],
        ["train", "camvid_gpu-seed1"], ["evaluate", "camvid_gpu-seed1"],
    ]  # fmt: skip
    assert f"data.root={tmp_path / 'camvid'}" in words[0]
    assert all_parts[4].obstacle() == f"{tmp_path / 'camvid'} is not there"


@pytest.mark.slow
@pytest.mark.timeout(1800)  # of a machine that does other work as well
def test_the_dry_run_does_every_part(tmp_path, monkeypatch, capfd, data):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert cli.main(["gpu", "--dry-run", "--budget", "1h", "--output", str(tmp_path)]) == 0
    content = json.loads((tmp_path / ".gpu_dry_run/gpu/summary.json").read_text())["parts"]
    assert {name: outcome["status"] for name, outcome in content.items()} == dict.fromkeys(
        ("tests", "bench reference, cpu", "bench genpercept", "CamVid, pair 0"), "done"
    )
    assert all(outcome["numbers"] for outcome in content.values())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in files) < 2**20
    assert "### Parts, no GPU" in capfd.readouterr().out
