"""Tables of DDPS's arms: scores, costs and measured time, of every sampler at its first and last step."""

from __future__ import annotations

from ddp_repro.papers.ddps.settings import settings_of

from pathlib import Path

from ddp_repro.papers.ddps.recipes import ARMS, LABELS, Arm
from ddp_repro.papers.ddps.recipes import arm as arm_recipe
from ddp_repro.papers.ddps.results.measured import Measured, Training
from ddp_repro.settings.recipe import Recipe
from ddp_repro.workbook.runs.analyses import Analysis
from ddp_repro.evaluation.measure import mean_text, or_nan
from ddp_repro.workbook.tables.rendering import NOT_RUN, NOTHING, Table
from ddp_repro.workbook.tables.table import measured_title, provenance_frame, table_frame

SAMPLER_LABELS = {"free": "free re-noising", "strict": "exact posterior", "strict_released": "released posterior"}
LIVE = "counted live"


def notes(recipes: list[Recipe]) -> tuple[str, ...]:
    """Return how the numbers of DDPS's recipes come about."""
    made = (
        "n sampling steps visit every (T // n)-th of T steps and the last one, as the released code does: mostly more "
        "than n calls of the U-Net.",
        "The training loss is a mean over all pixels, unlabelled ones included, as released (model.loss_mean=labelled "
        "for the sound mean).",
    )
    if any(settings_of(recipe).class_zero == "kept" for recipe in recipes):
        made += (
            "A prediction may be \"unlabelled\", which is always wrong and counts as a class of its own with an IoU of "
            "0, as released (model.class_zero=dropped leaves it out).",
        )
    return made


def arms_table(preset: str, output: str | Path = "results") -> Table:
    """Return mIoU and mBIoU of the segmentor and of every arm and sampler, mean and spread over trainings."""
    measured = Measured.of(preset, output)
    title = measured_title(preset, measured.dataset, measured.records)
    rows = [_base_row(measured)]
    for arm in ARMS:
        rows += [_row(measured, arm, sampler, last) for sampler, last in _shown(measured, arm)]
    columns = {
        ("", "Arm"): [row[0] for row in rows],
        ("", "Sampler"): [row[1] for row in rows],
        ("", "Calls of the prior"): [row[2] for row in rows],
        ("mIoU (%) ↑", title): [row[3] for row in rows],
        ("mBIoU (%) ↑", title): [row[4] for row in rows],
        ("MACs (G)", LIVE): [row[5] for row in rows],
        ("ms per image", title): [row[6] for row in rows],
    }
    return Table(
        "ddps_arms", f"DDPS: arms and samplers, {preset} preset", table_frame(columns),
        provenance_frame(measured.records), _notes(measured, preset),
    )  # fmt: skip


def _shown(measured: Measured, arm: Arm) -> list[tuple[str, bool]]:
    """Sampler, and whether its last step is shown rather than the first, which is the same for all samplers."""
    if arm in ("single", "longer"):
        return [("free", True)]
    return [("free", False), *((sampler, True) for sampler in SAMPLER_LABELS)]


def _base_row(measured: Measured) -> tuple[str, ...]:
    trainings = measured.trainings("single")
    scores = [_spread([t.base(name) for t in trainings]) for name in ("miou", "mbiou")]
    macs = f"{trainings[0].macs(0) / 1e9:.2f}" if trainings else NOT_RUN
    return "frozen segmentor", NOTHING, "0", *scores, macs, _milliseconds(measured.speed, 0)


def _row(measured: Measured, arm: Arm, sampler: str, last: bool) -> tuple[str, ...]:
    trainings = measured.trainings(arm)
    scores = [_spread([t.score(name, sampler, last=last) for t in trainings]) for name in ("miou", "mbiou")]
    calls = trainings[0].visited(sampler) if trainings and last else 1
    macs = f"{trainings[0].macs(calls) / 1e9:.2f}" if trainings else NOT_RUN
    name = SAMPLER_LABELS[sampler] if arm in ("truth", "multi") and last else NOTHING
    time = _milliseconds(measured.speed, calls) if sampler == "free" else NOTHING
    return LABELS[arm], name, str(calls), *scores, macs, time


def _spread(values: list[float | None]) -> str:
    return mean_text([or_nan(value) for value in values], 2) if values else NOT_RUN


def _milliseconds(speed: Analysis | None, calls: int) -> str:
    rows = speed.result["speeds"] if speed else []
    row = next((row for row in rows if row["visited"] == calls), None)
    return f"{1000 / row['images_per_second']:.1f}" if row else NOTHING


def _notes(measured: Measured, preset: str) -> tuple[str, ...]:
    trainings: list[Training] = [t for arm in ARMS for t in measured.trainings(arm)]
    count = len({training.seed for training in trainings})
    made = [f"± is the sample standard deviation over {count} paired trainings, each the mean of its sampling seeds."] if count > 1 else []
    if measured.speed:
        made.append(f"Median time of one image: {measured.speed.result['conditions']}.")
    made.append("The first call of the prior is on a random map, and so the same for all samplers.")
    return (*made, *notes([arm_recipe(preset, "multi")]))
