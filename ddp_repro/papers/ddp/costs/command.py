"""What ``ddp-repro bench`` does for DDP's recipes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ddp_repro.costs.size import parse_size
from ddp_repro.papers.ddp.costs.bench import Setting
from ddp_repro.papers.ddp.costs.records import report, run_bench
from ddp_repro.papers.ddp.figures.speed import draw_benches
from ddp_repro.papers.ddp.tables.bev_costs import costs_table, run_costs
from ddp_repro.settings.overrides import override
from ddp_repro.settings.recipe import Recipe
from ddp_repro.workbook.tables.rendering import to_markdown


def bench_pictures(recipe: Recipe, options: dict[str, Any], device: str, output: str) -> Iterator[str]:
    """Time a model of one picture at every size; yields the reports, then the figures' paths.

    Fast paths have no published counterpart.
    """
    fast = options["compile"] != "off" or options["channels_last"] or options["checkpointing"]
    steps = override(recipe, {"evaluation.steps": options["steps"]}).evaluation.steps
    for size in options["size"].split(","):
        setting = Setting(
            size=parse_size(size), steps=steps, batch=options["batch"], dtype=options["dtype"],
            backend=options["backend"], device=device, repetitions=options["repetitions"],
            published=not (options["stages_only"] or fast), training=not options["stages_only"],
            compile=options["compile"], channels_last=options["channels_last"], checkpointing=options["checkpointing"],
        )  # fmt: skip
        record = run_bench(recipe, setting, output)
        yield report(record)
    for path in draw_benches(record, output):
        yield f"wrote {path}"


def bench_bev(recipe: Recipe, options: dict[str, Any], output: str) -> Iterator[str]:
    """Count and time the stages of a BEV model."""
    yield to_markdown(costs_table(run_costs(recipe, options["repetitions"], output, options["dtype"])))
