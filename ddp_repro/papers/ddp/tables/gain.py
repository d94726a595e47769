"""What more steps add, over scales and numbers of steps, from the analyses of the trainings."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ddp_repro.evaluation.measure import number_text, or_nan
from ddp_repro.evaluation.statistics import paired_difference
from ddp_repro.papers.ddp.diagnostics.gain import Gain
from ddp_repro.papers.ddp.settings import picture_settings
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.training_seeds import split_seed
from ddp_repro.workbook import catalogue
from ddp_repro.workbook.runs.analyses import Analysis, find_analyses
from ddp_repro.workbook.tables.measures import measures
from ddp_repro.workbook.tables.rendering import NOTHING, Table
from ddp_repro.workbook.tables.table import table_frame

HEADINGS: dict[Gain, str] = {
    "total": "all", "look": "another look", "map": "its map", "average": "averaging",
    "look_noise": "another look (noise)", "map_noise": "its map (noise)",
}  # fmt: skip
NOTE = (
    "Another look: the last step on an empty map (z₀ = 0 at the noise level) against one step, which tells what a "
    "second decoder at another time adds. Its map: the last step on the sampler's map against the empty one, which is "
    "what diffusion adds. The two add up to all. Averaging: the mean over all steps' predictions against the last. "
    "(noise): the same with noise alone for an empty map. Positive is better."
)
SPREAD = (
    "Intervals are of 95 %: over trainings (t) where there are several, else over images and sampling seeds of the one "
    "training."
)


@dataclass(frozen=True)
class Gained:
    """A gain, over trainings or of one.

    Attributes:
        low, high: of its interval; None where it is unknown.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Gains:
    """What a recipe's trainings gain from more steps.

    Attributes:
        scores: mean over the trainings, by number of steps.
        gains: by number of steps, and kind.
    """

    recipe: str
    scale: float
    measure: str
    analyses: tuple[Analysis, ...]
    scores: dict[int, float]
    gains: dict[int, dict[Gain, Gained]]


def gains_of(preset: str, output: str | Path = "results") -> list[Gains]:
    """Return what is known under a preset, by scale.

    Raises:
        RecordError: an analysis is damaged.
    """
    grouped: dict[str, list[Analysis]] = {}
    for analysis in find_analyses("gain", preset, output):
        grouped.setdefault(split_seed(analysis.run)[0], []).append(analysis)
    return sorted((_gains(name, found) for name, found in grouped.items()), key=lambda g: (g.measure, g.scale))


def gain_table(preset: str, output: str | Path = "results") -> Table:
    """Return a row for every scale and number of steps.

    Raises:
        ConfigError: nothing was measured under the preset.
        RecordError: an analysis is damaged.
    """
    found = measured_gains(preset, output)
    rows = [row for gains in found for row in _rows(gains)]
    columns = {key: [row.get(key, NOTHING) for row in rows] for key in dict.fromkeys(k for row in rows for k in row)}
    origin = pd.DataFrame([_origin(a) for gains in found for a in gains.analyses], dtype=object)
    return Table("ddp_gain", "What more sampling steps add", table_frame(columns), origin, (NOTE, SPREAD))


def measured_gains(preset: str, output: str | Path = "results") -> list[Gains]:
    """Return what is known under a preset, by scale; at least one model.

    Raises:
        ConfigError: nothing was measured.
        RecordError: an analysis is damaged.
    """
    if not (found := gains_of(preset, output)):
        raise ConfigError(f"no gain was measured under {preset}: ddp-repro reproduce ddp_what_diffusion_adds")
    return found


def _gains(name: str, found: list[Analysis]) -> Gains:
    by_steps = [{row["steps"]: row for row in analysis.result["rows"]} for analysis in found]
    common = [steps for steps in by_steps[0] if all(steps in rows for rows in by_steps)]
    return Gains(
        recipe=name, scale=picture_settings(catalogue.recipe(name, found[0].preset)).scale,
        measure=found[0].result["measure"], analyses=tuple(found),
        scores={s: statistics.fmean(or_nan(rows[s]["scores"]["steps"]) for rows in by_steps) for s in common},
        gains={s: _over_trainings([rows[s]["gains"] for rows in by_steps]) for s in common if s > 1},
    )  # fmt: skip


def _over_trainings(rows: Sequence[dict[str, Any]]) -> dict[Gain, Gained]:
    gains: dict[Gain, Gained] = {}
    for kind in HEADINGS:
        values = [row[kind]["estimate"] for row in rows]
        if len(rows) == 1:
            gains[kind] = Gained(values[0], rows[0][kind]["low"], rows[0][kind]["high"])
        else:
            interval = paired_difference(values, [0.0] * len(values)).interval()
            gains[kind] = Gained(interval.estimate, interval.low, interval.high)
    return gains


def _rows(gains: Gains) -> Iterator[dict[tuple[str, str], str]]:
    measure = measures()[gains.measure]
    for steps, by_kind in gains.gains.items():
        yield {
            ("", "Model"): gains.recipe, ("", "Scale"): f"{gains.scale:g}", ("", "Trainings"): str(len(gains.analyses)),
            ("", "Steps"): str(steps), (measure.heading, "1 step"): number_text(gains.scores[1], measure.decimals),
            (measure.heading, "so many steps"): number_text(gains.scores[steps], measure.decimals),
            **{(f"Gain in {measure.label}", HEADINGS[kind]): _text(gain, measure.decimals)
               for kind, gain in by_kind.items()},
        }  # fmt: skip


def _text(gain: Gained, decimals: int) -> str:
    ends = ", ".join(NOTHING if end is None else number_text(end, decimals, "+") for end in (gain.low, gain.high))
    return f"{number_text(gain.value, decimals, '+')} [{ends}]"


def _origin(analysis: Analysis) -> dict[str, str]:
    return {
        "Run": analysis.run,
        "Preset": analysis.preset,
        "Images": str(analysis.images),
        "Seeds": ", ".join(map(str, analysis.settings["seeds"])),
        "Checkpoint": analysis.checkpoint[:12],
        "Code": analysis.code.commit[:9] + (" + changes" if analysis.code.dirty else ""),
        "Device": analysis.environment.gpu or analysis.environment.cpu,
    }
