"""DDP: Diffusion Model for Dense Visual Prediction, as a reproducibility workbook with a package behind it.

The names below are all that notebooks, the command line and other projects need::

    model = ddp_repro.create_model("ade20k_swin_t", checkpoint="official")
    prediction = ddp_repro.predict(model, "photo.jpg", steps=3)
    prediction.labels, prediction.uncertainty
"""

from __future__ import annotations

import importlib
import os
from typing import Any

__version__ = "0.2.0"

# PyTorch then asks Linux for pages of 2 MB where it can: maps of large pictures are new memory at every layer, and
# handing it out by 4 KB takes a sixth of the neck's time at two megapixels.  What the user has set stays.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

# Loaded on first use: importing the package costs nothing.
_HOMES = {
    "create_model": "ddp_repro.api",
    "list_models": "ddp_repro.workbook.models",
    "load_checkpoint": "ddp_repro.interop",
    "predict": "ddp_repro.evaluation.predict",
    "train": "ddp_repro.workbook.runs.run",
    "evaluate": "ddp_repro.workbook.runs.run",
    "recipe": "ddp_repro.workbook.catalogue",
    "recipe_names": "ddp_repro.workbook.catalogue",
    # what notebooks are made of
    "override": "ddp_repro.settings.overrides",
    "parse_overrides": "ddp_repro.settings.overrides",
    "resolve": "ddp_repro.store.paths",
    "run_folder": "ddp_repro.store.paths",
    "run": "ddp_repro.workbook.runs.run",
    "run_table": "ddp_repro.workbook.runs.run",
    "evaluation_dataset": "ddp_repro.workbook.runs.run",
    "trained_model": "ddp_repro.workbook.runs.run",
    "training_dataset": "ddp_repro.workbook.runs.run",
    "run_all": "ddp_repro.workbook.runs.batch",
    "paper_named": "ddp_repro.workbook.catalogue",
    "seeded": "ddp_repro.settings.training_seeds",
    "Subject": "ddp_repro.workbook.runs.analyses",
    "read_image_statistics": "ddp_repro.workbook.runs.companion",
    "score_constant": "ddp_repro.workbook.runs.constant",
    "paper_table": "ddp_repro.workbook.tables.table",
    "measured_table": "ddp_repro.workbook.tables.table",
    "save_table": "ddp_repro.workbook.tables.rendering",
    "save_figure": "ddp_repro.workbook.figures.style",
    "main_model": "ddp_repro.papers.ddp.recipes.registry",
    "ablation_base": "ddp_repro.papers.ddp.recipes.segmentation",
    "cells": "ddp_repro.papers.ddp.recipes.variants",
    "claims_table": "ddp_repro.papers.ddp.claims",
    "ablation_table": "ddp_repro.papers.ddp.tables.ablations",
    "cost_table": "ddp_repro.papers.ddp.tables.ablations",
    "gain_table": "ddp_repro.papers.ddp.tables.gain",
    "gain_figure": "ddp_repro.papers.ddp.figures.gain",
    "uncertainty_table": "ddp_repro.papers.ddp.tables.uncertainty",
    "costs_table": "ddp_repro.papers.ddp.tables.bev_costs",
    "find_costs": "ddp_repro.papers.ddp.tables.bev_costs",
    "robustness_table": "ddp_repro.papers.ddp.tables.robustness",
    "bev_figure": "ddp_repro.papers.ddp.tables.robustness",
    "figure_prediction": "ddp_repro.papers.ddp.figures.figure3",
    "figure_uncertainty": "ddp_repro.papers.ddp.figures.uncertainty",
    "depth_figures": "ddp_repro.papers.ddp.figures.depth_views",
    "dynamics_figure": "ddp_repro.papers.ddp.pages",
    "images_figure": "ddp_repro.papers.ddp.pages",
    "load_trajectory": "ddp_repro.papers.ddp.samples.segmentation",
    "figure_1": "ddp_repro.papers.ddp.figures.figure1",
    "figure_2": "ddp_repro.papers.ddp.figures.figure2",
    "figure_10": "ddp_repro.papers.ddp.figures.figure10",
    "paint_predictions": "ddp_repro.papers.ddp.figures.figure10",
    "find_painter": "ddp_repro.papers.ddp.painting.sources",
    "train_control": "ddp_repro.papers.ddp.painting.training",
    "ControlTraining": "ddp_repro.papers.ddp.painting.training",
    "figure_3a": "ddp_repro.papers.ddp.figures.figure3",
    "figure_3b": "ddp_repro.papers.ddp.figures.figure3",
    "figure_3c": "ddp_repro.papers.ddp.figures.figure3",
    "figure_stages": "ddp_repro.papers.ddp.figures.speed",
    "figure_growth": "ddp_repro.papers.ddp.figures.speed",
    "figure_accuracy_over_time": "ddp_repro.papers.ddp.figures.speed",
    "Setting": "ddp_repro.papers.ddp.costs.bench",
    "parse_size": "ddp_repro.costs.size",
    "report": "ddp_repro.papers.ddp.costs.records",
    "run_bench": "ddp_repro.papers.ddp.costs.records",
    # what tasks and papers of one's own are made of
    "Recipe": "ddp_repro.settings.recipe",
    "DataConfig": "ddp_repro.settings.recipe",
    "TrainConfig": "ddp_repro.settings.recipe",
    "EvalConfig": "ddp_repro.settings.recipe",
    "ModelSettings": "ddp_repro.settings.kinds",
    "setting": "ddp_repro.settings.setting",
    "Paper": "ddp_repro.protocols.paper",
    "PictureTask": "ddp_repro.tasks.picture_task",
    "Measure": "ddp_repro.evaluation.measure",
    "Score": "ddp_repro.evaluation.score",
    "Figure": "ddp_repro.workbook.figures.style",
    "register_task": "ddp_repro.protocols.registry",
    # GenPercept
    "curves_figure": "ddp_repro.papers.genpercept.figures.blend",
    "pictures_figure": "ddp_repro.papers.genpercept.figures.blend",
    "shares_table": "ddp_repro.papers.genpercept.figures.blend",
    "steps_table": "ddp_repro.papers.genpercept.figures.blend",
    "gallery_figure": "ddp_repro.papers.genpercept.figures.gallery",
    "gallery_models": "ddp_repro.papers.genpercept.figures.gallery",
    "gallery_pictures": "ddp_repro.papers.genpercept.figures.gallery",
    "beside_table": "ddp_repro.papers.genpercept.tables.beside",
    "ranks_table": "ddp_repro.papers.genpercept.tables.beside",
    "savings_table": "ddp_repro.papers.genpercept.tables.beside",
    "means_table": "ddp_repro.papers.genpercept.tables.beside",
    "parameters_table": "ddp_repro.papers.genpercept.tables.cost",
    "table11": "ddp_repro.papers.genpercept.tables.cost",
    "stages_table": "ddp_repro.papers.genpercept.tables.cost",
    "full_size_table": "ddp_repro.papers.genpercept.tables.full_size",
    "score_mean_labels": "ddp_repro.papers.genpercept.tables.mean_label",
    "example_pair": "ddp_repro.papers.genpercept.figures.gallery",
    "fine_tunings": "ddp_repro.papers.genpercept.pretraining",
    "vae_floor": "ddp_repro.papers.genpercept.results.stages",
    "denoising_check": "ddp_repro.papers.genpercept.results.stages",
    "pretraining_figure": "ddp_repro.papers.genpercept.results.figure",
}
# Other names of what their modules call more briefly, or called otherwise in version 0.1, and whole modules.
_ALIASES = {
    "score_mean_depth": ("ddp_repro.workbook.runs.constant", "score_constant"),
    "score_constant_map": ("ddp_repro.workbook.runs.constant", "score_constant"),
    "register_paper": ("ddp_repro.workbook.catalogue", "register"),
    "depth_models": ("ddp_repro.papers.ddp.figures.depth_views", "MODELS"),
    "bev_models": ("ddp_repro.papers.ddp.tables.robustness", "MODELS"),
    "analyses": ("ddp_repro.papers.ddp.analyses", None),
}
__all__ = [*_HOMES, *_ALIASES, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _ALIASES:
        module, attribute = _ALIASES[name]
        loaded = importlib.import_module(module)
        return getattr(loaded, attribute) if attribute else loaded
    if name not in _HOMES:
        raise AttributeError(f"module 'ddp_repro' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
