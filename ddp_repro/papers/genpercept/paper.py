"""GenPercept as a paper of the workbook: what :class:`ddp_repro.protocols.paper.Paper` asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from ddp_repro.papers.genpercept import pretraining, recipes
from ddp_repro.papers.genpercept.settings import GenPerceptConfig, ModelConfig
from ddp_repro.protocols.paper import Paper, Samples
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import DataConfig, Recipe
from ddp_repro.settings.training_seeds import seeded

# The name in the hub of each released model, by our recipe that trains it.
MODELS = {
    "genpercept_depth": "depth",
    "genpercept_disparity": "disparity",
    "genpercept_disparity_dpt": "disparity-dpt",
    "genpercept_normals": "normals",
    "genpercept_foreground": "foreground",
    "genpercept_matte": "matte",
}
# The same by every recipe that evaluates it.
RELEASED = MODELS | {
    recipe.name: MODELS[recipe.weights_of]
    for recipe in recipes.recipes("paper").values()
    if recipe.weights_of is not None
}
PIPELINE_NAMES = {"gaussian": "stochastic multi-step", "image": "deterministic multi-step"}


class GenPerceptPaper(Paper):
    """GenPercept: its recipes, tables and rules.  Heavy parts are imported when they are used."""

    name = "genpercept"
    title = "What Matters When Repurposing Diffusion Models for General Dense Perception Tasks?"
    citation = "Xu et al., ICLR 2025, arXiv:2403.06090"
    released = tuple(RELEASED)
    exports = "GenPercept's one-step models, as one graph"
    synthetic = pretraining.SYNTHETIC

    @property
    def tables(self) -> Mapping[str, Callable[..., Any]]:
        from ddp_repro.papers.genpercept.results.claims import claims_table
        from ddp_repro.papers.genpercept.results.table import pretraining_table
        from ddp_repro.papers.genpercept.tables.beside import TABLES
        from ddp_repro.papers.genpercept.tables.cost import table11

        return {
            **TABLES, "genpercept_table11": lambda preset, output="results": table11(),
            pretraining.TABLE: pretraining_table, "genpercept_claims": claims_table,
        }  # fmt: skip

    @property
    def analyses(self) -> Mapping[str, Callable[..., Any]]:
        return {}

    def recipes(self, preset: str) -> dict[str, Recipe]:
        return recipes.recipes(preset)

    def main_model(self, preset: str) -> str | None:
        return recipes.main_model(preset)

    def claims(self, preset: str) -> Sequence[Sequence[Any]]:
        from ddp_repro.papers.genpercept.results.claims import claims

        return claims(preset)

    def evidence(self, preset: str, output: str | Path) -> Any:
        from ddp_repro.workbook.claims.evidence import Evidence

        return Evidence(preset, output)

    def seeded(self, recipe: Recipe, seed: int) -> Recipe:
        return (
            pretraining.seeded_fine_tuning(recipe, seed) if recipe.table == pretraining.TABLE else seeded(recipe, seed)
        )

    def variant(self, recipe: Recipe, field: str, value: Any) -> Recipe:
        raise ConfigError(f"GenPercept's printed rows are recipes of their own; {recipe.name} has no variant {field}")

    def row_label(self, recipe: Recipe, steps: int | None) -> str:
        model = recipe.model
        if not model.diffusion:
            return "GenPercept"
        return f"{PIPELINE_NAMES[cast(GenPerceptConfig, model).noise]}" + ("" if steps is None else f" (step {steps})")

    def identifying(self, recipe: Recipe) -> dict[str, str]:
        return {}

    def samples(self, recipe: Recipe) -> Samples | None:
        return None

    def count(self, recipe: Recipe, size: tuple[int, int], steps: int, printed: float | None = None) -> Any | None:
        return None  # GenPercept's FLOPs are of whole pipelines: see papers/genpercept/costs/counts.py

    def printed_columns(self, recipe: Recipe) -> list[tuple[str, str]]:
        return []  # the printed numbers of a set stand in columns of its own: see papers.genpercept.tables.beside.py

    def is_papers_setting(self, recipe: Recipe) -> bool:
        official = self.recipes("paper").get(recipe.name)
        if official is None:
            return False
        ours, theirs = cast(DataConfig, recipe.data), cast(DataConfig, official.data)
        return (recipe.model, ours.dataset, ours.image_scale) == (official.model, theirs.dataset, theirs.image_scale)

    def tolerance(self, column: str) -> float:
        return 0.002 if column.endswith("rel") else 0.005

    def official_checkpoint(self, name: str) -> Path:
        from ddp_repro.papers.genpercept.weights.official import official_checkpoint

        return official_checkpoint(name, RELEASED)

    def official_place(self, name: str) -> tuple[str, bool]:
        from ddp_repro.papers.genpercept.weights.official import official_place

        return official_place(RELEASED[name])

    def check_bench(self, recipe: Recipe, options: Mapping[str, Any]) -> None:
        from ddp_repro.papers.genpercept.costs.records import check_options

        check_options(recipe, options)

    def bench(self, recipe: Recipe, options: dict[str, Any], device: str, output: str) -> Iterator[str]:
        from ddp_repro.papers.genpercept.costs.records import run_full_size
        from ddp_repro.papers.genpercept.tables.full_size import table_of
        from ddp_repro.workbook.tables.rendering import to_markdown

        return (to_markdown(table_of([record])) for record in run_full_size(recipe, options, device, output))

    def why_not_exported(self, recipe: Recipe) -> str | None:
        model = cast(ModelConfig, recipe.model)
        if not model.predicts:
            return "it is a stage that others begin from, and predicts nothing"
        if not model.one_step:
            return f"a pipeline of {model.steps} steps is no single graph"
        return None

    def export(self, model: Any) -> Any:
        from ddp_repro.papers.genpercept.graphs import one_graph

        return one_graph(model)

    def table_notes(self, recipes: list[Recipe]) -> tuple[str, ...]:
        from ddp_repro.papers.genpercept.tables.notes import notes

        return notes(recipes)

    def render(self, preset: str, output: str | Path) -> list[Path]:
        from ddp_repro.papers.genpercept.results.pages import render

        return render(preset, output)


PAPER = GenPerceptPaper()
