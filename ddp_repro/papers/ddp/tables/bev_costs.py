"""Records of what the stages of BEV models cost, ``results/bench/bev/<recipe>-<device>.json``, and their table."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pandas as pd
import torch

from ddp_repro.evaluation.measure import number_text
from ddp_repro.papers.ddp.bev.costs import STEPS, BEVCosts, measure_bev_costs
from ddp_repro.papers.ddp.bev.settings import BEVConfig
from ddp_repro.papers.ddp.costs.records import bench_folder
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import Recipe
from ddp_repro.store.atomic import write_atomically
from ddp_repro.workbook.runs import provenance
from ddp_repro.workbook.runs.records import read_dataclass
from ddp_repro.workbook.tables.rendering import NOTHING, Table
from ddp_repro.workbook.tables.table import table_frame

FOLDER = "bev"
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class BEVCostRecord:
    """The costs of one recipe's model on one device."""

    recipe: str
    costs: BEVCosts
    code: provenance.Code
    environment: provenance.Environment

    @property
    def device(self) -> str:
        """The GPU, or the CPU with its number of threads."""
        return self.environment.gpu or f"{self.environment.cpu}, {self.environment.threads} threads"

    @property
    def name(self) -> str:
        """Unique to what was measured, e.g. ``nuscenes_camera-cpu1``."""
        device = self.environment.gpu or f"cpu{self.environment.threads}"
        dtype = "" if self.costs.dtype == "float32" else f"{self.costs.dtype}-"
        return f"{self.recipe}-{dtype}{device.replace(' ', '_')}"


def run_costs(
    recipe: Recipe, repetitions: int, output: str | Path = "results", dtype: str = "float32"
) -> BEVCostRecord:
    """Measure a recipe's model at its own size, and write the record.

    Raises:
        ConfigError: no repetition, or no such dtype.
    """
    if repetitions < 1:
        raise ConfigError(f"repetitions must be at least 1; got {repetitions}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    costs = measure_bev_costs(cast(BEVConfig, recipe.model), device, repetitions, dtype)
    record = BEVCostRecord(
        recipe=recipe.name, costs=costs, code=provenance.code(),
        environment=provenance.environment(device),
    )  # fmt: skip
    text = json.dumps({"schema": SCHEMA} | dataclasses.asdict(record), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(bench_folder(output) / FOLDER / f"{record.name}.json", (text + "\n").encode())
    return record


def find_costs(output: str | Path = "results") -> list[BEVCostRecord]:
    """Every record, by name.

    Raises:
        RecordError: a file is damaged, or of another version.
    """
    return [
        read_dataclass(BEVCostRecord, path, SCHEMA) for path in sorted((bench_folder(output) / FOLDER).glob("*.json"))
    ]


def costs_table(record: BEVCostRecord) -> Table:
    """Parameters, MACs and time of every stage, and of a sample."""
    costs = record.costs
    parameters = sum(stage.parameters for stage in costs.stages)
    cells = [
        (s.name, str(s.passes), f"{s.parameters / 1e6:.2f}", f"{s.macs / 1e9:.2f}", f"{s.median:.3f}",
         number_text(s.floor, 3)) for s in costs.stages
    ]  # fmt: skip
    whole = (f"{costs.macs / 1e9:.1f}", f"{costs.seconds:.2f}", number_text(costs.floor, 2))
    cells.append(("a sample", NOTHING, f"{parameters / 1e6:.2f}", *whole))
    heads = ("Stage", "passes a sample", "parameters (M)", "GMACs a pass", "seconds a pass", "its products alone")
    columns = {("", head): list(column) for head, column in zip(heads, zip(*cells, strict=True), strict=True)}
    kind = {"process": "CPU time of the process", "wall": "wall time"}[costs.clock]
    peaks = ", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in costs.peak_bytes.items())
    notes = (
        f"{record.device}; {kind}, median of {len(costs.stages[0].seconds)}; {costs.dtype}; attention: "
        f"{costs.attention}; initial weights on a made-up sample of full size"
        + (f" with {costs.voxels} voxels." if costs.voxels else "."),
        f"A sample takes {STEPS} steps from each of the model's start noises; its seconds are the stages' sum.",
        f"Peak memory above the idle model and its inputs: {peaks}.",
    )
    origin = {"Recipe": record.recipe, "Code": record.code.commit[:9], "torch": record.environment.packages["torch"]}
    half = "" if costs.dtype == "float32" else costs.dtype
    title = f"What {record.recipe} costs" + (f" in {half}" if half else "")
    name = f"ddp_table3_costs_{record.recipe}" + (f"_{half}" if half else "")
    return Table(name, title, table_frame(columns), pd.DataFrame([origin]), notes)
