"""The constant prediction that a task's models must beat, scored and kept beside the record of one that must."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddp_repro.evaluation.measure import json_ready
from ddp_repro.evaluation.score import Score
from ddp_repro.protocols.registry import task_named
from ddp_repro.protocols.task import Constant, Task
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import Recipe
from ddp_repro.store.atomic import write_atomically
from ddp_repro.store.paths import run_folder, working_root
from ddp_repro.store.work import Current, Work
from ddp_repro.tasks.build import build_dataset
from ddp_repro.workbook.runs import provenance
from ddp_repro.workbook.runs.records import read_dataclass
from ddp_repro.workbook.runs.training import source_of
from ddp_repro.workbook.runs.works import constant_work

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class ConstantScore:
    """``training`` and ``dataset`` are the fingerprints of the images it was made from and of those scored."""

    training: str
    dataset: str
    images: int
    protocol: str | None = None
    code: provenance.Code
    score: Score
    work: Work | None = None  # None: from before this was written down


def score_constant(recipe: Recipe, output: str | Path = "results", constant: Constant | None = None) -> ConstantScore:
    """Score the constant of a recipe's task for its evaluation, unless that is done; reads every training image.

    Of a recipe that is evaluated as another one left it, the other's training images count.

    Args:
        constant: instead of the task's.

    Raises:
        ConfigError: the task has no constant.
        DataError: missing or damaged images.
    """
    task = task_named(recipe.model.task)
    constant = constant or task.constant
    if constant is None:
        raise ConfigError(f"{recipe.name}: the task {task.name} has no constant that its models must beat")
    learnt = source_of(recipe) if recipe.weights_of else recipe
    neutral: dict[str, Any] = {"mean": (0, 0, 0), "std": (1, 1, 1)}
    with contextlib.chdir(working_root()):
        train = build_dataset(learnt.data, learnt.data.train_split, train=True, **neutral)
        dataset = build_dataset(recipe.data, recipe.data.eval_split, train=False, **neutral)
        images = min(len(dataset), recipe.evaluation.limit or len(dataset))
        now = constant_work(recipe, constant.evaluate.__module__, train.fingerprint(), dataset.fingerprint())
        before = load_constant(task, recipe.name, recipe.preset, output, constant)
        if before and before.work and isinstance(before.work.same(now), Current):
            return before
        tally = constant.evaluate(train, dataset, recipe.evaluation)
    scored = ConstantScore(
        training=train.fingerprint(), dataset=dataset.fingerprint(), images=images,
        protocol=recipe.evaluation.protocol, code=provenance.code(), score=task.score(0, None, tally), work=now,
    )  # fmt: skip
    text = json.dumps({"schema": SCHEMA} | json_ready(dataclasses.asdict(scored)), indent=1) + "\n"
    write_atomically(run_folder(output, recipe.preset, recipe.name) / constant.file, text.encode())
    return scored


def load_constant(
    task: Task, name: str, preset: str, output: str | Path = "results", constant: Constant | None = None
) -> ConstantScore | None:
    """Return what :func:`score_constant` left for a recipe of a task; None where it was not asked for.

    Raises:
        RecordError: the file is damaged.
    """
    constant = constant or task.constant
    if constant is None:
        return None
    path = run_folder(output, preset, name) / constant.file
    if not path.is_file():
        return None
    earlier = {"samples": "images"}  # what version 0.1 called it for BEV
    return read_dataclass(ConstantScore, path, SCHEMA, lambda _: {Score: task.score_type}, renamed=earlier)
