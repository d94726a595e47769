"""DDPS as a paper of the workbook: what :class:`ddp_repro.protocols.paper.Paper` asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ddp_repro.papers.ddps import recipes as ddps_recipes
from ddp_repro.papers.ddps.recipes import ARMS, Arm
from ddp_repro.papers.ddps.settings import settings_of
from ddp_repro.protocols.paper import Paper, Samples
from ddp_repro.settings.recipe import Recipe

POINTS = 0.3  # of mIoU and mBIoU: the sampling noise of a published single run is of this order
OFFICIAL_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
BACKBONES = {
    "segformer_b0": "MiT-B0", "segformer_b2": "MiT-B2", "segformer_b5": "MiT-B5", "deeplabv3plus_r50": "ResNet-50",
    "deeplabv3plus_r101": "ResNet-101", "deeplabv3plus_mobilenet_v2": "MobileNetV2",
}  # fmt: skip


class DDPSPaper(Paper):
    """DDPS: its recipes, tables, figures and rules.  Heavy parts are imported when they are used."""

    name = "ddps"
    title = "Denoising Diffusion Semantic Segmentation with Mask Prior Modeling"
    citation = "Lai et al., 2023, arXiv:2306.01721"

    @property
    def released(self) -> tuple[str, ...]:
        from ddp_repro.papers.ddps.released import FOLDERS

        return tuple(FOLDERS)

    @property
    def tables(self) -> Mapping[str, Callable[..., Any]]:
        from ddp_repro.papers.ddps.results.claims import claims_table
        from ddp_repro.papers.ddps.results.tables import arms_table, check_table

        return {"ddps_arms": arms_table, "ddps_map_use": check_table, "ddps_claims": claims_table}

    @property
    def analyses(self) -> Mapping[str, Callable[..., Any]]:
        from ddp_repro.papers.ddps.results import analyses

        return {"samplers": analyses.samplers, "speed": analyses.speed, "map_use": analyses.map_use}

    @property
    def figures(self) -> Mapping[str, Callable[..., Any]]:
        """How each figure is drawn, by its name: of (preset, output)."""
        from ddp_repro.papers.ddps.results.pages import FIGURES

        return FIGURES

    def claims(self, preset: str) -> Sequence[Sequence[Any]]:
        from ddp_repro.papers.ddps.results.claims import claims

        return claims(preset)

    def evidence(self, preset: str, output: str | Path) -> Any:
        from ddp_repro.workbook.claims.evidence import Evidence

        return Evidence(preset, output)

    def recipes(self, preset: str) -> dict[str, Recipe]:
        return ddps_recipes.recipes(preset)

    def stages(self, preset: str, seeds: Sequence[int] = (0,), which: Sequence[Arm] = ARMS) -> list[list[Recipe]]:
        """Return what the findings train, stage by stage (:func:`ddp_repro.papers.ddps.recipes.stages`)."""
        return ddps_recipes.stages(preset, seeds, which)

    def main_model(self, preset: str) -> str | None:
        return ddps_recipes.main_model(preset)

    def row_label(self, recipe: Recipe, steps: int | None) -> str:
        if settings_of(recipe).stage == "single":
            return "DDPS, one step"
        return "DDPS" if steps is None else f"DDPS ({_visited(recipe, steps)} steps)"

    def identifying(self, recipe: Recipe) -> dict[str, str]:
        """Return what identifies a recipe's row in the printed tables, by their column."""
        segmentor = settings_of(recipe).segmentor
        return {"backbone": BACKBONES.get(segmentor) or segmentor.partition(":")[2]}

    def samples(self, recipe: Recipe) -> Samples | None:
        from ddp_repro.papers.ddps.results import samples

        return Samples(samples.save_refinement, samples.FILE)

    def count(self, recipe: Recipe, size: tuple[int, int], steps: int, printed: float | None = None) -> Any | None:
        from ddp_repro.papers.ddps.results.costs import count_ours

        return count_ours(settings_of(recipe), size, steps)

    def printed_columns(self, recipe: Recipe) -> list[tuple[str, str]]:
        evaluation = recipe.evaluation
        if evaluation.scales == (1.0,) and not evaluation.flip:
            return [("miou", "miou"), *([("mbiou", "mbiou")] if evaluation.boundary else [])]
        return [("miou_ms", "miou")] if evaluation.scales == OFFICIAL_SCALES and evaluation.flip else []

    def is_papers_setting(self, recipe: Recipe) -> bool:
        official = ddps_recipes.recipes("paper").get(recipe.name)
        if official is None or recipe.model != official.model:  # a variant of the user's own
            return False
        return all(
            getattr(recipe.data, n) == getattr(official.data, n) for n in ("dataset", "eval_split", "image_scale")
        )

    def tolerance(self, column: str) -> float:
        return POINTS

    def official_checkpoint(self, name: str) -> Path:
        from ddp_repro.papers.ddps.released import official_checkpoint

        return official_checkpoint(name)

    def official_place(self, name: str) -> tuple[str, bool]:
        from ddp_repro.papers.ddps.released import official_place

        return official_place(name)

    def check_bench(self, recipe: Recipe, options: Mapping[str, Any]) -> None:
        from ddp_repro.papers.ddps.results.bench import check_options

        check_options(recipe, options)

    def bench(self, recipe: Recipe, options: dict[str, Any], device: str, output: str) -> Iterator[str]:
        from ddp_repro.papers.ddps.results.bench import run_bench

        return run_bench(recipe, options, device, output)

    def table_notes(self, recipes: list[Recipe]) -> tuple[str, ...]:
        """Return how the numbers of these recipes come about, where a reader of a table must know."""
        from ddp_repro.papers.ddps.results.tables import notes

        return notes(recipes)

    def render(self, preset: str, output: str | Path) -> list[Path]:
        from ddp_repro.papers.ddps.results.pages import rerender

        return rerender(preset, output)


def _visited(recipe: Recipe, steps: int) -> int:
    from ddp_repro.diffusion.discrete import visited_steps

    return len(visited_steps(settings_of(recipe).levels, steps))


PAPER = DDPSPaper()
