"""The mean depth map of the training images, scored and kept beside the record of a model that must beat it."""

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
from ddp_repro.tasks.depth.score import DepthScore
from ddp_repro.workbook.runs import provenance
from ddp_repro.workbook.runs.records import read_dataclass
from ddp_repro.workbook.runs.works import constant_work

FILE = "mean_depth.json"
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class MeanDepth:
    """``training`` and ``dataset`` are the fingerprints of the images averaged and of those scored."""

    training: str
    dataset: str
    images: int
    protocol: str
    code: provenance.Code
    score: DepthScore
    work: Work | None = None  # None: from before this was written down


def score_mean_depth(recipe: Recipe, output: str | Path = "results") -> MeanDepth:
    """Score the constant map for a recipe's evaluation, unless that is done; reads every training image.

    Of a recipe that is evaluated as another one left it, the other's training images are averaged.

    Raises:
        DataError: missing or damaged images.
    """
    from ddp_repro.tasks.build import build_dataset
    from ddp_repro.tasks.depth.constant import evaluate_mean_depth
    from ddp_repro.workbook.runs.training import source_of

    learnt = source_of(recipe) if recipe.weights_of else recipe
    neutral: dict[str, Any] = {"mean": (0, 0, 0), "std": (1, 1, 1)}
    with contextlib.chdir(working_root()):
        train = build_dataset(learnt.data, learnt.data.train_split, train=True, **neutral)
        dataset = build_dataset(recipe.data, recipe.data.eval_split, train=False, **neutral)
        images = min(len(dataset), recipe.evaluation.limit or len(dataset))
        now = constant_work(recipe, "ddp_repro.tasks.depth.constant", train.fingerprint(), dataset.fingerprint())
        before = load_mean_depth(recipe.name, recipe.preset, output)
        if before and before.work and isinstance(before.work.same(now), Current):
            return before
        errors: dict[str, Any] = evaluate_mean_depth(train, dataset, recipe.evaluation).to_dict()
    made = MeanDepth(
        training=train.fingerprint(), dataset=dataset.fingerprint(), images=images,
        protocol=str(recipe.evaluation.protocol), code=provenance.code(), work=now,
        score=DepthScore(steps=0, seed=None, **errors),
    )  # fmt: skip
    text = json.dumps({"schema": SCHEMA} | json_ready(dataclasses.asdict(made)), indent=1) + "\n"
    write_atomically(run_folder(output, recipe.preset, recipe.name) / FILE, text.encode())
    return made


def load_mean_depth(name: str, preset: str, output: str | Path = "results") -> MeanDepth | None:
    """Return what :func:`score_mean_depth` left for a recipe; None where it was not asked for.

    Raises:
        RecordError: the file is damaged.
    """
    path = resolve(output) / preset / "runs" / name / FILE
    return read_dataclass(MeanDepth, path, SCHEMA) if path.is_file() else None
