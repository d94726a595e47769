"""The result record: one JSON file per run that holds everything a table or figure needs, and where it came from.

Scores of segmentation, BEV segmentation too, are in percent and those of depth as they are, as the paper prints them.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from ddp_repro.data.survey import Survey
from ddp_repro.evaluation.measure import json_ready, or_nan, spread
from ddp_repro.evaluation.score import Score
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.overrides import from_dict
from ddp_repro.settings.recipe import Recipe
from ddp_repro.store.atomic import write_atomically
from ddp_repro.store.paths import resolve
from ddp_repro.store.work import Work
from ddp_repro.workbook.catalogue import full_name
from ddp_repro.workbook.runs.provenance import Code, Environment

SCHEMA = 1
T = TypeVar("T")
Verdict = Literal["reproduced", "differs", "trend only", "not run"]


class RecordError(ValueError):
    """A record file that is not a record of this version of the workbook."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The images that were scored: ``images`` of the split's ``split_images``, and their content's fingerprint.

    Attributes:
        classes: none for depth.
        unannotated: images that the split lists, but that have no ground truth and are not among ``split_images``.
    """

    name: str
    split: str
    images: int
    split_images: int
    fingerprint: str
    classes: list[str]
    unannotated: int = 0


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The weights, and whether they are in our format (``ddp_repro``) or the authors' (``official``).

    Attributes:
        sha256: of the tensors; in records from before, of the whole file.
    """

    sha256: str
    origin: str
    file: str


@dataclass(frozen=True, kw_only=True)
class Training:
    """How the weights came to be; absent for a checkpoint trained elsewhere."""

    iterations: int
    wall_seconds: float
    fingerprint: str  # training images
    code_fingerprint: str
    processes: int | None = None  # that finished it; None: from before this was written down
    work: Work | None = None  # what it depends on; None: from before this was written down
    labels: list[Survey] | None = None  # of each dataset of training images; None: not counted


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One printed number beside the measured mean (both percent) and the tolerance it was judged with.

    Attributes:
        measured: None where it is undefined; the verdict then is "trend only".
    """

    column: str
    steps: int
    paper: float
    measured: float | None
    tolerance: float
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Record:
    """One finished run.

    Attributes:
        work: what the scores depend on, the training apart; None: a record from before this was written down.
        confirmed: the latest other code that was found to behave as that of the record.
        images_sha256: of the companion file ``images.npz`` (:mod:`ddp_repro.workbook.runs.companion`), which holds what
            each image added to the scores; None in records from before there was one.
    """

    recipe: dict[str, Any]
    scores: list[Score]
    dataset: Dataset
    checkpoint: Checkpoint
    training: Training | None
    code: Code
    environment: Environment
    wall_seconds: float  # of the evaluation
    comparisons: list[Comparison]
    verdict: Verdict
    work: Work | None = None
    confirmed: Code | None = None
    images_sha256: str | None = None

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.recipe["name"]

    @property
    def run(self) -> str:
        """The name of the record's folder."""
        return run_name(self.recipe)

    @property
    def preset(self) -> str:
        """The preset of the recipe."""
        return self.recipe["preset"]

    @property
    def table(self) -> str:
        """The full name of the table that the recipe belongs to; records of version 0.1 leave the paper out."""
        return full_name(self.recipe["table"])

    @property
    def steps(self) -> list[int]:
        """The numbers of sampling steps that were scored."""
        return sorted({score.steps for score in self.scores})

    @property
    def seeds(self) -> list[int]:
        """The sampling seeds that were scored."""
        return sorted({score.seed for score in self.scores if score.seed is not None})

    @property
    def metrics(self) -> list[str]:
        """The measures that every score has, the most important first."""
        return list(self.scores[0].measures())

    def values(self, steps: int, metric: str | None = None) -> list[float]:
        """Return a measure (by default the first) of each seed at ``steps``, NaN where undefined."""
        name = metric or self.metrics[0]
        scores = [score for score in self.scores if score.steps == steps and name in score.measures()]
        return [or_nan(getattr(score, name)) for score in scores]

    def settings(self) -> Recipe:
        """Return the recipe as an object."""
        return from_dict(Recipe, self.recipe)


def task_of(recipe: dict[str, Any]) -> str:
    """Return the name of the task of a stored recipe."""
    return recipe["model"].get("task", "segmentation")


def run_name(recipe: dict[str, Any]) -> str:
    """``<recipe>``, or ``<recipe>-ms`` for a multi-scale or flip test: a second record of the same weights.

    For depth the flip test is the usual one.
    """
    evaluation = recipe["evaluation"]
    flip = evaluation["flip"] and not task_named(task_of(recipe)).flips_by_default
    multi_scale = flip or evaluation["scales"] != [1.0]
    return recipe["name"] + ("-ms" if multi_scale else "")


def save_record(record: Record, path: Path) -> None:
    """Write ``record`` as JSON, atomically: a run that dies leaves the former record as it was.

    What is undefined (None or NaN) is written as null.

    Raises:
        OSError: the folder cannot be written.
    """
    values = json_ready({"schema": SCHEMA} | dataclasses.asdict(record))
    values["summary"] = json_ready(_summary(record))  # derived; for people who read the file
    text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, text.encode())


def load_record(path: Path) -> Record:
    """Read a record.

    Raises:
        RecordError: not JSON, another schema, or a missing, unknown or mistyped field; names the file and the field.
        FileNotFoundError: there is no such file.
    """
    return read_dataclass(Record, path, SCHEMA, _score_type)


def read_dataclass(
    kind: type[T], path: Path, schema: int, classes: Callable[[dict[str, Any]], dict[type, type]] = lambda _: {},
    renamed: Mapping[str, str] | None = None,
) -> T:  # fmt: skip
    """Read a JSON file into a dataclass, checking every field; a derived ``summary`` in it is left out.

    Args:
        classes: from the values to the classes that stand for declared ones.
        renamed: today's names of fields by their earlier ones.

    Raises:
        RecordError: as :func:`load_record`.
        FileNotFoundError: there is no such file.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecordError(f"{path} is not a JSON file ({error}); delete it and run again") from None
    stored = values.pop("schema", None) if isinstance(values, dict) else None
    if isinstance(stored, int) and stored > schema:
        raise RecordError(
            f"{path} has schema {stored}, of a later version of ddp_repro; this one reads {schema}: update ddp_repro"
        )
    if stored != schema:
        raise RecordError(f"{path}: field 'schema' is not {schema}; written by another version, run again")
    values.pop("summary", None)
    for earlier, today in (renamed or {}).items():
        if earlier in values:
            values[today] = values.pop(earlier)
    try:
        return _build(kind, values, "", classes(values))
    except RecordError as error:
        raise RecordError(f"{path}: {error}") from None


def _score_type(values: dict[str, Any]) -> dict[type, type]:
    """Return what the scores of a stored record are: those of its recipe's task."""
    try:
        return {Score: task_named(task_of(values["recipe"])).score_type}
    except (KeyError, TypeError, AttributeError, ConfigError):
        raise RecordError("field 'recipe' does not say which task the scores are of") from None


def find_records(preset: str, output: str | Path = "results") -> list[Record]:
    """Every finished run of a preset, by name."""
    return [load_record(path) for path in sorted((resolve(output) / preset / "runs").glob("*/record.json"))]


def _summary(record: Record) -> list[dict[str, Any]]:
    rows = []
    for steps in record.steps:
        row: dict[str, Any] = {"steps": steps, "seeds": len(record.values(steps))}
        for metric in record.metrics:
            mean, std = spread(record.values(steps, metric))
            row |= {f"{metric}_mean": mean, f"{metric}_std": std}
        rows.append(row)
    return rows


def _build(hint: Any, value: Any, where: str, classes: dict[type, type]) -> Any:
    """``value`` as the declared type ``hint``, or an error that names the field."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return _build_union([a for a in arguments if a is not type(None)], value, where, classes)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _build_fields(classes.get(hint, hint), value, where, classes)
    if origin in (list, tuple):  # JSON has no tuples
        _expect(value, list, where)
        return origin(_build(arguments[0], item, f"{where}[{i}]", classes) for i, item in enumerate(value))
    if origin is Literal:
        if value not in arguments:
            raise RecordError(f"field {where!r} must be one of {', '.join(arguments)}; got {value!r}")
        return value
    _expect(value, origin or hint, where)
    return value


def _build_union(kinds: list[Any], value: Any, where: str, classes: dict[type, type]) -> Any:
    """``value`` as the one of several types whose fields it shares most of."""
    return (
        None
        if value is None
        else _build(max(kinds, key=lambda kind: _shared_fields(kind, value)), value, where, classes)
    )


def _shared_fields(kind: Any, value: Any) -> int:
    """How many keys of a mapping, or of the mappings in a list, are fields of the dataclass ``kind``."""
    if isinstance(value, list) and typing.get_origin(kind) is list:
        return sum(_shared_fields(typing.get_args(kind)[0], item) for item in value)
    names = {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set()
    return len(names & value.keys()) if isinstance(value, dict) else 0


def _build_fields(kind: type, value: Any, where: str, classes: dict[type, type]) -> Any:
    _expect(value, dict, where or "the record")
    hints = typing.get_type_hints(kind)
    prefix = f"{where}." if where else ""
    for field in dataclasses.fields(kind):
        if field.name not in value and field.default is dataclasses.MISSING:
            raise RecordError(f"field {prefix + field.name!r} is missing")
    for name in value:
        if name not in hints:
            raise RecordError(f"field {prefix + name!r} is unknown")
    if issubclass(kind, Score):  # a measure may be undefined, whether or not a task's own class of scores says so
        hints = {name: hint | None if hint is float else hint for name, hint in hints.items()}
    return kind(**{name: _build(hints[name], value[name], prefix + name, classes) for name in value})


def _expect(value: Any, kind: type, where: str) -> None:
    number = kind is float and isinstance(value, (int, float)) and math.isfinite(value)
    if (isinstance(value, bool) and kind is not bool) or not (number or isinstance(value, kind)):
        raise RecordError(f"field {where!r} must be of type {kind.__name__}; got {value!r:.60}")
