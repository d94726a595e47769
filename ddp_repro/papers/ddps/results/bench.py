"""What the segmentor and a call of the prior take at full size, beside their matrix products and convolutions alone.

Networks have the recipe's shapes and random weights, so neither weights nor data are needed.  Stages and floors take
turns.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ddp_repro.costs.size import parse_size
from ddp_repro.costs.stages import FLOOR, time_stages
from ddp_repro.papers.ddps.settings import settings_of
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import Recipe
from ddp_repro.store.atomic import write_atomically
from ddp_repro.store.paths import resolve
from ddp_repro.workbook.runs import provenance

# Options of `ddp-repro bench` that mean nothing here, as they are when nobody gives them.
UNUSED = {"steps": "1,3", "batch": 1, "dtype": "float32", "backend": None, "compile": "off", "channels_last": False,
          "stages_only": False, "checkpointing": False}  # fmt: skip


@dataclass(frozen=True)
class StageTimes:
    """Seconds of every repetition, by stage, and by stage with :data:`FLOOR` behind; of one image."""

    clock: str
    seconds: dict[str, list[float]]

    def median(self, name: str) -> float:
        """Return the median of a stage's seconds."""
        return statistics.median(self.seconds[name])

    def rows(self) -> Iterator[str]:
        """Yield a Markdown table: milliseconds, those of the products alone, and the ratio."""
        yield "| | ms | its products (ms) | × products |"
        yield "| --- | --- | --- | --- |"
        for name in (name for name in self.seconds if not name.endswith(FLOOR)):
            whole, floor = self.median(name), self.median(name + FLOOR)
            yield f"| {name} | {1000 * whole:.1f} | {1000 * floor:.1f} | {whole / floor:.2f} |"


def check_options(recipe: Recipe, options: Mapping[str, Any]) -> None:
    """Refuse options of ``ddp-repro bench`` that mean nothing here.

    Raises:
        ConfigError: names them; or fewer than 3 repetitions, or a size that cannot be read.
    """
    changed = [f"--{name.replace('_', '-')}" for name, default in UNUSED.items() if options[name] != default]
    if changed:
        raise ConfigError(f"{recipe.name}: {', '.join(changed)} do not apply to DDPS's bench of stages")
    if options["repetitions"] < 3:
        raise ConfigError(f"a benchmark takes at least 3 repetitions; got {options['repetitions']}")
    for text in options["size"].split(","):
        parse_size(text)


def run_bench(recipe: Recipe, options: Mapping[str, Any], device: str, output: str | Path) -> Iterator[str]:
    """Time a recipe's stages at every size, write the records, and yield the tables."""
    for text in options["size"].split(","):
        height, width = parse_size(text)
        times = measure(recipe, (height, width), device, options["repetitions"])
        facts = provenance.measured_with(
            {"recipe": recipe.name, "size": [height, width], "clock": times.clock, "seconds": times.seconds}, device
        )
        name = f"{recipe.name}-{height}x{width}-{torch.get_num_threads()}threads.json"
        content = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        write_atomically(resolve(output) / "bench" / "ddps" / name, content.encode())
        yield f"{recipe.name}, {height}×{width}, batch 1, {times.clock} time, n = {options['repetitions']}\n"
        yield from times.rows()


@torch.no_grad()
def measure(recipe: Recipe, size: tuple[int, int], device: str, repetitions: int) -> StageTimes:
    """Time the frozen segmentor and a call of the prior, with random weights on a random image."""
    model = settings_of(recipe).build().to(device).eval()
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0)).to(device)
    features = model.encode_image(image)  # (1, F, h, w)
    noisy = torch.randint(model.config.symbols, (1, *features.shape[-2:]), device=device)
    step = torch.zeros(1, dtype=torch.long, device=device)
    stages = {
        "segmentor, once": lambda: model.encode_image(image),
        "prior, every call": lambda: model.prior(features, noisy, step),
    }
    return StageTimes(*time_stages(stages, device, repetitions))
