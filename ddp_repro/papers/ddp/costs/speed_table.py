"""README's tables of speed: stages beside floors and the published formulation, batches and threads, a training."""

from __future__ import annotations

from ddp_repro.papers.ddp.costs.records import BenchRecord
from ddp_repro.papers.ddp.costs.training_step import FORWARD, LOADING, OPTIMIZER, TRAINING

ROWS = {
    "encoder": "encoder", "neck": "neck", "step": "one step", "upsampling": "labels from logits",
    "3 steps": "image to labels, 3 steps", "training": "training step",
}  # fmt: skip
HEADING = "| | float32 | its floor | as published | ratio | bf16 | its floor | ratio |"


def speed_lines(usual: BenchRecord, narrow: BenchRecord) -> list[str]:
    """Return a Markdown table of two records of one machine.

    Ratios are of the published formulation's float32 to ours, taken within one record.

    Args:
        usual: in float32; narrow: in bf16.
    """
    lines = [HEADING, "| --- " * HEADING.count("|", 1) + "|"]
    for name, words in ROWS.items():
        (ours, floor, published, ratio), (half, half_floor, _, half_ratio) = (_cells(r, name) for r in (usual, narrow))
        lines.append(f"| {' | '.join([words, ours, floor, published, ratio, half, half_floor, half_ratio])} |")
    for name, words in (("3 steps", "peak memory, 3 steps"), ("training", "peak memory, training")):
        sizes = [record.peak_bytes[name] / 2**20 for record in (usual, narrow)]
        published = usual.peak_bytes[f"{name}, published"] / 2**20
        cells = [f"{sizes[0]:.0f} MiB", "", f"{published:.0f} MiB", f"{published / sizes[0]:.2f}"]
        lines.append(f"| {' | '.join([words, *cells, f'{sizes[1]:.0f} MiB', '', f'{published / sizes[1]:.2f}'])} |")
    return lines


def growth_sentence(records: list[BenchRecord]) -> str:
    """Return by how much time grows from 512² to 1024×2048, eight times the pixels."""
    by_size = {record.setting.size: record.measurement for record in records}
    small, large = by_size[512, 512], by_size[1024, 2048]
    times = {name: large[name].median / small[name].median for name in ("step", "encoder", "neck")}
    return "a step {step:.1f}, the encoder {encoder:.1f}, the neck {neck:.1f} times as long".format(**times)


def batch_lines(records: list[BenchRecord]) -> list[str]:
    """Return a Markdown table of images a second, in three steps, over batch and threads; of one size and machine."""
    rates = {}
    for record in records:
        key = record.setting.batch, record.setting.dtype, record.environment.threads
        rates[key] = record.setting.batch / record.measurement["3 steps"].median
    columns = sorted({key[1:] for key in rates}, key=lambda column: (column[0] != "float32", column))
    names = [f"{dtype}, {threads} thread{'s' if threads > 1 else ''}" for dtype, threads in columns]
    lines = [f"| images at once | {' | '.join(names)} |", "| --- " * (len(names) + 1) + "|"]
    for batch in sorted({key[0] for key in rates}):
        cells = [f"{rates[batch, *column]:.2f}" if (batch, *column) in rates else "" for column in columns]
        lines.append(f"| {' | '.join([str(batch), *cells])} |")
    return lines


def _cells(record: BenchRecord, name: str) -> tuple[str, str, str, str]:
    found = record.measurement

    def seconds(timing: str) -> str:
        return f"{found[timing].median:.2f} s" if found.has(timing) else ""

    published = f"{name}, published"
    ratio = f"{found.ratio([published], [name]):.2f}" if found.has(published) else ""
    return seconds(name), seconds(f"{name} floor"), seconds(published), ratio


def training_lines(record: BenchRecord) -> list[str]:
    """Return a Markdown table of what an iteration of training consists of, whose loading was timed, too."""
    found = record.measurement
    both, forward = (found[name].median for name in (TRAINING, FORWARD))
    floors = [found[f"{name} floor"].median for name in (TRAINING, FORWARD)]
    parts = {
        "reading and augmenting the images": (found[LOADING].median, None),
        "forwards": (forward, floors[1]),
        "backwards": (both - forward, floors[0] - floors[1]),
        "the optimiser": (found[OPTIMIZER].median, None),
    }
    whole = sum(seconds for seconds, _ in parts.values())
    lines = ["| an iteration | time | share | its floor |", "| --- | --- | --- | --- |"]
    for words, (seconds, floor) in parts.items():
        least = f"{1000 * floor:.0f} ms" if floor else ""
        lines.append(f"| {words} | {1000 * seconds:.0f} ms | {100 * seconds / whole:.0f} % | {least} |")
    return lines
