"""Jobs on a cluster: with submitit's local executor, and with a stub of Slurm's commands that runs what it is given."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import psutil
import pytest
import torch
from workbook import slurm_stub
from workbook.tiny import OVERRIDES, write_data

from ddp_repro import cli
from ddp_repro.interop.weight_files import read_state_dict
from ddp_repro.settings.errors import ConfigError
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.claims import cluster
from ddp_repro.workbook.jobs import launch as launch_module
from ddp_repro.workbook.jobs.job import Job
from ddp_repro.workbook.jobs.launch import Launch
from ddp_repro.workbook.jobs.slurm import Slurm, parse_slurm, run_on_slurm
from ddp_repro.workbook.jobs.training import scored_training, training

ROOT = Path(__file__).parents[2]
NAME = "cityscapes_mini"
LIMIT = 400.0  # seconds; a machine may be busy
HELP = ("--help",)  # the quickest command


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Path:
    """Slurm's commands on PATH; returns the folder in which they keep what they did."""
    submitit = pytest.importorskip("submitit")
    watcher = type(submitit.SlurmJob.watcher)(delay_s=2)  # which remembers jobs by their numbers
    monkeypatch.setattr(submitit.SlurmJob, "watcher", watcher)
    states = slurm_stub.install(tmp_path / "slurm")
    monkeypatch.setenv("SLURM_STUB", str(states))
    monkeypatch.setenv("PATH", f"{tmp_path / 'slurm/bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    return states


def events(states: Path) -> list[str]:
    return (states / "events").read_text().splitlines()


def test_what_is_asked_for():
    asked = parse_slurm(["nodes=4", "gpus=8", "time=1h30m", "partition=gpu", "cpus-per-task=64"])
    assert asked == Slurm(4, 8, 90, (("cpus_per_task", 64), ("partition", "gpu")))
    assert asked.alone() == Slurm(1, 1, 90, asked.options)
    assert (parse_slurm([]).processes, asked.processes) == (1, 8)


@pytest.mark.parametrize("word", ["nodes", "nodes=", "nodes=0", "gpus=-1", "gpus=many", "cores=4", "time=12"])
def test_what_cannot_be_asked_for(word):
    with pytest.raises(ConfigError, match="expected|is expected"):
        parse_slurm([word])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", NAME, "--executor", "moon"], "argument --executor: invalid choice: 'moon'"),
        (["train", NAME, "--slurm", "nodes=4"], "--slurm nodes=4 is for --executor slurm"),
        (["train", NAME, "--executor", "slurm", "--slurm", "cores=4"], "--slurm cores=4: expected KEY=VALUE"),
        (["train", NAME, "--executor", "slurm", "--slurm", "nodes=5"], "train.batch_size=6 cannot be shared equally"),
        (["reproduce", "--executor", "slurm", "--jobs", "2"], "--jobs is for --executor local"),
        (["reproduce", "--executor", "slurm", "--slurm", "gpus=2"], "a notebook runs in one process"),
    ],
)
def test_mistakes_are_said_in_one_line(slurm, words, said, tmp_path, capsys):
    try:
        code = cli.main([*words, "--output", str(tmp_path / "results")])
    except SystemExit as exit_:
        code = exit_.code
    lines = capsys.readouterr().err.splitlines()
    assert code == 2 and said in lines[0] and not any("Traceback" in line for line in lines)
    assert not (tmp_path / "results").exists() and not (slurm / "events").exists()


@pytest.mark.parametrize("command", [["train", NAME], ["decide", "all", "--budget", "1h"], ["reproduce"]])
def test_a_machine_without_slurm_or_submitit(command, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main([*command, "--executor", "slurm"]) == 2
    assert capsys.readouterr().err.startswith("ddp-repro: error: --executor slurm needs sbatch, srun, scancel on PATH")
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert cli.main([*command, "--executor", "slurm"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("needs submitit: uv sync --extra cluster")


def test_torchrun_meets_on_the_first_machine():
    job = training(recipe(NAME), [NAME], "results")

    def words(nodes: int, processes: int, node: int = 0) -> list[str]:
        launch = Launch(job, "/", nodes, processes)
        return launch.arguments(["train", NAME], 1, node, ["gpu7", "gpu8", "gpu9", "gpu12"], "123456_7")[1:]

    program = ["-m", "ddp_repro", "train", NAME]
    assert words(1, 1) == program
    many = ["-m", "torch.distributed.run"]
    assert words(1, 8) == [*many, "--nnodes=1", "--nproc-per-node=8", "--standalone", *program]
    meeting = ["--master-addr=gpu7", "--master-port=33457"]
    assert words(4, 8, 2) == [*many, "--nnodes=4", "--nproc-per-node=8", "--node-rank=2", *meeting, *program]
    alone = Launch(Job(name="n", commands=(("map-use", NAME),)), "/", 4, 8)
    assert alone.arguments(["map-use", NAME], 0, 0, ["gpu7"], "1")[1:] == ["-m", "ddp_repro", "map-use", NAME]


class Elsewhere:
    """What submitit says inside of a job."""

    node, hostnames, job_id = 0, ("gpu7",), "17"


def children_but(others: list[psutil.Process]) -> list[psutil.Process]:
    """Return this process' children, without those that other tests keep (a server that processes are forked from)."""
    return [child for child in psutil.Process().children() if child not in others]


def launched(monkeypatch, program: str) -> Launch:
    """A job that runs a line of shell."""
    submitit = pytest.importorskip("submitit")
    monkeypatch.setattr(submitit, "JobEnvironment", Elsewhere)
    monkeypatch.setattr(Launch, "arguments", lambda *_: ["sh", "-c", program])
    return Launch(Job(name="n", commands=(HELP,)), "/")


def test_a_checkpoint_ends_what_runs_and_is_the_same_call(monkeypatch):
    launch, calls, others = launched(monkeypatch, "sleep 100"), [], psutil.Process().children()

    def preempt(number, frame):
        calls.append(launch.checkpoint())
        raise SystemExit

    before = signal.signal(signal.SIGALRM, preempt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    started = time.monotonic()
    with pytest.raises(SystemExit):
        launch()
    signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - started < 10 and children_but(others) == []
    assert calls[0].function == launch and calls[0].args == ()


def test_a_program_that_does_not_end_is_killed(monkeypatch):
    others = psutil.Process().children()
    monkeypatch.setattr(launch_module, "SAVING", 0.2)
    launch = launched(monkeypatch, "")
    launch._child = subprocess.Popen(["sh", "-c", "trap '' TERM; while :; do :; done"])
    time.sleep(0.3)
    launch._end()
    assert children_but(others) == []


def test_a_job_that_is_told_to_end_waits_for_its_cluster(monkeypatch):
    """SIGTERM comes first; what it ends has not failed by itself."""
    launch, slept = launched(monkeypatch, f"kill -TERM {os.getpid()}; sleep 100"), []
    monkeypatch.setattr(time, "sleep", slept.append)
    with pytest.raises(RuntimeError, match=r"ddp-repro --help ended with exit code -15"):
        launch()
    assert slept == [launch_module.REQUEUE]


def test_the_first_machine_tells_of_a_failure(monkeypatch):
    with pytest.raises(RuntimeError, match=r"ddp-repro --help ended with exit code 3"):
        launched(monkeypatch, "exit 3")()
    monkeypatch.setattr(Elsewhere, "node", 1)
    launch = launched(monkeypatch, "exit 3")
    launch()
    assert replace(launch, job=replace(launch.job, shared=True))() is None


def test_commands_know_of_no_launcher_and_ignore_submitits_signal(monkeypatch, tmp_path):
    for name in ("PMI_SIZE", "PMI_RANK", "RANK", "MASTER_ADDR"):
        monkeypatch.setenv(name, "4")
    launched(monkeypatch, f"kill -USR2 $$; env > {tmp_path / 'environment'}")()
    names = {line.partition("=")[0] for line in (tmp_path / "environment").read_text().splitlines()}
    assert "PATH" in names and not names & {"PMI_SIZE", "PMI_RANK", "RANK", "MASTER_ADDR"}


def test_jobs_that_train_the_same_wait_for_each_other():
    one, other = scored_training(recipe(f"{NAME}-seed1"), "results"), scored_training(recipe(NAME), "results")
    assert one.commands[0][:2] == ("train", f"{NAME}-seed1") and one.commands[1][0] == "evaluate"
    assert not one.waits_for(other) and one.waits_for(one)
    stages = scored_training(recipe("ddps_cityscapes_mini"), "results").needs
    assert stages is not None and len(stages) > 1  # its first stages are trained where they have not been
    assert Job(name="n", commands=()).waits_for(one)  # it may need anything


def test_what_decide_has_a_cluster_do(monkeypatch):
    seen: list[Job] = []

    def run(jobs, slurm, folder):
        seen.extend(jobs)
        yield from ((job, None) for job in jobs)

    monkeypatch.setattr(cluster, "run_on_slurm", run)
    worker = cluster.ClusterTrainer("mini", "results", Slurm())
    worker.run([NAME, f"{NAME}-seed1"])
    worker.check(NAME)
    commands = [command for job in seen for command in job.commands]
    assert [words[:2] for words in commands] == [
        ("train", NAME), ("evaluate", NAME), ("train", f"{NAME}-seed1"), ("evaluate", f"{NAME}-seed1"),
        ("map-use", NAME),
    ]  # fmt: skip
    for words in commands:
        assert cli._options(list(words))["preset"] == "mini"
    assert [job.shared for job in seen] == [True, True, False]

    monkeypatch.setattr(cluster, "run_on_slurm", lambda jobs, *_: iter([(jobs[0], "out of memory")]))
    with pytest.raises(ConfigError, match=f"{NAME}: out of memory"):
        worker.run([NAME])


def test_scripts_outcomes_and_who_waits_for_whom(slurm, tmp_path, capsys):
    shared = frozenset({"cityscapes"})
    jobs = [
        Job(name="first", commands=(HELP,), needs=shared),
        Job(name="second", commands=(HELP,), needs=shared, files=(tmp_path / "nowhere",)),
        Job(name="wrong", commands=(HELP, ("nonsense",)), needs=frozenset()),
    ]
    asked = Slurm(gpus=2, minutes=90, options=(("partition", "gpu"),))
    ended = {job.name: problem or "" for job, problem in run_on_slurm(jobs, asked, tmp_path / "logs")}
    assert ended["first"] == ""
    assert ended["second"].startswith(f"{tmp_path / 'nowhere'} is missing (job 19; log: ")
    assert ended["wrong"].startswith("argument COMMAND ...: invalid choice: 'nonsense'")
    script = (slurm / "17.sh").read_text()
    for line in ("job-name=first", "time=90", "nodes=1", "ntasks-per-node=1", "gpus-per-node=1", "partition=gpu"):
        assert f"#SBATCH --{line}\n" in script
    assert "#SBATCH --signal=USR2@90\n" in script
    order = events(slurm)
    assert order.index("submitted 18") < order.index("ended 17") < order.index("submitted 19")
    assert "first: job 17; log: " in capsys.readouterr().err


def test_a_refused_job(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_STUB_REFUSES", "1")
    with pytest.raises(ConfigError, match="the cluster refuses n: .*invalid partition specified"):
        list(run_on_slurm([Job(name="n", commands=(HELP,))], Slurm(), tmp_path))


def test_an_interruption_cancels(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_STUB_HOLDS", "1")
    alone = frozenset[str]()
    jobs = [Job(name="a", commands=(HELP,), needs=alone), Job(name="b", commands=(HELP,), needs=alone)]

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        list(run_on_slurm(jobs, Slurm(), tmp_path))
    assert events(slurm)[-2:] == ["cancelled 17", "cancelled 18"]


def words_for(data: Path, output: Path, *changes: str) -> list[str]:
    given = [*OVERRIDES, *changes]
    last = {word.partition("=")[0]: word for word in given}
    return [NAME, *last.values(), f"data.root={data}", "--output", str(output)]


LONG = ["train.iterations=40", "train.checkpoint_every=2"]


def weights(output: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    return read_state_dict(output / "mini/runs" / NAME / "model.safetensors")


def wait_for(condition, what: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def has_state(output: Path) -> bool:
    return any((output / "mini/runs" / NAME / "state").glob("*.pt"))


@pytest.mark.slow
def test_a_preempted_training_goes_on_bit_by_bit(tmp_path, monkeypatch):
    """With submitit's local executor."""
    submitit = pytest.importorskip("submitit")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    data = write_data("cityscapes", tmp_path / "data")
    assert cli.main(["train", *words_for(data, tmp_path / "whole", *LONG)]) == 0
    executor = submitit.LocalExecutor(tmp_path / "logs")
    executor.update_parameters(timeout_min=30)
    job = training(recipe(NAME), words_for(data, tmp_path / "parts", *LONG), str(tmp_path / "parts"))
    handle = executor.submit(Launch(job, str(ROOT)))
    wait_for(lambda: has_state(tmp_path / "parts"), "no state")
    (task,) = psutil.Process(int(handle.job_id)).children()
    for process in [*task.children(recursive=True), task]:  # a cluster may tell every process
        process.send_signal(signal.SIGUSR2)
    wait_for(lambda: "Requeued job" in (handle.stderr() or "") + (handle.stdout() or ""), "not requeued")
    stopped = handle.stderr() or ""
    handle.result()
    assert "state saved; run it again to continue" in stopped
    whole, parts = weights(tmp_path / "whole")[0], weights(tmp_path / "parts")[0]
    assert whole.keys() == parts.keys() and all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.slow
def test_two_preempted_machines_train_one_model(slurm, tmp_path, capsys):
    """``train --executor slurm --slurm nodes=2``: torchrun in every part, ended by the cluster half-way."""
    data = write_data("cityscapes", tmp_path / "data")
    short = [*LONG, "train.device_batch_size=1"]
    output = tmp_path / "results"
    preempt = threading.Thread(target=preempt_when_it_has_a_state, args=(slurm, output), daemon=True)
    preempt.start()
    words = words_for(data, output, *short)
    assert cli.main(["train", *words, "--executor", "slurm", "--slurm", "nodes=2", "--slurm", "time=30m"]) == 0
    preempt.join(1)
    tensors, metadata = weights(output)
    assert metadata["processes"] == "2" and metadata["iteration"] == "40"
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
    happened = events(slurm)
    assert happened.count("requeued 17") == 1 and happened.count("started 17") == 2
    assert "weights: " in capsys.readouterr().out
    log = [json.loads(line) for line in (output / "mini/runs" / NAME / "log.jsonl").read_text().splitlines()]
    assert log[-1]["iteration"] == 40


def preempt_when_it_has_a_state(states: Path, output: Path) -> None:
    wait_for(lambda: has_state(output), "no state")
    for task in map(psutil.Process, map(int, (states / "17.tasks").read_text().split())):
        for process in [*task.children(recursive=True), task]:
            process.send_signal(signal.SIGUSR2)


@pytest.mark.slow
def test_a_cluster_reproduces_notebooks(slurm, tmp_path, monkeypatch, capsys):
    (tmp_path / "pyproject.toml").write_text('name = "ddp-repro"\n')
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    head = 'preset = "mini"\noutput = "results"\noverwrite = False\nrate = 0.5'
    write = "import pathlib\npathlib.Path(output, preset).mkdir(parents=True, exist_ok=True)\n{}"
    bodies = {"good": 'pathlib.Path(output, preset, "good.md").write_text(f"rate {rate}")', "bad": "1 / 0"}
    for name, body in bodies.items():
        first = nbformat.v4.new_code_cell(head, metadata={"tags": ["parameters"]})
        content = nbformat.v4.new_notebook(cells=[first, nbformat.v4.new_code_cell(write.format(body))])
        content.metadata["ddp_repro"] = {"results": [f"{name}.md"], "datasets": []}
        nbformat.write(content, tmp_path / "notebooks" / f"{name}.ipynb")
    assert cli.main(["reproduce", "--executor", "slurm", "-p", "rate=0.25"]) == 1
    printed = capsys.readouterr()
    assert "good: done" in printed.out + printed.err and "rate 0.25" in printed.out
    assert "FAILED bad: " in printed.out and "ZeroDivisionError" in printed.out
    assert cli.main(["reproduce", "good", "--executor", "slurm", "-p", "rate=0.25"]) == 0
    assert events(slurm).count("submitted 19") == 0  # what is finished is not submitted again
