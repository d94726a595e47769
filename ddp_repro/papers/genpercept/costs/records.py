"""Records of measurements at full size: ``results/bench/genpercept/<name>.json``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ddp_repro.costs.size import parse_size
from ddp_repro.papers.genpercept.costs.full_size import Measurement, Setting, measure
from ddp_repro.papers.genpercept.settings import ModelConfig
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import Recipe
from ddp_repro.store.atomic import write_atomically
from ddp_repro.store.paths import resolve
from ddp_repro.workbook.runs import provenance
from ddp_repro.workbook.runs.records import read_dataclass

SCHEMA = 1
UNUSED = {"steps": "1,3", "batch": 1, "backend": None, "compile": "off", "channels_last": False}


@dataclass(frozen=True, kw_only=True)
class FullSizeRecord:
    """One finished measurement.

    Attributes:
        recipe: name of the recipe whose model was measured, with random weights.
    """

    recipe: str
    setting: Setting
    measurement: Measurement
    code: provenance.Code
    environment: provenance.Environment

    @property
    def name(self) -> str:
        """Unique to what was measured, e.g. ``genpercept_depth-480x640-float32-cpu1``."""
        height, width = self.setting.size
        device = (self.environment.gpu or f"cpu{self.environment.threads}").replace(" ", "_")
        return f"{self.recipe}-{height}x{width}-{self.setting.dtype}-{device}"

    @property
    def conditions(self) -> str:
        """What the numbers hold for, in a line."""
        environment, (height, width) = self.environment, self.setting.size
        threads = environment.threads
        where = environment.gpu or f"{environment.cpu}, {threads} thread{'s' * (threads > 1)}"
        return (
            f"{self.recipe}, {height}×{width}, {self.setting.dtype}, {where}, "
            f"torch {environment.packages['torch']}, {self.measurement.clock} time, n = {self.setting.repetitions}"
        )


def folder(output: str | Path = "results") -> Path:
    """Return where the records are."""
    return resolve(output) / "bench" / "genpercept"


def find_full_size(output: str | Path = "results") -> list[FullSizeRecord]:
    """Return every record, by name.

    Raises:
        RecordError: a file is damaged, or of another version.
    """
    return [read_dataclass(FullSizeRecord, path, SCHEMA) for path in sorted(folder(output).glob("*.json"))]


def check_options(recipe: Recipe, options: Mapping[str, Any]) -> None:
    """Refuse options of ``ddp-repro bench`` that mean nothing here.

    Raises:
        ConfigError: names them.
    """
    changed = [f"--{name.replace('_', '-')}" for name, default in UNUSED.items() if options[name] != default]
    if changed:
        raise ConfigError(f"{recipe.name}: {', '.join(changed)} do not apply to GenPercept's one-step prediction")
    if not cast(ModelConfig, recipe.model).one_step or not cast(ModelConfig, recipe.model).predicts:
        raise ConfigError(f"{recipe.name}: full size is measured of one-step pipelines that predict")


def run_full_size(
    recipe: Recipe, options: Mapping[str, Any], device: str, output: str | Path
) -> Iterator[FullSizeRecord]:
    """Measure a recipe's model at every size; yields the records, once they are written."""
    for text in options["size"].split(","):
        setting = Setting(
            size=parse_size(text), dtype=options["dtype"], device=device, repetitions=options["repetitions"],
            training=not options["stages_only"], checkpointing=options["checkpointing"],
        )  # fmt: skip
        record = FullSizeRecord(
            recipe=recipe.name, setting=setting, measurement=measure(cast(ModelConfig, recipe.model), setting),
            code=provenance.code(), environment=provenance.environment(device),
        )  # fmt: skip
        values = {"schema": SCHEMA} | dataclasses.asdict(record)
        content = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        write_atomically(folder(output) / f"{record.name}.json", content.encode())
        yield record
