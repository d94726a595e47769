"""One run from recipe to record: prepare the mini data, train if needed, evaluate, write down the result.

Equal work (same recipe, code and data) is never done twice.  A changed recipe is refused unless ``overwrite`` allows
replacing what is there; settings of the evaluation alone never cause a new training.  All relative paths of a recipe
start from the clone (see :mod:`ddp_repro.store.paths`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import torch

from ddp_repro.data.dataset import PairDataset
from ddp_repro.data.survey import Survey
from ddp_repro.evaluation.evaluate import check_evaluation, evaluate_model
from ddp_repro.evaluation.processes import rank_and_world
from ddp_repro.evaluation.result import EvaluationResult
from ddp_repro.interop.checkpoints import load_checkpoint
from ddp_repro.protocols.method import Method
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.overrides import override, parse_overrides
from ddp_repro.settings.recipe import Recipe
from ddp_repro.settings.training_seeds import split_seed
from ddp_repro.store.paths import resolve, run_folder, working_root
from ddp_repro.store.work import Changed, Current, Work
from ddp_repro.tasks.build import build_dataset
from ddp_repro.training import TrainResult
from ddp_repro.workbook.catalogue import full_name, paper_of, recipe_names
from ddp_repro.workbook.catalogue import recipe as named_recipe
from ddp_repro.workbook.runs import companion, provenance, records
from ddp_repro.workbook.runs import training as trainings
from ddp_repro.workbook.runs.records import Record, load_record, save_record
from ddp_repro.workbook.runs.samples import missing_samples, save_samples
from ddp_repro.workbook.runs.training import (
    current_inputs,
    decided_by_main,
    differences,
    say,
    source_of,
    train,
    workplace,
)
from ddp_repro.workbook.runs.verdicts import compare, overall
from ddp_repro.workbook.runs.weights import chosen_weights, given_weights, half_weights, is_lent, scored_weights
from ddp_repro.workbook.runs.works import OURS, scores_work

__all__ = ["evaluate", "evaluation_dataset", "run", "run_table", "train", "trained_model", "training_dataset"]


def run(
    recipe: Recipe,
    *,
    checkpoint: str | Path | None = None,
    output: str | Path = "results",
    overwrite: bool = False,
    progress: bool = True,
) -> Record:
    """Everything a recipe stands for, down to its record in ``<output>/<preset>/runs/<name>/record.json``.

    A multi-scale evaluation has a record of its own, in ``<name>-ms``, of the same weights.

    Args:
        checkpoint: weights to evaluate instead of training: a file, or ``official`` for the authors'.
        overwrite: allows replacing a finished run of another recipe or checkpoint.  Equal work is skipped all the same.

    Raises:
        ConfigError: the place holds another recipe's run, or settings that cannot work.
        DataError: missing or damaged images.
        CheckpointError: weights that cannot be read or do not fit.
        OSError: the results cannot be written.
    """
    return _run(recipe, checkpoint, output, overwrite, progress, may_train=True)


def evaluate(
    recipe: Recipe,
    *,
    checkpoint: str | Path | None = None,
    output: str | Path = "results",
    overwrite: bool = False,
    predictions: str | Path | None = None,
    progress: bool = True,
) -> Record:
    """As :func:`run`, but never trains: from ``checkpoint``, or the finished weights in the run's folder.

    Args:
        predictions: a folder for the predicted label maps; what is there already of this run is not computed again.

    Raises:
        ConfigError: as :func:`run`; also when there are no finished weights.
    """
    return _run(recipe, checkpoint, output, overwrite, progress, may_train=False, predictions=predictions)


def run_table(
    table: str,
    preset: str,
    *,
    rows: Sequence[str] = (),
    overrides: Sequence[str] = (),
    checkpoint: str | None = None,
    output: str | Path = "results",
    overwrite: bool = False,
    progress: bool = True,
) -> list[Record]:
    """:func:`run` every recipe of a preset that belongs to a table; those that another process is at come last.

    Args:
        table: e.g. ``ddp_table1``.
        rows: names of the recipes to run, also with a training seed (``<name>-seed1``); all by default.
        overrides: changes to each of them, e.g. ``["train.iterations=20"]``.
        checkpoint: None trains; ``official`` evaluates the authors' weights, of those recipes that have some.

    Raises:
        ConfigError: no such recipe in this table, or as :func:`run`.
    """
    table = full_name(table)
    names = [name for name in recipe_names(preset) if named_recipe(name, preset).table == table]
    if unknown := [name for name in rows if split_seed(name)[0] not in names]:
        raise ConfigError(f"{table} has no recipe {unknown[0]!r} under {preset}; it has: {', '.join(names) or 'none'}")
    recipes = {name: override(named_recipe(name, preset), parse_overrides(list(overrides))) for name in rows or names}
    made, waiting = {}, list(recipes)
    while waiting:
        name = decided_by_main(
            lambda: next((n for n in waiting if not trainings.is_taken(n, preset, output)), waiting[0])
        )
        waiting.remove(name)
        if checkpoint == "official" and name not in paper_of(named_recipe(name, preset)).released:
            say(f"{name}: the authors published no weights; not run")
            continue
        made[name] = run(recipes[name], checkpoint=checkpoint, output=output, overwrite=overwrite, progress=progress)
    return [made[name] for name in rows or names if name in made]


def evaluation_dataset(recipe: Recipe, model: Method) -> PairDataset:
    """Return the images that a recipe is evaluated on, from whatever folder a notebook runs in.

    Raises:
        DataError: missing images or labels.
    """
    return _stored(recipe, recipe.data.eval_split, model)


def training_dataset(recipe: Recipe, model: Method) -> PairDataset:
    """Return the images that a recipe is trained on, as they are stored: without augmentation.

    Raises:
        DataError: missing images or labels.
    """
    return _stored(recipe, recipe.data.train_split, model)


def _stored(recipe: Recipe, split: str, model: Method) -> PairDataset:
    data = recipe.data.placed(lambda root: str(resolve(root)))
    return build_dataset(data, split, train=False, mean=model.mean, std=model.std)


def trained_model(
    record: Record, output: str | Path = "results", checkpoint: str | Path | None = None, *, allow_half: bool = True
) -> Method:
    """Return the model of a finished run with its weights, in evaluation mode, on the GPU where there is one.

    Of a few runs a copy in half precision came with the repository; it stands in where the training's are not here.

    Args:
        checkpoint: what the run was given; None: it was trained here.
        allow_half: whether that copy will do.

    Raises:
        ConfigError: the weights are not there (a clone has records without weights).
    """
    path = scored_weights(record, output, checkpoint)
    if not path.is_file() and allow_half and (half := half_weights(record, output)):
        say(f"{record.run}: its weights are not here; those in half precision that came with the repository are used")
        path = half
    if not path.is_file():
        name = path.parent.name
        raise ConfigError(f"{path} is missing: a clone has records without weights; train {name} to have them")
    model = record.settings().model.build()
    load_checkpoint(model, path)
    return model.to(_device()).eval()


def _run(
    recipe: Recipe,
    checkpoint: str | Path | None,
    output: str | Path,
    overwrite: bool,
    progress: bool,
    *,
    may_train: bool,
    predictions: str | Path | None = None,
) -> Record:
    recipe = task_named(recipe.model.task).complete(recipe)
    weights, lent = given_weights(recipe, checkpoint, output), is_lent(recipe, checkpoint)
    with contextlib.chdir(working_root()):
        model, dataset, labels = _checked(recipe, weights, lent, output, overwrite, predictions, may_train)
    with workplace(recipe, output) as folder:
        path = _record_path(recipe, output)
        finished = decided_by_main(lambda: _finished(path, recipe, folder, weights, dataset, overwrite, lent, say))
        if finished and predictions is None:
            if rank_and_world()[0] == 0 and finished.confirmed not in (None, load_record(path).confirmed):
                save_record(finished, path)
            _complete(finished, recipe, model, dataset, output, weights)
            say(f"{recipe.name}: finished before with the same recipe, code and data; skipped")
            return finished
        trained = None
        if weights is None and may_train:
            trained = trainings.train_in(folder, recipe, output, overwrite, progress, labels)
        elif weights is None:
            trained = trainings.finished_training(folder, recipe, output)
        elif lent and not weights.is_file():
            train(source_of(recipe), output=output, progress=progress)
        weights = weights or chosen_weights(cast(TrainResult, trained), recipe)
        save_to = None if predictions is None else resolve(predictions)
        return _evaluate(recipe, model, dataset, weights, _training(folder, trained), path, progress, save_to)


def _checked(
    recipe: Recipe, weights: Path | None, lent: bool, output: str | Path, overwrite: bool,
    predictions: str | Path | None, may_train: bool,
) -> tuple[Method, PairDataset, list[Survey] | None]:  # fmt: skip
    """Return the model, the images to evaluate and the labels to train on, after all has been checked that can be.

    Nothing is written but a ``mini`` recipe's data.

    Raises:
        ConfigError, DataError, CheckpointError, OSError: as :func:`run`.
    """
    evaluation, trains = recipe.evaluation, weights is None or (lent and not weights.is_file())
    if weights is None and evaluation.weights == "best" and not recipe.train.validate_every:
        raise ConfigError("evaluation.weights=best needs a training with train.validate_every > 0")
    if evaluation.compile == "cuda_graphs" and _device().type != "cuda":
        raise ConfigError("evaluation.compile=cuda_graphs needs a CUDA device; default runs anywhere")
    folder = run_folder(output, recipe.preset, recipe.name)
    model = recipe.model.build()
    trainings.prepare_data(recipe)
    dataset = evaluation_dataset(recipe, model)
    check_evaluation(model, dataset, evaluation, None if predictions is None else Path(predictions))
    path = _record_path(recipe, output)
    if _finished(path, recipe, folder, weights, dataset, overwrite, lent) and predictions is None:
        return model, dataset, None
    labels = None
    if weights is not None and not trains:
        load_checkpoint(model, weights)
    elif may_train:
        source = source_of(recipe) if lent else recipe
        labels = trainings.check_training(source, output, overwrite and not lent, model)
    else:
        trained = folder if weights is None else weights.parent
        if not (trained / "model.safetensors").is_file():
            raise ConfigError(f"{trained} has no finished weights: train {trained.name} first, or give a checkpoint")
    return model, dataset, labels


def _record_path(recipe: Recipe, output: str | Path) -> Path:
    name = records.run_name(provenance.public_recipe(recipe))
    return run_folder(output, recipe.preset, name) / "record.json"


def _evaluate(
    recipe: Recipe, model: Method, dataset: PairDataset, weights: Path, trained: records.Training | None,
    path: Path, progress: bool, save_to: Path | None,
) -> Record:  # fmt: skip
    identity = provenance.weights_sha256(weights)
    work = scores_work(recipe, dataset.fingerprint(), identity).done()
    origin = load_checkpoint(model, weights).origin
    model.to(_device())
    checkpoint = records.Checkpoint(sha256=identity, origin=origin, file=provenance.public_file(weights))
    images = dataset.ids[: recipe.evaluation.limit]
    journal = companion.journal_of(
        recipe, path.parent, weights=checkpoint.sha256, data=dataset.fingerprint(), images=images, device=_device()
    )
    result = evaluate_model(model, dataset, recipe.evaluation, progress=progress, save_to=save_to, journal=journal)
    record = dataclasses.replace(_record(recipe, dataset, result, checkpoint, trained), work=work)
    if rank_and_world()[0] == 0:
        save_samples(model, dataset, recipe, path.parent)
        companion.save_image_statistics(result.per_image, path.parent)
        save_record(record, path)
        journal.remove()
    return record


def _complete(
    record: Record, recipe: Recipe, model: Method, dataset: PairDataset, output: str | Path, weights: Path | None
) -> None:
    """Make the file of samples anew that figures need, where it is gone, from the weights that the record is of."""
    path = missing_samples(recipe, _record_path(recipe, output).parent)
    if path is None or rank_and_world()[0] != 0:
        return
    weights = weights or scored_weights(record, output)
    if not weights.is_file():
        say(f"{record.run}: {path.name} is gone, and so are the weights to make it from; --overwrite trains anew")
        return
    say(f"{record.run}: {path.name} is gone; made anew")
    load_checkpoint(model, weights)
    save_samples(model.to(_device()), dataset, recipe, path.parent)


def _finished(
    path: Path, recipe: Recipe, folder: Path, weights: Path | None, dataset: PairDataset, overwrite: bool, lent: bool,
    tell: Callable[[str], None] = lambda reason: None,
) -> Record | None:  # fmt: skip
    """Return the record of this very work, or None if it is to be done; ``tell`` is told why.

    ``lent`` weights are not the user's choice: where they were trained anew they are scored anew, and a clone that has
    the record alone will do without them.

    Raises:
        ConfigError: the place holds another recipe's or checkpoint's record and ``overwrite`` is not given.
    """
    if not path.is_file():
        return None
    record = load_record(path)
    changed = differences(record.recipe, provenance.public_recipe(recipe))
    is_other = weights and weights.is_file() and not provenance.are_weights(weights, record.checkpoint.sha256)
    if lent and is_other and not changed:
        return None
    if weights is not None and not lent and not provenance.are_weights(weights, record.checkpoint.sha256):
        changed.append(f"checkpoint was {record.checkpoint.file} ({record.checkpoint.sha256[:12]}), is {weights.name}")
    if weights is None and record.training is None:
        changed.append(f"checkpoint was {record.checkpoint.file} (given), is trained here")
    if changed and not overwrite:
        raise ConfigError(
            f"{path.parent} holds a finished run of another recipe: {'; '.join(changed)}. "
            "--overwrite allows replacing it; or choose another output"
        )
    held = weights or folder / Path(record.checkpoint.file).name
    if changed or (overwrite and not held.is_file() and missing_samples(recipe, path.parent)):
        return None  # perhaps because nothing is left to make the samples from
    if held.is_file() and not companion.is_complete(record, path.parent):
        return None
    works = [(record.work, scores_work(recipe, dataset.fingerprint(), record.checkpoint.sha256))]
    if weights is None:  # a clone has the record alone: that will do
        if held.is_file() and not provenance.are_weights(held, record.checkpoint.sha256):
            return None
        works.append((record.training and record.training.work, current_inputs(recipe)))
    return _still(record, works, tell)


def _still(record: Record, works: list[tuple[Work | None, Work]], tell: Callable[[str], None]) -> Record | None:
    """Return the record if what it depends on, beside how it is now, is the same; notes if only the probe says so."""
    known = [(before, now) for before, now in works if before is not None]
    if len(known) < len(works):
        tell(f"{record.run}: its record is of an earlier form, which does not tell whether the code behaves the same")
        return None
    verdicts = [trainings.compare_trainings(before, now) for before, now in known]
    if reasons := [verdict.words for verdict in verdicts if isinstance(verdict, Changed)]:
        tell(f"{record.run}: {'; '.join(reasons)}")
        return None
    by_probe = any(verdict.by_probe for verdict in verdicts if isinstance(verdict, Current))
    return dataclasses.replace(record, confirmed=provenance.code()) if by_probe else record


def _record(
    recipe: Recipe, dataset: PairDataset, result: EvaluationResult, checkpoint: records.Checkpoint,
    trained: records.Training | None,
) -> Record:  # fmt: skip
    scored = records.Dataset(
        name=dataset.name, split=recipe.data.eval_split, images=result.images, split_images=len(dataset),
        fingerprint=result.dataset_fingerprint, classes=list(result.class_names),
        unannotated=getattr(dataset, "unannotated", 0),
    )  # fmt: skip
    scores = companion.scores_of(recipe, result.per_image)
    comparisons = compare(recipe, scored, scores)
    return Record(
        recipe=provenance.public_recipe(recipe), scores=scores, dataset=scored, checkpoint=checkpoint, training=trained,
        code=provenance.code(), environment=provenance.environment(_device()), wall_seconds=round(result.seconds, 2),
        comparisons=comparisons, verdict=overall(comparisons),
        images_sha256=companion.statistics_sha256(result.per_image),
    )  # fmt: skip


def _training(folder: Path, result: TrainResult | None) -> records.Training | None:
    inputs = trainings.read_inputs(folder)
    if result is None or inputs is None:
        return None
    return records.Training(
        iterations=result.iterations, wall_seconds=round(result.seconds, 1),
        fingerprint=str(inputs.work.inputs["images"]),
        code_fingerprint=inputs.work.code.get(OURS, trainings.UNKNOWN), processes=result.processes, work=inputs.work,
        labels=inputs.labels,
    )  # fmt: skip


def _device() -> torch.device:
    number = os.environ.get("LOCAL_RANK", "0")
    return torch.device(f"cuda:{number}" if torch.cuda.is_available() else "cpu")
