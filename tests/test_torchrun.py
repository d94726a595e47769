"""What README shows with torchrun, through the command line with two real processes, compared with one process."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from accelerate import PartialState
from safetensors.torch import load_file

from data_prep.mini import write_mini
from ddp_repro import cli
from ddp_repro.evaluation.processes import rank_and_world
from ddp_repro.interop.weight_files import read_state_dict
from ddp_repro.settings.errors import ConfigError
from ddp_repro.training.log import read_log
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.runs.companion import read_image_statistics, scores_of
from ddp_repro.workbook.runs.records import load_record
from tests.test_readme import save_untrained
from tests.workbook.tiny import OVERRIDES, write_data

# None is marked as `numerics`: starting so many processes takes too long to repeat for every emulated processor, where
# tests/training/test_processes.py compares one process with two.
CLONE = Path(__file__).parents[1]
TWO_EACH = ["train.batch_size=4", "train.device_batch_size=1", "train.log_every=1", "train.checkpoint_every=1"]
ONE_VIEW = ["evaluation.batch_size=1"]  # an image is computed alike in whichever batch: then counts agree exactly
DEPTH = [
    "train.iterations=2", "train.warmup_iterations=1", "data.crop_size=64,96", "evaluation.steps=1,3",
    "evaluation.seeds=0", "evaluation.flip=false", "model.layers=1", "model.channels=32",
    "model.feedforward_channels=32",
]  # fmt: skip
BEV = [
    "train.iterations=2", "evaluation.steps=1", "evaluation.seeds=0", "model.layers=1", "model.channels=32",
    "model.feedforward_channels=32", "model.map_cell=2.0", "data.map_cell=2.0",
]  # fmt: skip
# A step is at most the learning rate per weight, and rounding can turn it round where a gradient is all rounding; a
# process that trained alone, or on its share only, has other losses in the second digit.
RATE, LOSS = 1e-5, 1e-3


@dataclass
class Run:
    """One command line's results."""

    folder: Path

    def weights(self):
        return load_file(self.folder / "model.safetensors")

    def processes(self) -> tuple[str, int]:
        """Return what weights and training.json say."""
        _, metadata = read_state_dict(self.folder / "model.safetensors")
        return metadata["processes"], json.loads((self.folder / "training.json").read_text())["processes"]


def ddp_repro(output: Path, *words: str, processes: int) -> Run:
    """Run ``ddp-repro``: in this process, or under torchrun."""
    words = (*words, "--output", str(output))
    if processes == 1:
        assert cli.main(words) == 0
    else:
        done = torchrun(["-m", "ddp_repro", *words], processes)
        assert done.returncode == 0, done.stderr
    return Run(output / "mini" / "runs" / words[1])


def torchrun(program: list[str], processes: int) -> subprocess.CompletedProcess[str]:
    """Run a program in several processes, which find each other on this machine whatever its name resolves to."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": str(CLONE)}
    command = [sys.executable, *launch, *program]
    return subprocess.run(command, cwd=CLONE, env=environment, capture_output=True, text=True, timeout=300)


def assert_same_training(one: Run, two: Run, iterations: int = 2) -> None:
    """Both trained every iteration once, on all images, to the same weights."""
    logs = [read_log(run.folder / "log.jsonl") for run in (one, two)]
    assert [[entry["iteration"] for entry in log] for log in logs] == [list(range(1, iterations + 1))] * 2
    for first, second in zip(*logs, strict=True):
        assert second["loss"] == pytest.approx(first["loss"], rel=LOSS)
    ours, theirs = one.weights(), two.weights()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        if tensor.is_floating_point():
            scale = 1e-4 * tensor.abs().max()  # of running statistics
            assert (tensor - theirs[name]).abs().max() <= 2.1 * RATE * iterations + scale, name
        else:
            assert tensor.equal(theirs[name]), name


def train(output: Path, recipe: str, settings: list[str], processes: int) -> Run:
    words = [*settings, *TWO_EACH, f"train.learning_rate={RATE}"]
    run = ddp_repro(output, "train", recipe, *words, processes=processes)
    assert run.processes() == (str(processes), processes)
    assert not list((run.folder / "state").glob("*")) and not list(run.folder.glob(".*tmp"))
    return run


def compared_evaluations(run: Run, recipe: str, settings: list[str]) -> list[list[dict]]:
    """Scores of one set of weights, by one process and by two; both records name the processes that trained."""
    made = []
    for processes in (1, 2):
        words = [*settings, *TWO_EACH, *ONE_VIEW, f"train.learning_rate={RATE}"]
        ddp_repro(run.folder.parents[2], "evaluate", recipe, *words, processes=processes)
        record = load_record(run.folder / "record.json")
        assert record.training.processes == int(run.processes()[0])
        scores = [dataclasses.asdict(score) for score in record.scores]
        assert scores_of(record.settings(), read_image_statistics(record, run.folder.parents[2])) == record.scores
        made.append(scores)
        (run.folder / "record.json").unlink()
    return made


@pytest.mark.slow
def test_two_processes_train_and_evaluate_as_one(tmp_path):
    settings = [*OVERRIDES, f"data.root={write_data('ade20k', tmp_path / 'data')}"]
    one, two = (train(tmp_path / str(count), "ade20k_mini", settings, count) for count in (1, 2))
    assert_same_training(one, two)
    alone, together = compared_evaluations(two, "ade20k_mini", settings)
    assert alone == together


KILLED = """
import os, signal, sys
from ddp_repro import cli
from ddp_repro.evaluation.per_image.journal import Journal
write = Journal.write
def write_and_die(self, index, rows):
    write(self, index, rows)
    os.kill(os.getpid(), signal.SIGKILL)
Journal.write = write_and_die
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_an_evaluation_killed_in_two_processes_goes_on_in_one(tmp_path):
    settings = [*OVERRIDES, *TWO_EACH, *ONE_VIEW, f"data.root={write_data('ade20k', tmp_path / 'data')}"]
    run = ddp_repro(tmp_path / "out", "train", "ade20k_mini", *settings, processes=1)
    ddp_repro(tmp_path / "out", "evaluate", "ade20k_mini", *settings, processes=1)
    record = load_record(run.folder / "record.json")
    (run.folder / "record.json").unlink()
    program = tmp_path / "killed.py"
    program.write_text(KILLED)
    words = ["evaluate", "ade20k_mini", *settings, "--output", str(tmp_path / "out")]
    assert torchrun([str(program), *words], 2).returncode != 0
    journals = sorted((run.folder / "evaluation").glob("journal-*.jsonl"))
    done = [json.loads(line)["image"] for path in journals for line in path.read_text().splitlines()[1:]]
    assert 1 <= len(done) <= 2  # each died after its first, or was ended with the other
    ddp_repro(tmp_path / "out", "evaluate", "ade20k_mini", *settings, processes=1)
    again = load_record(run.folder / "record.json")
    assert (again.scores, again.images_sha256) == (record.scores, record.images_sha256)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [(2, 1), (1, 2)])
def test_going_on_with_another_number_of_processes(tmp_path, first, then):
    settings = [*OVERRIDES, f"data.root={write_data('ade20k', tmp_path / 'data')}", "train.iterations=3"]
    whole = train(tmp_path / "whole", "ade20k_mini", settings, 1)
    words = [*settings, *TWO_EACH, f"train.learning_rate={RATE}"]
    stop_after_one_iteration(tmp_path / "parts", words, first)
    parts = ddp_repro(tmp_path / "parts", "train", "ade20k_mini", *words, processes=then)
    assert parts.processes() == (str(then), then)
    assert_same_training(whole, parts, iterations=3)


STOPPING = """
import sys
from ddp_repro import cli
from ddp_repro.evaluation.processes import rank_and_world
from ddp_repro.training import trainer
save = trainer._Run._save_if_due
trainer._Run._save_if_due = lambda run, stopping: save(run, True)  # as if a signal had come
sys.exit(cli.main(sys.argv[1:]))
"""


def stop_after_one_iteration(output: Path, words: list[str], processes: int) -> None:
    """Train until the state of the first iteration is saved."""
    program = output.with_suffix(".py")
    program.write_text(STOPPING)
    done = torchrun([str(program), "train", "ade20k_mini", *words, "--output", str(output)], processes)
    assert done.returncode != 0 and "stopped at iteration 1" in done.stderr
    states = output / "mini" / "runs" / "ade20k_mini" / "state"
    assert [path.name for path in states.iterdir()] == ["iteration-000000001.pt"]


@pytest.mark.slow
def test_self_aligned_stage(tmp_path):
    settings = [*OVERRIDES, f"data.root={write_data('ade20k', tmp_path / 'data')}"]
    plain = train(tmp_path / "1", "ade20k_mini", settings, 1)
    start = f"train.initialize_from={plain.folder / 'model.safetensors'}"
    stage = [*settings, "train.self_aligned=same_noise", start]
    one, two = (train(tmp_path / f"aligned{count}", "ade20k_mini", stage, count) for count in (1, 2))
    assert_same_training(one, two)


@pytest.mark.slow
def test_depth(tmp_path):
    write_mini("nyu", tmp_path / "data", train=4, val=3, size=(96, 128))
    settings = [*DEPTH, f"data.root={tmp_path / 'data'}"]
    one, two = (train(tmp_path / str(count), "nyu_mini", settings, count) for count in (1, 2))
    assert_same_training(one, two)
    alone, together = compared_evaluations(two, "nyu_mini", settings)
    for first, second in zip(alone, together, strict=True):
        assert {name for name, value in first.items() if value is None} == {
            name for name, value in second.items() if value is None
        }  # undefined in both
        assert defined(second) == pytest.approx(defined(first), rel=1e-9)


def defined(scores: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in scores.items() if value is not None}


@pytest.mark.slow
def test_bev(tmp_path):
    write_mini("nuscenes", tmp_path / "data", train=8, val=8)
    settings = [*BEV, f"data.root={tmp_path / 'data'}"]
    one, two = (train(tmp_path / str(count), "nuscenes_mini_camera", settings, count) for count in (1, 2))
    assert_same_training(one, two)
    alone, together = compared_evaluations(two, "nuscenes_mini_camera", settings)
    assert alone == together


@pytest.mark.slow
def test_a_mask_prior(tmp_path):
    segmentor = tmp_path / "segmentor.safetensors"
    save_untrained(recipe("cityscapes_mini_baseline"), segmentor)
    data = write_data("cityscapes", tmp_path / "data")
    settings = [
        f"data.root={data}", f"train.weights=segmentor.model={segmentor}", "train.iterations=2", "model.dim=8",
        "train.warmup_iterations=1", "data.crop_size=32,64", "data.image_scale=64,32",
    ]  # fmt: skip
    one, two = (train(tmp_path / str(count), "ddps_cityscapes_mini_single", settings, count) for count in (1, 2))
    assert_same_training(one, two)
    alone, together = compared_evaluations(two, "ddps_cityscapes_mini_single", settings)
    assert alone == together


@pytest.mark.slow
def test_a_latent_diffusion_model(tmp_path):
    pytest.importorskip("diffusers")
    write_mini("nyu", tmp_path / "data", train=4, val=3, size=(64, 96))
    settings = [
        f"data.root={tmp_path / 'data'}",
        "train.weights=none",
        "train.iterations=2",
        "train.warmup_iterations=1",
    ]
    one, two = (train(tmp_path / str(count), "genpercept_depth_mini", settings, count) for count in (1, 2))
    assert_same_training(one, two)
    alone, together = compared_evaluations(two, "genpercept_depth_mini", settings)
    for first, second in zip(alone, together, strict=True):
        assert defined(second) == pytest.approx(defined(first), rel=1e-4)


# torchrun's and accelerate's, then MPI's; all set in every test, so that what accelerate sets is undone after it.
VARIABLES = (
    "WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
)  # fmt: skip
TRAIN = ["train", "ade20k_mini", "train.iterations=1", "train.warmup_iterations=0"]


@pytest.fixture
def launched(monkeypatch):
    """Set what a launcher would, and nothing else of it: a function of the variables."""

    def set_variables(**given: str) -> None:
        for name in VARIABLES:
            monkeypatch.setenv(name, given.get(name, ""))

    return set_variables


@pytest.fixture
def refused(tmp_path, monkeypatch, capfd):
    """Run a command that writes nothing and ends with one line: a function that returns it."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        assert cli.main([*words, "--output", str(tmp_path / "results")]) == 2
        assert not list(tmp_path.iterdir())
        return capfd.readouterr().err.splitlines()[-1]

    return run


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"WORLD_SIZE": "2"}, "RANK and MASTER_ADDR"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "MASTER_ADDR"),
        ({"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}, "RANK"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "RANK and MASTER_ADDR"),
        ({"PMI_SIZE": "2"}, "RANK and MASTER_ADDR"),
    ],
)
def test_a_process_that_cannot_find_its_companions_refuses(given, missing, launched, refused, tmp_path):
    launched(**given)
    line = refused(*TRAIN, f"data.root={tmp_path / 'data'}")
    assert f"announces 2 processes, which cannot find each other without {missing}:" in line
    assert f"unset {next(iter(given))}" in line


def test_a_process_whose_companions_do_not_come_refuses(launched, refused, tmp_path, monkeypatch):
    """The place where they would meet is another program's."""
    monkeypatch.setattr(PartialState, "_shared_state", {})  # as in a process that has trained nothing yet
    with socket.create_server(("127.0.0.1", 0)) as other:
        launched(WORLD_SIZE="2", RANK="0", LOCAL_RANK="0", LOCAL_WORLD_SIZE="2", MASTER_ADDR="127.0.0.1",
                 MASTER_PORT=str(other.getsockname()[1]))  # fmt: skip
        for _ in range(2):  # nor may a second try take itself for a run of one process
            line = refused(*TRAIN, f"data.root={tmp_path / 'data'}")
            assert "the 2 processes that the environment announces did not meet: " in line


def test_a_process_with_fewer_companions_than_announced_refuses(launched, monkeypatch):
    """As a launcher that accelerate does not know on this device, which then takes the process to be alone."""
    launched(WORLD_SIZE="2", RANK="0", MASTER_ADDR="127.0.0.1")
    monkeypatch.setattr("accelerate.PartialState", lambda **options: None)
    with pytest.raises(ConfigError, match="announces 2 processes, but this run has 1: .*unset WORLD_SIZE"):
        rank_and_world()


@pytest.mark.parametrize("words", [["reproduce"], ["render"], ["data", "mini", "ade20k"]])
@pytest.mark.parametrize("name", ["WORLD_SIZE", "OMPI_COMM_WORLD_SIZE"])
def test_work_that_processes_cannot_share_is_refused(words, name, launched, refused):
    launched(**{name: "2"})
    assert f"{words[0]} runs in one process: start it without torchrun or mpirun ({name} is set)" in refused(*words)


def test_a_number_of_processes_that_is_none_is_refused(launched, refused):
    launched(WORLD_SIZE="two")
    assert "WORLD_SIZE must be the number of processes; got 'two'" in refused("render")
