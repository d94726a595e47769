"""DDP's recipes by preset."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache

from ddp_repro.papers.ddp.recipes import bev, depth, own, segmentation, variants
from ddp_repro.settings.presets import check_preset
from ddp_repro.settings.recipe import Recipe


def recipes(preset: str) -> dict[str, Recipe]:
    """Return the recipes of one preset by name.

    Raises:
        ConfigError: there is no such preset.
    """
    check_preset(preset)
    return {recipe.name: recipe for recipe in _recipes(preset)}


@cache
def _recipes(preset: str) -> tuple[Recipe, ...]:
    return tuple(REGISTRIES[preset]().values()) if preset in REGISTRIES else ()


def main_model(preset: str) -> str | None:
    """Return the recipe that Figures 3 to 5 and the claims about sampling are shown with; None for a preset of depth
    alone.

    Raises:
        ConfigError: there is no such preset.
    """
    check_preset(preset)
    return {"mini": "cityscapes_mini", "camvid": "camvid_lite0", "paper": "cityscapes_convnext_t"}.get(preset)


def _paper() -> dict[str, Recipe]:
    plain = [*map(segmentation.ade20k, segmentation.SWIN)]
    plain += map(segmentation.cityscapes, [*segmentation.SWIN, *segmentation.CONVNEXT])
    tiny, large = segmentation.cityscapes("convnext_t"), segmentation.cityscapes("convnext_l")
    second = [segmentation.aligned(tiny), segmentation.aligned(large), segmentation.aligned(tiny, "fresh_noise")]
    baseline = segmentation.baseline(segmentation.ade20k("swin_t"))
    cells = variants.ablations(segmentation.ablation_base("paper"))
    kitti, nyu = map(depth.kitti, depth.KITTI_SWIN), [*map(depth.nyu, depth.NYU_SWIN)]
    cameras = map(bev.nuscenes, bev.MODALITIES)
    symmetric = [segmentation.symmetric(tiny), segmentation.symmetric(plain[0])]
    return _by_name([*plain, baseline, *second, *symmetric, *cells, *kitti, *nyu, *map(depth.sunrgbd, nyu), *cameras])


def _mini() -> dict[str, Recipe]:
    plain, base = [segmentation.mini("ade20k"), segmentation.mini("cityscapes")], segmentation.ablation_base("mini")
    second, cells = segmentation.small_aligned(plain[1]), variants.ablations(base)
    kitti, nyu = map(depth.mini, ("kitti", "nyu"))
    depths = [kitti, nyu, depth.sunrgbd(nyu), segmentation.baseline(kitti), segmentation.baseline(nyu)]
    cameras = map(bev.mini, bev.MODALITIES)
    symmetric = map(segmentation.symmetric, (plain[1], base))
    return _by_name([*plain, *map(segmentation.baseline, plain), *second, *symmetric, base, *cells, *depths, *cameras])


def _camvid() -> dict[str, Recipe]:
    main, small = segmentation.camvid(), segmentation.camvid_small()
    base, drifts = segmentation.camvid_map(), segmentation.camvid_drift()
    recipes = [main, segmentation.baseline(main), *segmentation.small_aligned(main), segmentation.symmetric(main)]
    recipes += [small, segmentation.baseline(small), base, segmentation.baseline(base), segmentation.symmetric(base)]
    recipes += [gpu := segmentation.camvid_gpu(), segmentation.baseline(gpu)]
    for plain in (base, drifts):
        stages = segmentation.small_aligned(plain)
        recipes += [dataclasses.replace(stage, evaluation=plain.evaluation) for stage in stages]
    return _by_name([*recipes, *variants.ablations(base)])


def _sevenscenes() -> dict[str, Recipe]:
    main, base = depth.real("sevenscenes"), depth.room_map()
    return _by_name([main, segmentation.baseline(main), base, segmentation.baseline(base)])


def _kitti_lidar() -> dict[str, Recipe]:
    main = depth.real("kitti_lidar")
    return _by_name([main, segmentation.baseline(main)])


def _own() -> dict[str, Recipe]:
    return _by_name([own.folder(), own.depth_folder()])


def _by_name(recipes: list[Recipe]) -> dict[str, Recipe]:
    return {recipe.name: recipe for recipe in recipes}


REGISTRIES: dict[str, Callable[[], dict[str, Recipe]]] = {
    "mini": _mini,
    "camvid": _camvid,
    "sevenscenes": _sevenscenes,
    "kitti_lidar": _kitti_lidar,
    "own": _own,
    "paper": _paper,
}
