"""Records of the benchmark: ``results/bench/<name>.json``, one per setting, and what they say about the targets."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ddp_repro.papers.ddp.costs.bench import Measurement, Setting, measure
from ddp_repro.papers.ddp.costs.memory import peak_memory
from ddp_repro.papers.ddp.costs.training_step import LOADING, loading
from ddp_repro.papers.ddp.settings import picture_settings
from ddp_repro.settings.recipe import Recipe
from ddp_repro.store.atomic import write_atomically
from ddp_repro.store.paths import resolve
from ddp_repro.workbook.runs import provenance
from ddp_repro.workbook.runs.records import read_dataclass

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class BenchRecord:
    """One finished benchmark.

    Attributes:
        recipe: name of the recipe whose model was timed, with initial weights.
        peak_bytes: above the idle model, by the timings' names.
    """

    recipe: str
    setting: Setting
    measurement: Measurement
    peak_bytes: dict[str, int]
    code: provenance.Code
    environment: provenance.Environment
    wall_seconds: float

    @property
    def name(self) -> str:
        """Unique to what was measured, e.g. ``ade20k_swin_t-512x512-b1-float32-native-cpu1``."""
        height, width = self.setting.size
        device = (self.environment.gpu or f"cpu{self.environment.threads}").replace(" ", "_")
        parts = (f"{height}x{width}", f"b{self.setting.batch}", self.setting.dtype, self.measurement.attention, device)
        return "-".join([self.recipe, *parts, *self.setting.switches])

    @property
    def conditions(self) -> str:
        """What the numbers hold for, in a line."""
        setting, environment, (height, width) = self.setting, self.environment, self.setting.size
        where = environment.gpu or f"{environment.cpu}, {environment.threads} threads"
        return (
            f"{', '.join([self.recipe, *setting.switches])}, {height}×{width}, batch {setting.batch}, {setting.dtype}, "
            f"attention {self.measurement.attention}, {where}, torch {environment.packages['torch']}, "
            f"{self.measurement.clock} time, median of {setting.repetitions}"
        )


@dataclass(frozen=True, kw_only=True)
class Target:
    """A demand on the benchmark and what was measured.

    Attributes:
        bound: what the measured number is compared with; at_least: which side of it is met.
    """

    text: str
    measured: float
    bound: float
    at_least: bool

    @property
    def met(self) -> bool:
        """Whether the measured number is on the right side."""
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound


def run_bench(recipe: Recipe, setting: Setting, output: str | Path = "results", progress: bool = True) -> BenchRecord:
    """Measure, and write the record."""
    started = time.perf_counter()
    config = picture_settings(recipe)
    load = loading(recipe, setting.size, setting.batch) if setting.training else None
    measurement, peaks = measure(config, setting, progress, load), peak_memory(config, setting)
    record = BenchRecord(
        recipe=recipe.name, setting=setting, measurement=measurement, peak_bytes=peaks,
        code=provenance.code(), environment=provenance.environment(setting.device),
        wall_seconds=round(time.perf_counter() - started, 1),
    )  # fmt: skip
    text = json.dumps({"schema": SCHEMA} | dataclasses.asdict(record), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(bench_folder(output) / f"{record.name}.json", (text + "\n").encode())
    return record


def bench_folder(output: str | Path = "results") -> Path:
    """Where the records are."""
    return resolve(output) / "bench"


def find_benches(output: str | Path = "results") -> list[BenchRecord]:
    """Every record, by name.

    Raises:
        RecordError: a file is damaged, or of another version.
    """
    return [read_dataclass(BenchRecord, path, SCHEMA) for path in sorted(bench_folder(output).glob("*.json"))]


def targets(record: BenchRecord) -> list[Target]:
    """Return the demands that this record can answer, for the device that it is of."""
    found, whole = record.measurement, f"{max(record.setting.steps)} steps"
    demands = []  # (text, numerators, denominators, bound, at least)
    if record.environment.gpu is None:
        demands.append(("decoder step / its matrix products", ["step"], ["step floor"], 1.25, False))
    elif record.setting.dtype == "bf16":
        demands.append(("decoder step / encoder", ["step"], ["encoder"], 0.25, False))
    bars = (1.8, 1.9, 1.4) if record.setting.dtype == "float32" else (3.0, 3.3, 2.2)
    if record.setting.published:
        demands.append((f"published / ours, {whole}", [f"{whole}, published"], [whole], bars[0], True))
        demands.append(("published / ours, one more step", ["step, published"], ["step"], bars[1], True))
    if record.setting.published and record.setting.training:
        demands.append(("published / ours, training step", ["training, published"], ["training"], bars[2], True))
    rows = [
        Target(text=text, measured=found.ratio(above, below), bound=bound, at_least=at_least)
        for text, above, below, bound, at_least in demands
    ]
    for name in [n for n in record.peak_bytes if f"{n}, published" in record.peak_bytes]:
        share = record.peak_bytes[name] / record.peak_bytes[f"{name}, published"]
        rows.append(Target(text=f"peak memory, ours / published, {name}", measured=share, bound=1.0, at_least=False))
    return rows


def report(record: BenchRecord) -> str:
    """Return the record as Markdown: stages and their floors, whole images, targets."""
    found, lines = record.measurement, [f"### {record.conditions}", ""]
    lines += ["| | ms | quartiles | floor (ms) | × floor |", "| --- | --- | --- | --- | --- |"]
    for timing in (t for t in found.timings if not t.name.endswith(" floor")):
        low, high = (f"{1000 * q:.1f}" for q in timing.quartiles)
        floor = f"{timing.name} floor" if found.has(f"{timing.name} floor") else None
        cells = (
            [f"{1000 * found[floor].median:.1f}", f"{found.ratio([timing.name], [floor]):.2f}"] if floor else ["", ""]
        )
        lines.append(f"| {timing.name} | {1000 * timing.median:.1f} | {low}–{high} | {cells[0]} | {cells[1]} |")
    lines += ["", "| target | measured | demanded | |", "| --- | --- | --- | --- |"]
    for row in targets(record):
        demanded = f"{'≥' if row.at_least else '≤'} {row.bound:g}"
        lines.append(f"| {row.text} | {row.measured:.2f} | {demanded} | {'met' if row.met else 'not met'} |")
    peaks = ", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in record.peak_bytes.items())
    if record.setting.training and not found.has(LOADING):
        lines += ["", "Loading was not timed: the recipe's training images are not here, or cropped to another size."]
    return "\n".join([*lines, "", f"Peak memory above the idle model: {peaks}."]) + "\n"


def growth(records: Sequence[BenchRecord], like: BenchRecord) -> list[BenchRecord]:
    """Return the records that differ from ``like`` in the image size alone, by pixels."""

    def kind(record: BenchRecord) -> tuple[object, ...]:
        environment = record.environment
        device = (environment.cpu, environment.gpu, environment.threads, record.measurement.attention)
        setting = record.setting
        return record.recipe, setting.batch, setting.dtype, setting.switches, *device

    same = [record for record in records if kind(record) == kind(like)]
    return sorted(same, key=lambda record: record.setting.size[0] * record.setting.size[1])
