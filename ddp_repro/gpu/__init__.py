"""The command ``gpu``: everything that a GPU is wanted for, in parts that are resumed; quick checks first."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ddp_repro.settings.errors import ConfigError
from ddp_repro.store.paths import repository_root, resolve
from ddp_repro.terminal import say, short, usual_device

DRY_RUN = ".gpu_dry_run"  # hidden, so that git leaves it out


def gpu(budget: str, dry_run: bool, again: bool, output: str) -> int:
    """Do the parts that are not finished yet while they fit into the time, and print the summary.

    Returns:
        1 where a part failed or took too long.

    Raises:
        ConfigError: there is no GPU, and no dry run was asked for.
    """
    from ddp_repro.settings.durations import parse_duration

    seconds = parse_duration(budget)
    from ddp_repro.gpu import parts
    from ddp_repro.gpu.runner import Runner
    from ddp_repro.gpu.summary import Summary
    from ddp_repro.workbook.notebooks.interruption import interruptible
    from ddp_repro.workbook.runs import provenance  # heavy: after the quick checks

    if usual_device() != "cuda" and not dry_run:
        raise ConfigError("there is no GPU that PyTorch can use here; --dry-run tries every part on the CPU, made tiny")
    results = str(Path(output) / DRY_RUN) if dry_run else output
    root = resolve(results)
    if dry_run:
        shutil.rmtree(root, ignore_errors=True)
    device = "cpu" if dry_run else "cuda"
    environment = dict(os.environ) | ({"CUDA_VISIBLE_DEVICES": ""} if dry_run else {})
    summary = Summary.read(root / "gpu", provenance.environment(device), again=again)
    runner = Runner(summary, root, repository_root(), environment, seconds)
    with interruptible():
        for part in parts.dry_parts(results) if dry_run else parts.gpu_parts(results):
            say(runner.run(part))
    say("\n" + summary.to_markdown())
    say(f"written: {', '.join(short(path) for path in summary.paths)}; logs of the parts: {short(runner.logs)}")
    return int(summary.failed)
