"""DDP as a paper of the workbook: what :class:`ddp_repro.protocols.paper.Paper` asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddp_repro.papers.ddp.bev.settings import BEVConfig
from ddp_repro.papers.ddp.recipes import registry, variants
from ddp_repro.papers.ddp.recipes.bev import MODALITIES
from ddp_repro.papers.ddp.settings import picture_settings
from ddp_repro.protocols.paper import Paper, Samples
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import Recipe

if TYPE_CHECKING:
    from ddp_repro.workbook.claims.claim import Claim
    from ddp_repro.workbook.claims.evidence import Evidence

# By column.  mIoU points: the sampling noise of a published single run is of this order.  Depth: one or two units of
# the last printed digit but one.
TOLERANCES = {"delta1": 0.003, "rel": 0.002, "rmse": 0.03, "rmse_log": 0.003, "log10": 0.002}
POINTS = 0.3  # of everything in percent
OFFICIAL_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
BEV_BENCH = {"size": "512", "steps": "1,3", "batch": 1, "backend": None, "stages_only": False}
DEPTH_COLUMNS = ("delta1", "rel", "rmse", "rmse_log", "log10")
BEV_COLUMNS = ("miou", "drivable", "ped_crossing", "walkway", "stop_line", "carpark", "divider")
# Data settings that decide whether a run is the paper's, by task.
PAPERS_DATA = {
    "bev": ("dataset", "version", "eval_split", "image_size", "test_resize", "sweeps", "map_range", "map_cell"),
    "segmentation": ("dataset", "eval_split", "image_scale"),
    "depth": ("dataset", "eval_split", "image_scale"),
}


class DDPPaper(Paper):
    """DDP: its recipes, tables and rules.  Heavy parts are imported when they are used."""

    name = "ddp"
    title = "DDP: Diffusion Model for Dense Visual Prediction"
    citation = "Ji et al., ICCV 2023, arXiv:2303.17559"
    exports = "DDP's diffusion models for segmentation and depth, sampled by DDIM"

    @property
    def released(self) -> tuple[str, ...]:
        from ddp_repro.papers.ddp.checkpoints import RELEASE

        return tuple(RELEASE.files)

    @property
    def tables(self) -> Mapping[str, Callable[..., Any]]:
        from ddp_repro.papers.ddp.claims import claims_table
        from ddp_repro.papers.ddp.tables.ablations import MAKERS
        from ddp_repro.papers.ddp.tables.gain import gain_table

        return {**MAKERS, "ddp_claims": claims_table, "ddp_gain": gain_table}

    @property
    def analyses(self) -> Mapping[str, Callable[..., Any]]:
        from ddp_repro.papers.ddp import analyses

        names = (
            "sweep", "drift", "uncertainty", "depth_uncertainty", "bev_uncertainty", "speed", "robustness", "map_use",
            "gain",
        )  # fmt: skip
        return {name: getattr(analyses, name) for name in names}

    def recipes(self, preset: str) -> dict[str, Recipe]:
        return registry.recipes(preset)

    def claims(self, preset: str) -> Sequence[Sequence[Claim]]:
        from ddp_repro.papers.ddp.claims import claims

        return claims(preset)

    def evidence(self, preset: str, output: str | Path) -> Evidence:
        from ddp_repro.papers.ddp.claims import evidence_of

        return evidence_of(preset, output)

    def watch(self, model: Any, batch: dict[str, Any]) -> Mapping[str, float]:
        """Return what the training log says of the map: the loss with the true one, another image's, none and noise."""
        from ddp_repro.papers.ddp.diagnostics.map_use import map_losses

        return map_losses(model, batch) if model.config.diffusion and len(next(iter(batch.values()))) > 1 else {}

    def main_model(self, preset: str) -> str | None:
        return registry.main_model(preset)

    def variant(self, recipe: Recipe, field: str, value: Any) -> Recipe:
        return variants.ablation(recipe, field, value)

    def row_label(self, recipe: Recipe, steps: int | None) -> str:
        if not recipe.model.diffusion:
            return "Non-diffusion Baseline"
        return "DDP" if steps is None else f"DDP (step {steps})"

    def identifying(self, recipe: Recipe) -> dict[str, str]:
        """Return what identifies a recipe's row in the printed tables, by their column."""
        if isinstance(recipe.model, BEVConfig):
            return {"modality": MODALITIES[recipe.model.sensors]}
        return {"backbone": picture_settings(recipe).backbone.partition(".")[0]}

    def samples(self, recipe: Recipe) -> Samples | None:
        if not recipe.model.diffusion:
            return None
        from ddp_repro.papers.ddp.samples import bev, depth, segmentation

        return {
            "segmentation": Samples(segmentation.save_trajectory, segmentation.FILE),
            "depth": Samples(depth.save_depth_samples, depth.FILE),
            "bev": Samples(bev.save_bev_samples, bev.FILE),
        }[recipe.model.task]

    def count(self, recipe: Recipe, size: tuple[int, int], steps: int, printed: float | None = None) -> Any | None:
        if recipe.model.task == "bev":  # whose cost is not of one picture
            return None
        from ddp_repro.papers.ddp.costs.complexity import count_ours

        return count_ours(picture_settings(recipe), size, steps, printed)

    def printed_columns(self, recipe: Recipe) -> list[tuple[str, str]]:
        evaluation = recipe.evaluation
        if recipe.model.task == "bev":
            return [(name, name) for name in BEV_COLUMNS]
        if recipe.model.task == "depth":
            official = registry.recipes("paper")[recipe.name].evaluation
            same = all(getattr(evaluation, f) == getattr(official, f) for f in ("protocol", "flip", "scales"))
            return [(name, name) for name in DEPTH_COLUMNS] if same else []
        if evaluation.scales == (1.0,) and not evaluation.flip:
            return [("miou", "miou")]
        return [("miou_ms", "miou")] if evaluation.scales == OFFICIAL_SCALES and evaluation.flip else []

    def is_papers_setting(self, recipe: Recipe) -> bool:
        official = registry.recipes("paper").get(recipe.name)
        if official is None or recipe.model != official.model:  # a variant of the user's own
            return False
        names = PAPERS_DATA[recipe.model.task]
        return all(getattr(recipe.data, name) == getattr(official.data, name) for name in names)

    def tolerance(self, column: str) -> float:
        return TOLERANCES.get(column, POINTS)

    def official_checkpoint(self, name: str) -> Path:
        from ddp_repro.papers.ddp.checkpoints import RELEASE

        return RELEASE.checkpoint(name)

    def official_place(self, name: str) -> tuple[str, bool]:
        from ddp_repro.papers.ddp.checkpoints import RELEASE

        return RELEASE.place(name)

    def check_bench(self, recipe: Recipe, options: Mapping[str, Any]) -> None:
        changed = [name for name, value in BEV_BENCH.items() if options[name] != value]
        if recipe.model.task == "bev" and changed:
            raise ConfigError(
                f"{recipe.name} is measured at its own size; only --dtype, --repetitions, --threads and --output apply"
            )

    def bench(self, recipe: Recipe, options: dict[str, Any], device: str, output: str) -> Iterator[str]:
        from ddp_repro.papers.ddp.costs.command import bench_bev, bench_pictures

        if recipe.model.task == "bev":
            return bench_bev(recipe, options, output)
        return bench_pictures(recipe, options, device, output)

    def why_not_exported(self, recipe: Recipe) -> str | None:
        if isinstance(recipe.model, BEVConfig):
            return "a BEV model sees cameras and LiDAR, not one picture"
        model = picture_settings(recipe)
        if not model.diffusion:
            return "the baseline has no sampling steps"
        return None if model.sampler == "ddim" else f"the loop beside the graphs has no sampler {model.sampler}"

    def export(self, model: Any) -> Any:
        from ddp_repro.interop.export.parts import Exportable, encoder_and_step

        config = model.config
        metres = {"kind": "values", "low": config.min_depth, "high": config.max_depth, "unit": "m"}
        loop = ("schedule", "sampler", "time_difference", "scale", "average_steps")
        facts = {name: getattr(config, name) for name in loop} | {
            "map_channels": model.map_channels, "stride": model.stride,
            "output": {"segmentation": {"kind": "scores"}, "depth": metres}[config.task],
        }  # fmt: skip
        return Exportable(encoder_and_step(model), facts)

    def table_notes(self, recipes: list[Recipe]) -> tuple[str, ...]:
        """Return how the numbers of these recipes come about, where a reader of a table must know."""
        from ddp_repro.papers.ddp.tables.notes import notes

        return notes(recipes)

    def render(self, preset: str, output: str | Path) -> list[Path]:
        from ddp_repro.papers.ddp.pages import rerender

        return rerender(preset, output)


PAPER = DDPPaper()
