"""Tables of DDPS's arms: scores, costs and measured time, of every sampler."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

from ddp_repro.diffusion.discrete import visited_steps
from ddp_repro.evaluation.measure import mean_text
from ddp_repro.papers.ddps.recipes import (
    ARMS,
    FEW,
    LABELS,
    MANY,
    NOISED,
    SMALL,
    STRICT,
    check_arms,
    name_of,
    sampled_by,
    segmentor,
    unrefined_of,
)
from ddp_repro.papers.ddps.recipes import arm as arm_recipe
from ddp_repro.papers.ddps.recipes import recipes as recipes_of
from ddp_repro.papers.ddps.results.costs import complexity
from ddp_repro.papers.ddps.settings import settings_of
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import Recipe
from ddp_repro.settings.training_seeds import split_seed
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.runs.analyses import Analysis, find_analyses, load_analysis
from ddp_repro.workbook.runs.records import Record, find_records
from ddp_repro.workbook.tables.counts import evaluation_size
from ddp_repro.workbook.tables.map_use import map_use_table
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
    """Return mIoU and mBIoU of the segmentor and of every arm and sampler, mean and spread over trainings.

    Raises:
        ConfigError: the preset has no arms.
    """
    check_arms(preset)
    found = {recipe.name: _records_of(recipe.name, preset, output) for recipe in recipes_of(preset).values()}
    used, main = [record for records in found.values() for record in records], name_of(preset, "multi")
    speed = load_analysis("speed", main, preset, output)
    title = measured_title(preset, segmentor(preset).data.dataset, used)
    config, size = settings_of(arm_recipe(preset, "multi")), evaluation_size(arm_recipe(preset, "multi"))
    rows = []
    for label, sampler, name, steps in _rows(preset):
        calls = _calls(preset, name, steps)
        scores = [_spread(found[name], measure, steps) for measure in ("miou", "mbiou")]
        time = _milliseconds(speed, calls) if sampler in (NOTHING, SAMPLER_LABELS["free"]) else NOTHING
        macs = f"{complexity(config, size).macs(calls) / 1e9:.2f}"
        rows.append((label, sampler, str(calls), *scores, macs, time))
    headings = [("", "Arm"), ("", "Sampler"), ("", "Calls of the prior"), ("mIoU (%) ↑", title), ("mBIoU (%) ↑", title),
                ("MACs (G)", LIVE), ("ms per image", title)]  # fmt: skip
    columns = {heading: [row[column] for row in rows] for column, heading in enumerate(headings)}
    return Table(
        "ddps_arms", f"DDPS: arms and samplers, {preset} preset", table_frame(columns), provenance_frame(used),
        _notes(found[main], speed, preset),
    )  # fmt: skip


def check_table(preset: str, output: str | Path = "results") -> Table:
    """Return whether the priors of a preset read their maps, a row for every step that was checked.

    Raises:
        ConfigError: nothing was checked, or the preset has no arms.
    """
    check_arms(preset)
    if not (found := checks(preset, output)):
        raise ConfigError(f"no prior was checked under {preset}: ddp-repro map-use {name_of(preset, 'multi')}")
    return map_use_table(found, "ddps_map_use")


def checks(preset: str, output: str | Path = "results") -> list[Analysis]:
    """Return the analyses of map use of a preset's arms."""
    ours = {name_of(preset, arm) for arm in ARMS} if preset in SMALL else ()
    return [analysis for analysis in find_analyses("map_use", preset, output) if split_seed(analysis.run)[0] in ours]


def _rows(preset: str) -> Iterator[tuple[str, str, str, int]]:
    """Yield arm, sampler, recipe and n of every row."""
    yield "frozen segmentor", NOTHING, unrefined_of(preset), 1
    for arm in ARMS:
        if arm not in NOISED:
            yield LABELS[arm], NOTHING, name_of(preset, arm), 1
            continue
        for steps in (FEW, MANY):
            yield LABELS[arm], SAMPLER_LABELS["free"], name_of(preset, arm), steps
        for sampler in STRICT:
            yield LABELS[arm], SAMPLER_LABELS[sampler], sampled_by(preset, arm, sampler), MANY


def _calls(preset: str, name: str, steps: int) -> int:
    """Return how often the prior is called for an image."""
    return 0 if name == unrefined_of(preset) else len(visited_steps(settings_of(recipe(name, preset)).levels, steps))


def _records_of(name: str, preset: str, output: str | Path) -> list[Record]:
    """Return the records of a recipe's trainings."""
    return [record for record in find_records(preset, output) if split_seed(record.run)[0] == name]


def _spread(records: list[Record], measure: str, steps: int) -> str:
    scored = [record for record in records if steps in record.steps and measure in record.metrics]
    return mean_text([fmean(record.values(steps, measure)) for record in scored], 2) if scored else NOT_RUN


def _milliseconds(speed: Analysis | None, calls: int) -> str:
    rows = speed.result["speeds"] if speed else []
    row = next((row for row in rows if row["visited"] == calls), None)
    return f"{1000 / row['images_per_second']:.1f}" if row else NOTHING


def _notes(main: list[Record], speed: Analysis | None, preset: str) -> tuple[str, ...]:
    made = [f"± is the sample standard deviation over {len(main)} paired trainings."] if len(main) > 1 else []
    if speed:
        made.append(f"Median time of one image: {speed.result['conditions']}.")
    made.append("The first call of the prior is on a random map, and so the same for all samplers.")
    return (*made, *notes([arm_recipe(preset, "multi")]))
