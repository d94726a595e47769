"""What a reader of a table must know of how our numbers come about."""

from __future__ import annotations

from ddp_repro.settings.recipe import Recipe


def notes(recipes: list[Recipe]) -> tuple[str, ...]:
    """Return the notes that apply to these recipes."""
    lines = []
    if any(recipe.model.task == "affine_depth" for recipe in recipes):
        lines.append("Each map is aligned to its truth by scale and shift (least squares) before it is measured.")
    if any(recipe.preset == "mini" for recipe in recipes):
        lines.append("The small models start from random weights: no diffusion model was trained before.")
    return tuple(lines)
