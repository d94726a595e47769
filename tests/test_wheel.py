"""An installed wheel outside any clone: all commands but those that need the notebooks work."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
TINY = [
    "train.iterations=2", "train.batch_size=2", "train.device_batch_size=2", "train.warmup_iterations=1",
    "data.crop_size=32,64", "evaluation.steps=1", "evaluation.seeds=0", "evaluation.limit=2", "model.layers=1",
]  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with the wheel's content in ``site`` and an empty working directory ``work``."""
    folder = tmp_path_factory.mktemp("wheel")
    (wheel,) = build_wheel(folder)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    (folder / "work").mkdir()
    return folder


def build_wheel(folder: Path) -> list[Path]:
    """Build from a copy of what is packaged: building leaves nothing in the clone."""
    source = folder / "source"
    for name in ("ddp_repro", "data_prep"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    environment_of_make = (ROOT / ".venv").resolve().parent / ".uv" / "bin" / "uv"
    uv = shutil.which("uv") or (str(environment_of_make) if environment_of_make.is_file() else None)
    builder = [uv, "build", "--wheel", "--python", sys.executable, "--out-dir", str(folder), str(source)]
    if uv is None:
        builder = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(folder), str(source)]
    run = subprocess.run(builder, capture_output=True, text=True, check=False)
    if run.returncode and ("No module named pip" in run.stderr or "onnect" in run.stderr or "fetch" in run.stderr):
        pytest.skip("no builder of wheels here: neither uv nor pip, or no hatchling to be had")
    assert run.returncode == 0, run.stderr
    return list(folder.glob("*.whl"))


def command(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command, in an interpreter that does not know the clone."""
    script = "import sys; from ddp_repro.cli import main; sys.exit(main())"
    environment = os.environ | {"PYTHONPATH": str(place / "site"), "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, "-c", script, *words], cwd=place / "work", env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def output_of(place: Path, *words: str) -> str:
    run = command(place, *words)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_it_is_the_installed_package_that_runs(place):
    script = "import ddp_repro, data_prep; print(ddp_repro.__file__, data_prep.__file__)"
    environment = os.environ | {"PYTHONPATH": str(place / "site"), "PYTHONSAFEPATH": "1"}
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=place / "work", env=environment, capture_output=True, text=True, check=True
    )
    assert all(str(place / "site") in path for path in run.stdout.split())


def test_the_printed_numbers_come_with_it(place):
    names = {path.name for path in (place / "site" / "ddp_repro" / "papers" / "ddp" / "printed").iterdir()}
    assert {f"table{n}.json" for n in range(1, 8)} | {"figure3.json"} <= names


def test_list_and_doctor(place):
    listed = output_of(place, "list")
    assert "ade20k_mini" in listed and "the notebooks come with the repository" in listed
    assert json.loads(output_of(place, "doctor", "--json"))["findings"]


def test_table(place):
    assert "47.0" in output_of(place, "table", "ddp_table5a", "--preset", "paper")
    assert "44.9 → 47.0" in output_of(place, "table", "claims", "--preset", "mini")
    assert (place / "work" / "results" / "paper" / "tables" / "ddp_table5a.md").is_file()


def test_train_evaluate_and_predict(place):
    output_of(place, "train", "ade20k_mini", *TINY)
    weights = place / "work" / "results" / "mini" / "runs" / "ade20k_mini" / "model.safetensors"
    assert weights.is_file()
    assert "verdict: trend only" in output_of(place, "evaluate", "ade20k_mini", *TINY)
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(place / "work" / "photo.jpg")
    output_of(place, "predict", "photo.jpg", "--recipe", "ade20k_mini", "--steps", "1", "--output", "maps")
    assert list((place / "work" / "maps").glob("photo*.png"))


def test_bench_and_render(place):
    output_of(place, "bench", "ade20k_mini", "--size", "64", "--steps", "1", "--repetitions", "3", "--stages")
    assert list((place / "work" / "results" / "bench").glob("*.json"))
    output_of(place, "render", "--preset", "mini")
    assert (place / "work" / "results" / "mini" / "index.html").is_file()


def test_notebooks_need_the_clone(place):
    run = command(place, "reproduce", "--preset", "mini")
    assert run.returncode == 2
    assert "the notebooks come with the repository" in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1
