"""SIGINT, SIGTERM and SIGHUP end ``ddp-repro reproduce``, its processes and its kernels, within seconds."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from ddp_repro.workbook.notebooks.interruption import Interrupted, interruptible

ROOT = Path(__file__).parents[2]
LIMIT = 5.0  # seconds
SLEEP = """
import os, pathlib, signal, time
pathlib.Path(output, preset).mkdir(parents=True, exist_ok=True)
pathlib.Path(output, preset, "table.md").write_text("half of a run")
{before}
pathlib.Path("pid-{name}").write_text(str(os.getpid()))
time.sleep(300)
"""
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture(autouse=True)
def heed_hangup():
    """Let commands heed SIGHUP, also where the tests run under ``nohup``, whose children ignore it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def clone(tmp_path) -> Path:
    """A clone whose notebooks sleep, after they have written half of their result."""
    (tmp_path / "pyproject.toml").write_text('name = "ddp-repro"\n')
    (tmp_path / "notebooks").mkdir()
    return tmp_path


def add_notebook(clone: Path, name: str, before: str = "") -> None:
    first = nbformat.v4.new_code_cell(
        'preset = "mini"\noutput = "results"\noverwrite = False', metadata={"tags": ["parameters"]}
    )
    cells = [first, nbformat.v4.new_code_cell(SLEEP.format(name=name, before=before))]
    content = nbformat.v4.new_notebook(cells=cells)
    content.metadata["ddp_repro"] = {"results": ["table.md"], "datasets": []}
    nbformat.write(content, clone / "notebooks" / f"{name}.ipynb")


def start(clone: Path, *arguments: str, **options) -> subprocess.Popen:
    """Start the command in a process group of its own, as a terminal does."""
    command = [sys.executable, "-c", "import sys; from ddp_repro.cli import main; sys.exit(main())"]
    return subprocess.Popen(
        [*command, "reproduce", *arguments], cwd=clone, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, **options,
    )  # fmt: skip


def wait_for_kernels(clone: Path, process: subprocess.Popen, names: list[str]) -> list[int]:
    deadline = time.monotonic() + 200
    files = [clone / f"pid-{name}" for name in names]
    while not all(file.is_file() and file.read_text() for file in files):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the kernels did not start"
        time.sleep(0.1)
    return [int(file.read_text()) for file in files]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def check_end(clone: Path, process: subprocess.Popen, number: signal.Signals, pids: list[int], started: float) -> None:
    """All is over in time, with one line, and results are as they were before."""
    _, errors = process.communicate(timeout=60)
    while any(map(is_running, pids)) and time.monotonic() - started < LIMIT:
        time.sleep(0.05)
    assert time.monotonic() - started < LIMIT
    assert process.returncode == EXIT_CODES[number], errors
    lines = [line for line in errors.replace("\r", "\n").splitlines() if line.strip() and "notebooks:" not in line]
    assert lines == ["ddp-repro: interrupted"], errors
    assert not (clone / "results" / "mini" / "table.md").exists()
    assert not list((clone / "results").rglob("*.backup"))


@pytest.mark.slow
@pytest.mark.parametrize("number", EXIT_CODES)
def test_a_signal_to_the_command_alone(clone, number):
    add_notebook(clone, "a")
    process = start(clone, "--preset", "mini")
    pids = wait_for_kernels(clone, process, ["a"])
    started = time.monotonic()
    process.send_signal(number)
    check_end(clone, process, number, pids, started)


@pytest.mark.slow
@pytest.mark.parametrize("number", EXIT_CODES)
def test_a_signal_to_the_command_alone_with_two_jobs(clone, number):
    for name in ("a", "b"):
        add_notebook(clone, name)
    process = start(clone, "--preset", "mini", "--jobs", "2")
    pids = wait_for_kernels(clone, process, ["a", "b"])
    started = time.monotonic()
    process.send_signal(number)
    check_end(clone, process, number, pids, started)


@pytest.mark.slow
@pytest.mark.parametrize("number", EXIT_CODES)
def test_a_signal_to_the_whole_group_twice(clone, number):
    """As Ctrl-C in a terminal, pressed again at once."""
    for name in ("a", "b"):
        add_notebook(clone, name)
    process = start(clone, "--preset", "mini", "--jobs", "2")
    pids = wait_for_kernels(clone, process, ["a", "b"])
    started = time.monotonic()
    for _ in range(2):
        os.killpg(process.pid, number)
        time.sleep(0.3)
    check_end(clone, process, number, pids, started)


@pytest.mark.slow
def test_a_kernel_that_does_not_heed_is_killed(clone):
    add_notebook(clone, "a", DEAF)
    process = start(clone, "--preset", "mini")
    pids = wait_for_kernels(clone, process, ["a"])
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    check_end(clone, process, signal.SIGTERM, pids, started)


@pytest.mark.slow
def test_a_job_in_the_background_heeds_sigint_though_its_shell_had_it_ignored(clone):
    add_notebook(clone, "a")
    process = start(clone, "--preset", "mini", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    pids = wait_for_kernels(clone, process, ["a"])
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    check_end(clone, process, signal.SIGINT, pids, started)


@pytest.mark.parametrize("number", EXIT_CODES)
def test_the_first_signal_raises_and_says_the_exit_code(number):
    script = (
        "import os, signal\n"
        "from ddp_repro.workbook.notebooks.interruption import Interrupted, interruptible\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # under nohup it is ignored, and stays so
        "try:\n"
        f"    with interruptible(): os.kill(os.getpid(), {int(number)}); raise AssertionError('not raised')\n"
        "except Interrupted as error:\n"
        f"    os.kill(os.getpid(), {int(number)})  # the second is ignored\n"
        "    raise SystemExit(error.exit_code)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == EXIT_CODES[number]


def test_cleaning_up_that_takes_too_long_is_cut(monkeypatch):
    script = (
        "import os, time\n"
        "from ddp_repro.workbook.notebooks import interruption\n"
        "interruption.PATIENCE = 0.2\n"
        "with interruption.interruptible(lambda error: print('cut', flush=True)):\n"
        f"    try: os.kill(os.getpid(), {int(signal.SIGTERM)})\n"
        "    finally: time.sleep(100)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (143, "cut\n", "")


def test_without_a_signal_the_handlers_are_as_before():
    before = [signal.getsignal(number) for number in EXIT_CODES]
    with interruptible():
        assert [signal.getsignal(number) for number in EXIT_CODES] != before
    assert [signal.getsignal(number) for number in EXIT_CODES] == before


def test_nohup_is_respected(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert issubclass(Interrupted, KeyboardInterrupt)  # what a library does on Ctrl-C, it does on all of them
