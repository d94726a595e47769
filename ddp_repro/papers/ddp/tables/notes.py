"""What a reader of DDP's tables must know of how our numbers come about."""

from __future__ import annotations

from ddp_repro.papers.ddp.bev.settings import BEVConfig
from ddp_repro.settings.recipe import Recipe
from ddp_repro.tasks.bev.metrics import THRESHOLDS
from ddp_repro.tasks.depth.protocols import PROTOCOLS


def notes(recipes: list[Recipe]) -> tuple[str, ...]:
    """Return notes on these recipes' evaluation: depth protocols, then BEV sampling."""
    return (*_protocol_notes(recipes), *_bev_notes(recipes))


def _protocol_notes(recipes: list[Recipe]) -> tuple[str, ...]:
    """How depth is measured, of every recipe in the table."""
    evaluations = dict.fromkeys((r.evaluation.protocol, r.evaluation.flip) for r in recipes)
    test = {True: "mean of the picture's and its mirror image's depth", False: "one view"}
    return tuple(f"Protocol {name}: {PROTOCOLS[name].describe()}; {test[flip]}." for name, flip in evaluations if name)


def _bev_notes(recipes: list[Recipe]) -> tuple[str, ...]:
    """How BEV maps are predicted and measured, of every model in the table."""
    models = {recipe.name: recipe.model for recipe in recipes if isinstance(recipe.model, BEVConfig)}
    if not models:
        return ()
    words = {True: "all steps", False: "the last step"}
    sampling = "; ".join(
        f"{name}: {model.noise_samples} start noises, {words[model.average_steps]}" for name, model in models.items()
    )
    return (
        f"IoU of a class is at the best of {len(THRESHOLDS)} thresholds ({THRESHOLDS[0]:.2f} to {THRESHOLDS[-1]:.2f}), "
        "chosen on the evaluated data itself, as published; at 0.5 nothing is chosen. Cells of all samples are counted "
        "together.",
        f"Probabilities are averaged over start noises and steps, which the paper does not mention ({sampling}).",
        "LiDAR sweeps are the nearest ones; the released test draws them at random.",
    )
