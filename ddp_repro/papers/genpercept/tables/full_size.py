"""Time, memory and precision at full size, from the records that ``ddp-repro bench`` leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ddp_repro.papers.genpercept.costs.full_size import FLOOR, SMALL
from ddp_repro.papers.genpercept.costs.records import FullSizeRecord, find_full_size
from ddp_repro.workbook.tables.rendering import NOT_RUN, Table
from ddp_repro.workbook.tables.table import provenance_frame, table_frame

GB = 1e9
TITLE = "GenPercept: one prediction and one training step at full size, random weights"
COMMAND = "ddp-repro bench genpercept_depth --size 480x640 --threads 1 --checkpointing"


def full_size_table(output: str | Path = "results") -> Table:
    """Return what was measured at full size, a column for each record; a line that says how, where there is none.

    Raises:
        RecordError: a record is damaged.
    """
    return table_of(find_full_size(output))


def table_of(records: Sequence[FullSizeRecord]) -> Table:
    """Return the table of these records."""
    if not records:
        columns = {("", "Quantity"): ["time and memory"], ("measured", "full size"): [NOT_RUN]}
        note = f"`{COMMAND}` measures it: minutes to an hour on a CPU, up to 14 GB of memory."
        return Table("genpercept_full_size", TITLE, table_frame(columns), provenance_frame([]), (note,))
    rows = [_cells(record) for record in records]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {("", "Quantity"): names}
    for record, row in zip(records, rows, strict=True):
        columns["measured", record.conditions] = [row.get(name, NOT_RUN) for name in names]
    notes = (
        "Floor: the matrix products and convolutions alone, on memory that is already there.",
        "Memory is the peak of a whole process, weights, interpreter and libraries in it; training is of one image, "
        "forwards and backwards, without the optimiser, whose two moments come on top.",
        f"Lower precisions: largest and mean difference from float32, in percent of the map's range, of small networks "
        f"of random weights at {SMALL[0]}x{SMALL[1]} pixels.",
    )
    return Table("genpercept_full_size", TITLE, table_frame(columns), provenance_frame([]), notes)


def sentence(record: FullSizeRecord) -> str:
    """Return what a record says, in a sentence for README."""
    result, (height, width) = record.measurement, record.setting.size
    unet, floor = (result.median(f"one U-Net pass{end}") for end in ("", FLOOR))
    training = (
        f", a training step of one image {'with' if record.setting.checkpointing else 'without'} checkpointing "
        f"{result.peak_bytes['training'] / GB:.1f} GB"
        if "training" in result.peak_bytes
        else ""
    )
    return (
        f"One {height}×{width} image through Stable Diffusion 2.1's shapes ({record.setting.dtype}, "
        f"{record.environment.gpu or record.environment.cpu}, {record.environment.threads} thread): the U-Net takes "
        f"{unet:.1f} s, {unet / floor:.2f} times its products and convolutions, the whole {result.total:.1f} s, "
        f"{result.total / result.floor:.2f} times; a prediction needs {result.peak_bytes['prediction'] / GB:.1f} GB of "
        f"memory{training}."
    )


def _cells(record: FullSizeRecord) -> dict[str, str]:
    result = record.measurement
    cells = {f"{name} (s, × floor)": _timed(result.median(name), result.median(name + FLOOR)) for name in result.stages}
    cells["one image (s, × floor)"] = _timed(result.total, result.floor)
    cells["weights (GB)"] = f"{result.weight_bytes / GB:.2f}"
    cells["peak memory, prediction (GB)"] = f"{result.peak_bytes['prediction'] / GB:.2f}"
    if "training" in result.peak_bytes:
        checkpointing = "with" if record.setting.checkpointing else "without"
        cells[f"peak memory, training, {checkpointing} checkpointing (GB)"] = (
            f"{result.peak_bytes['training'] / GB:.2f}"
        )
        cells["Adam's moments on top (GB)"] = f"{2 * result.trained_bytes / GB:.2f}"
    for difference in result.differences:
        cells[f"{difference.dtype} against float32 (%)"] = (
            f"{100 * difference.largest:.2g}, {100 * difference.mean:.2g}"
        )
    return cells


def _timed(seconds: float, floor: float) -> str:
    return f"{seconds:.2f}, {seconds / floor:.2f}"
