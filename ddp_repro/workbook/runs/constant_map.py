"""The best constant map of every class, scored and kept beside the record of a BEV model that must beat it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddp_repro.evaluation.measure import json_ready
from ddp_repro.settings.recipe import Recipe
from ddp_repro.store.atomic import write_atomically
from ddp_repro.store.paths import resolve, run_folder, working_root
from ddp_repro.store.work import Current, Work
from ddp_repro.tasks.bev.score import BEVScore, bev_score
from ddp_repro.workbook.runs import provenance
from ddp_repro.workbook.runs.records import read_dataclass
from ddp_repro.workbook.runs.works import constant_work

FILE = "constant_map.json"
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class ConstantMap:
    """``training`` and ``dataset`` are the fingerprints of the samples it was made from and of those scored."""

    training: str
    dataset: str
    samples: int
    code: provenance.Code
    score: BEVScore
    work: Work | None = None  # None: from before this was written down


def score_constant_map(recipe: Recipe, output: str | Path = "results") -> ConstantMap:
    """Score the constant map for a recipe's evaluation, unless that is done; draws every training map.

    Raises:
        DataError: a missing index, or missing or damaged maps.
    """
    from ddp_repro.tasks.bev.constant import evaluate_constant_map
    from ddp_repro.tasks.build import build_dataset

    neutral: dict[str, Any] = {"mean": (0, 0, 0), "std": (1, 1, 1)}
    with contextlib.chdir(working_root()):
        train = build_dataset(recipe.data, recipe.data.train_split, train=True, **neutral)
        dataset = build_dataset(recipe.data, recipe.data.eval_split, train=False, **neutral)
        samples = min(len(dataset), recipe.evaluation.limit or len(dataset))
        now = constant_work(recipe, "ddp_repro.tasks.bev.constant", train.fingerprint(), dataset.fingerprint())
        before = load_constant_map(recipe.name, recipe.preset, output)
        if before and before.work and isinstance(before.work.same(now), Current):
            return before
        counts = evaluate_constant_map(train, dataset, recipe.evaluation)
    made = ConstantMap(
        training=train.fingerprint(), dataset=dataset.fingerprint(), samples=samples, code=provenance.code(),
        score=bev_score(0, None, counts), work=now,
    )  # fmt: skip
    text = json.dumps({"schema": SCHEMA} | json_ready(dataclasses.asdict(made)), indent=1) + "\n"
    write_atomically(run_folder(output, recipe.preset, recipe.name) / FILE, text.encode())
    return made


def load_constant_map(name: str, preset: str, output: str | Path = "results") -> ConstantMap | None:
    """Return what :func:`score_constant_map` left for a recipe; None where it was not asked for.

    Raises:
        RecordError: the file is damaged.
    """
    path = resolve(output) / preset / "runs" / name / FILE
    return read_dataclass(ConstantMap, path, SCHEMA) if path.is_file() else None
