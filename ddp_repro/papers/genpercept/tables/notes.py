"""What a reader of a table must know of how our numbers come about."""

from __future__ import annotations

from ddp_repro.settings.recipe import Recipe

# What of a printed table is not built, and why.
UNBUILT = {
    5: "No training on real data is built here: Taskonomy is not read, and Cityscapes for its classes alone.",
    13: "Printed numbers alone: human pose is neither trained nor evaluated here; the authors released no model of it.",
}


def table_notes(number: int) -> tuple[str, ...]:
    """Return what a reader must know of a table whatever was run."""
    return (UNBUILT[number],) if number in UNBUILT else ()


def notes(recipes: list[Recipe]) -> tuple[str, ...]:
    """Return the notes that apply to these recipes."""
    lines = []
    if any(recipe.model.task == "affine_depth" for recipe in recipes):
        lines.append("Each map is aligned to its truth by scale and shift (least squares) before it is measured.")
    if any(recipe.preset == "mini" for recipe in recipes):
        lines.append("The small models start from random weights: no diffusion model was trained before.")
    return tuple(lines)
