"""What a paper must bring; :mod:`ddp_repro.papers.ddp.paper` is an example."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from ddp_repro.settings.errors import CheckpointError, ConfigError
from ddp_repro.settings.overrides import override
from ddp_repro.settings.recipe import Recipe
from ddp_repro.settings.training_seeds import seeded


class Samples(NamedTuple):
    """What figures need of a few images: who writes it, into which file beside the record."""

    save: Callable[[Any, Any, Recipe, Path], None]
    file: str


class Paper(Protocol):
    """A paper: its recipes, what it prints, and how what is measured here is shown beside it.

    Attributes:
        name: of its folder, and of its models' settings (``ModelSettings.paper``).
        released: names of the recipes whose weights its authors published.
        synthetic: folders of rendered scenes that its recipes learn from, beyond those of ``mini``, each with the
            arguments of ``data_prep.mini.write_mini``.
        exports: in words, which of its models ``ddp-repro export`` can write as graphs; empty: none.
    """

    name: str
    title: str
    citation: str
    released: Sequence[str] = ()
    synthetic: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    exports: str = ""

    @property
    def printed(self) -> Path:
        """Return the folder of the printed numbers, ``<table>.json``: by default beside the paper's module."""
        return Path(inspect.getfile(type(self))).with_name("printed")

    @property
    def tables(self) -> Mapping[str, Callable[..., Any]]:
        """Tables beyond the printed ones, by name: made of (preset, output)."""
        return {}

    @property
    def analyses(self) -> Mapping[str, Callable[..., Any]]:
        """What is measured on finished weights beyond scores, by name: called with a subject."""
        return {}

    def claims(self, preset: str) -> Sequence[Sequence[Any]]:
        """Return the paper's claims: for each, a :class:`ddp_repro.workbook.claims.claim.Claim` for every model that it
        may be judged on; none by default.
        """
        return ()

    def evidence(self, preset: str, output: str | Path) -> Any:
        """Return what has been measured on them, a :class:`ddp_repro.workbook.claims.evidence.Evidence`.

        Raises:
            ConfigError: the paper asks nothing.
        """
        raise ConfigError(f"the paper {self.name} has no questions to decide")

    @abstractmethod
    def recipes(self, preset: str) -> dict[str, Recipe]:
        """Return the recipes of a preset by name; empty where there are none."""
        ...

    def main_model(self, preset: str) -> str | None:
        """Return the recipe that figures of one model show; None where there is none."""
        return None

    def seeded(self, recipe: Recipe, seed: int) -> Recipe:
        """Return a recipe's training from another seed; by default, the stages before it are of that seed too."""
        return seeded(recipe, seed)

    def variant(self, recipe: Recipe, field: str, value: Any) -> Recipe:
        """Return the recipe of a printed row that varies one setting of another."""
        return override(recipe, {field: value})

    def row_label(self, recipe: Recipe, steps: int | None) -> str:
        """Return how a run of a recipe is called in a table, e.g. ``DDP (step 3)``; without ``steps``, the method."""
        return recipe.row or recipe.name

    def identifying(self, recipe: Recipe) -> dict[str, str]:
        """Return what identifies a recipe's row in the printed tables, by their column."""
        return {}

    def check_bench(self, recipe: Recipe, options: Mapping[str, Any]) -> None:
        """Refuse options of ``bench`` that do not apply to a recipe.

        Raises:
            ConfigError: names those that do.
        """
        raise ConfigError(f"{recipe.name}: the paper {self.name} has no bench")

    def bench(self, recipe: Recipe, options: dict[str, Any], device: str, output: str) -> Iterator[str]:
        """Time a recipe's model, write the record, and yield what is printed."""
        self.check_bench(recipe, options)
        yield from ()

    def why_not_exported(self, recipe: Recipe) -> str | None:
        """Return why a recipe's model cannot be exported as graphs; None: it can."""
        return f"the paper {self.name} has no graphs"

    def export(self, model: Any) -> Any:
        """Return what becomes graphs of a model, a :class:`ddp_repro.interop.export.parts.Exportable`.

        Raises:
            ConfigError: nothing does.
        """
        raise ConfigError(f"the paper {self.name} has no graphs")

    def table_notes(self, recipes: list[Recipe]) -> tuple[str, ...]:
        """Return how the numbers of these recipes come about, where a reader of a table must know."""
        return ()

    def samples(self, recipe: Recipe) -> Samples | None:
        """Return what is kept of a few images beside a recipe's record; None: nothing."""
        return None

    def count(self, recipe: Recipe, size: tuple[int, int], steps: int, printed: float | None = None) -> Any | None:
        """Count parameters and MACs of a recipe's model at (height, width); None: not counted by the picture."""
        return None

    def printed_columns(self, recipe: Recipe) -> list[tuple[str, str]]:
        """Return the printed columns that a recipe's settings may be held against, with our measures' names."""
        return []

    def is_papers_setting(self, recipe: Recipe) -> bool:
        """Return whether model and data settings are those of the paper's own configuration."""
        return False

    def tolerance(self, column: str) -> float:
        """Return the least difference from a printed number of a column that counts."""
        return 0.0

    def official_checkpoint(self, name: str) -> Path:
        """Return the authors' weights of a recipe, downloaded once.

        Raises:
            CheckpointError: there are none, or they cannot be had.
        """
        raise CheckpointError(f"{name}: the paper {self.name} knows of no weights of its authors")

    def official_place(self, name: str) -> tuple[str, bool]:
        """Return where the authors' weights of a released recipe are, and whether they have been downloaded."""
        raise NotImplementedError(f"{name}: the paper {self.name} does not say where its released weights are")

    def render(self, preset: str, output: str | Path) -> list[Path]:
        """Draw all tables and figures that records and analyses allow; returns their paths."""
        return []
