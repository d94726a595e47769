"""Recipes made from another recipe: one cell of Table 5a-d, or the self-aligned stage."""

from __future__ import annotations

import dataclasses
from typing import Any

from ddp_repro.papers.ddp.settings import picture_settings
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.overrides import override
from ddp_repro.settings.recipe import Recipe

# Part of Table 5 -> the one setting that its cells vary, and its values in the paper's order.
ABLATIONS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "ddp_table5a": ("model.encoding", ("analog_bits", "onehot", "embedding")),
    "ddp_table5b": ("model.scale", (0.001, 0.01, 0.02, 0.04, 0.1)),
    "ddp_table5c": ("model.schedule", ("cosine", "linear")),
    "ddp_table5d": ("model.layers", (1, 2, 4, 6, 12)),
}
# Around the three layers of the small models, and up to where one at the scale 0.3 trusts its map too much.
SMALL = {"model.layers": (1, 2, 3, 6), "model.scale": (0.01, 0.1, 0.3, 1.0)}


def ablation(plain: Recipe, field: str, value: Any) -> Recipe:
    """Return the cell of Table 5 where ``field`` has ``value``: ``plain`` with exactly this one setting changed.

    The cell of the plain recipe's own value is the plain recipe, so that it is never trained twice.
    """
    changed = override(plain, {field: value})
    if changed == plain:
        return plain
    table = next(name for name, (varied, _) in ABLATIONS.items() if varied == field)
    name = f"{plain.name}_{field.rpartition('.')[2]}_{value}"
    return dataclasses.replace(changed, name=name, table=table, row=f"{plain.row}, {field}={value}")


def cells(plain: Recipe, table: str) -> dict[Any, Recipe]:
    """Every cell of one part of Table 5 by its value, the plain recipe among them.

    Raises:
        ConfigError: not a part with trained ablations.
    """
    if table not in ABLATIONS:
        raise ConfigError(f"{table!r} has no trained ablations; those that have: {', '.join(ABLATIONS)}")
    field, values = ABLATIONS[table]
    if getattr(picture_settings(plain), field.removeprefix("model.")) not in values:
        values = SMALL[field]
    return {value: ablation(plain, field, value) for value in values}


def ablations(plain: Recipe) -> list[Recipe]:
    """Every cell of Table 5a-d that is not the plain recipe itself."""
    return [cell for table in ABLATIONS for cell in cells(plain, table).values() if cell != plain]


def aligned(
    plain: Recipe, *, variant: str, iterations: int, learning_rate: float, warmup_iterations: int, suffix: str = ""
) -> Recipe:
    """Return the self-aligned stage (Algorithm 4), a short second training that starts from finished weights."""
    train = dataclasses.replace(
        plain.train, iterations=iterations, learning_rate=learning_rate, warmup_iterations=warmup_iterations,
        self_aligned=variant, initialize_from=plain.name, backbone_weights=None,
    )  # fmt: skip
    return dataclasses.replace(
        plain,
        name=f"{plain.name}_aligned{suffix}",
        table="ddp_figure4",
        row=f"{plain.row} aligned, {variant}",
        train=train,
    )
