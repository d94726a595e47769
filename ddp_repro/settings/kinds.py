"""Settings of which there are several kinds, one a family of models or of data; stored ones say their ``kind``."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any, ClassVar, Self

from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.setting import Settings

# Kinds that were stored before a kind was: told apart by their fields.
UNNAMED = {"model": ("papers.ddp", "papers.ddp.bev"), "data": ("pictures", "tasks.bev")}


class KindSettings(Settings):
    """Base of frozen settings that stand in one field with others of their role.

    Attributes:
        role: the field of a recipe that they stand in.
        kind: the place of the module ``settings`` that holds them, below ``ddp_repro``; or any name of one's own.
    """

    role: ClassVar[str] = ""
    kind: ClassVar[str] = ""
    _known: ClassVar[dict[str, type]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" in cls.__dict__:
            cls._known[cls.kind] = cls

    @classmethod
    def known(cls) -> tuple[type[Self], ...]:
        """Return the classes of this role, those included that were stored before kinds were."""
        for kind in UNNAMED.get(cls.role, ()):
            cls.named(kind)
        return tuple(cls._known.values())

    @classmethod
    def named(cls, kind: str) -> type[Self]:
        """Return the settings class of a kind, imported where that has not been done.

        Raises:
            ConfigError: there is none; names those that are known.
        """
        if kind not in cls._known and all(part.isidentifier() for part in kind.split(".")):
            try:
                importlib.import_module(f"ddp_repro.{kind}.settings")
            except ModuleNotFoundError as error:
                if not (error.name or "").startswith("ddp_repro"):
                    raise
        if kind not in cls._known:
            raise ConfigError(f"unknown kind of settings {kind!r}; known: {', '.join(sorted(cls._known))}")
        return cls._known[kind]


class ModelSettings(KindSettings):
    """Base of the settings that describe a model; a paper has one for each family of its models.

    Attributes:
        paper: name of the paper that the model belongs to.
        builder: ``module:function`` that makes the model of these settings; imported when it is asked for.
        task: name of the task that the model is for.
        diffusion: whether predictions are sampled from noise.
    """

    role: ClassVar[str] = "model"
    _known: ClassVar[dict[str, type]] = {}
    paper: ClassVar[str]
    builder: ClassVar[str]
    task: Any
    diffusion: Any

    @property
    def predicts(self) -> bool:
        """Say whether the model predicts anything; False: it is a stage that gives others their weights."""
        return True

    def check_evaluation(self, evaluation: Any) -> None:
        """Refuse settings of an evaluation that the model cannot follow; most models can follow all.

        Raises:
            ConfigError: says which.
        """

    def build(self) -> Any:
        """Build the model, with initial weights (its backbone from scratch).

        Raises:
            ConfigError: an impossible combination of settings.
        """
        module, _, function = self.builder.partition(":")
        return getattr(importlib.import_module(module), function)(self)

    def modules(self) -> tuple[str, ...]:
        """Return the modules whose code makes and runs the model; by default the builder's."""
        return (self.builder.partition(":")[0],)

    def small(self) -> Self:
        """Return a model of the same family that runs in a moment, on which is tried what the code does.

        By default it is the model itself.
        """
        return self


class DataSettings(KindSettings):
    """Base of the settings that say where samples come from and how they are shaped.

    Attributes:
        places: the fields that are folders on this machine, or several folders.
        added: of a training on several datasets, the settings of those beyond the first, of each of which a share of
            the micro-batches is made, ``added_rates``.
    """

    role: ClassVar[str] = "data"
    places: ClassVar[tuple[str, ...]] = ("root",)
    _known: ClassVar[dict[str, type]] = {}
    dataset: Any
    root: str
    train_split: str
    eval_split: str

    @property
    def added_rates(self) -> tuple[float, ...]:
        """Return nothing: there is one dataset."""
        return ()

    @property
    def added(self) -> tuple[DataSettings, ...]:
        """Return nothing: there is one dataset."""
        return ()

    def placed(self, place: Callable[[str], str]) -> Self:
        """Return the settings with every folder replaced by ``place(folder)``."""
        folders = {name: getattr(self, name) for name in self.places}
        changes = {n: place(f) if isinstance(f, str) else tuple(map(place, f)) for n, f in folders.items()}
        return dataclasses.replace(self, **changes)
