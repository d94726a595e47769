"""Recipes for a user's own images: the small models, with as many classes as ``classes.json`` names."""

from __future__ import annotations

import dataclasses

from ddp_repro.papers.ddp.recipes import depth, segmentation
from ddp_repro.settings.recipe import Recipe


def folder() -> Recipe:
    """``camvid_lite0`` on images and masks (:mod:`ddp_repro.tasks.segmentation.datasets.folder`)."""
    plain = segmentation.camvid()
    return dataclasses.replace(
        plain, name="folder", preset="own", table="ddp_own",
        model=dataclasses.replace(plain.model, num_classes=None),
        data=dataclasses.replace(plain.data, dataset="folder", root="data/own", eval_split="val"),
    )  # fmt: skip


def depth_folder() -> Recipe:
    """``sevenscenes_lite0`` on images and depth maps (:mod:`ddp_repro.tasks.depth.datasets.folder`), up to 10 m.

    It starts at 2 m, for from where the release starts some seeds never learn.
    """
    plain = depth.real("sevenscenes")
    return dataclasses.replace(
        plain, name="depth_folder", preset="own", table="ddp_own",
        model=dataclasses.replace(plain.model, initial_depth=2.0),
        data=dataclasses.replace(plain.data, dataset="depth_folder", root="data/own_depth", eval_split="val"),
    )  # fmt: skip
