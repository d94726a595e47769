"""How many files a reader crosses to follow one prediction, one training iteration, one table.

Counted are files whose functions run, but for the network itself (``networks/``, ``diffusion/``), which is one file an
operator by intent.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ddp_repro
from ddp_repro.cli import main
from ddp_repro.training.step import Step

ROOT = Path(ddp_repro.__file__).parent
NETWORK = ("networks", "diffusion")
QUICK = ["train.iterations=3", "train.batch_size=2", "train.device_batch_size=2"]

pytestmark = pytest.mark.slow


@contextmanager
def crossed() -> Iterator[set[str]]:
    """Collect the package's files whose functions are called meanwhile, without what modules do when imported."""
    files: set[str] = set()

    def note(frame, event, _) -> None:
        code = frame.f_code
        if event == "call" and code.co_name != "<module>" and Path(code.co_filename).is_relative_to(ROOT):
            files.add(Path(code.co_filename).relative_to(ROOT).as_posix())

    sys.setprofile(note)
    try:
        yield files
    finally:
        sys.setprofile(None)


def outside_the_network(files: set[str]) -> list[str]:
    return sorted(name for name in files if name.partition("/")[0] not in NETWORK)


@pytest.fixture
def home(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path


def test_a_prediction(home):
    model = ddp_repro.create_model("ade20k_mini")
    ddp_repro.predict(model, "photo.png")  # registries fill themselves at first use
    with crossed() as files:
        ddp_repro.predict(model, "photo.png")
    assert "papers/ddp/model.py" in files
    assert len(outside_the_network(files)) <= 20, outside_the_network(files)


def test_a_training_iteration(home, monkeypatch):
    step, counting = Step.__call__, ExitStack()
    files: set[str] = set()

    def counted(self, iteration, *rest):
        nonlocal files
        if iteration == 1:  # from the second step to the third: loading, logging and averaging too
            files = counting.enter_context(crossed())
        if iteration == 2:
            counting.close()
        return step(self, iteration, *rest)

    monkeypatch.setattr(Step, "__call__", counted)
    with counting:
        assert main(["train", "ade20k_mini", *QUICK]) == 0
    assert {"training/trainer.py", "training/step.py", "papers/ddp/segmentation.py"} <= files
    assert len(outside_the_network(files)) <= 20, outside_the_network(files)


def test_a_table(home, capsys):
    assert main(["table", "ddp_table1", "--preset", "mini"]) == 0
    with crossed() as files:
        assert main(["table", "ddp_table1", "--preset", "mini"]) == 0
    assert "Table 1" in capsys.readouterr().out
    assert len(files) <= 50, sorted(files)
