"""The training half of a run: into which folder, from what, and whether what lies there is already the result."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist

from ddp_repro import training
from ddp_repro.data.survey import Survey
from ddp_repro.evaluation.processes import rank_and_world
from ddp_repro.interop.checkpoints import check_part
from ddp_repro.interop.weight_files import read_state_dict
from ddp_repro.networks.acceleration import set_checkpointing
from ddp_repro.protocols.method import Method
from ddp_repro.protocols.registry import task_named
from ddp_repro.protocols.task import TaskDataset
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.overrides import changed_settings, deciding, is_loose, to_dict, training_depends_on
from ddp_repro.settings.recipe import Recipe
from ddp_repro.settings.sources import first_stages, is_recipe_name, weight_sources
from ddp_repro.store.atomic import write_atomically
from ddp_repro.store.locks import file_lock
from ddp_repro.store.paths import resolve, run_folder, working_root
from ddp_repro.store.work import Changed, Current, Work
from ddp_repro.tasks.build import build_dataset, check_dataset, survey_dataset
from ddp_repro.training import TrainResult
from ddp_repro.workbook.catalogue import paper_of
from ddp_repro.workbook.catalogue import recipe as named_recipe
from ddp_repro.workbook.runs.synthetic import prepare_data
from ddp_repro.workbook.runs.works import weights_work

T = TypeVar("T")

UNKNOWN = "unknown"  # code of weights that were trained without the workbook


@dataclass(frozen=True)
class TrainingInputs:
    """What trained weights depend on, kept beside them in ``training.json``.

    Attributes:
        work: settings, images, code; neither code nor probe: weights that were trained without the workbook.
        processes: how many finished the training, on which weights depend by no more than rounding; None: not finished
            yet, or from before this was written down.
        labels: what the ground truth of each dataset of training images holds; None: it was not counted.
    """

    work: Work
    processes: int | None = None
    labels: list[Survey] | None = None


def train(
    recipe: Recipe, *, output: str | Path = "results", overwrite: bool = False, progress: bool = True
) -> TrainResult:
    """Train into ``<output>/<preset>/runs/<name>``, unless that is done already; go on with what was interrupted.

    Finished weights of the same recipe but of other code or images are replaced, once the new ones are finished.

    Raises:
        ConfigError: the place holds another recipe's weights and ``overwrite`` is not given.
        DataError: missing or damaged images.
        OSError: the results cannot be written.
    """
    recipe = task_named(recipe.model.task).complete(recipe)
    with contextlib.chdir(working_root()):
        labels = check_training(recipe, output, overwrite)
    with workplace(recipe, output) as folder:
        return train_in(folder, recipe, output, overwrite, progress, labels)


def source_of(recipe: Recipe) -> Recipe:
    """Return what is trained for a recipe that evaluates another one's weights: that one, with this one's settings.

    Where this one's data lie in another folder than usual, the other's are expected beside them, by their usual name.
    """
    source = named_recipe(cast(str, recipe.weights_of), recipe.preset)
    data, usual = source.data, named_recipe(recipe.name, recipe.preset).data.root
    if resolve(recipe.data.root) != resolve(usual):
        data = dataclasses.replace(data, root=str(Path(recipe.data.root).with_name(Path(data.root).name)))
    return dataclasses.replace(source, model=recipe.model, train=recipe.train, data=data)


def train_in(
    folder: Path, recipe: Recipe, output: str | Path, overwrite: bool, progress: bool, labels: list[Survey] | None
) -> TrainResult:
    """Do what :func:`train` does for those who hold the :func:`workplace` already, and have checked.

    Args:
        labels: what :func:`check_training` has counted.
    """
    for stage in _stages(recipe):
        if not _weights_of(stage, recipe, output).is_file():
            train(named_recipe(stage, recipe.preset), output=output, progress=progress)
    resume = decided_by_main(
        lambda: _may_resume(recipe, folder, output, overwrite) or _make_room(recipe, folder, output, labels)
    )
    watch = getattr(paper_of(recipe), "watch", None)
    result = training.train(_resolved(recipe, output), folder, resume=resume, progress=progress, watch=watch)
    if rank_and_world()[0] == 0:
        (folder / "previous.safetensors").unlink(missing_ok=True)
        if (inputs := read_inputs(folder)) and inputs.processes != result.processes:
            _write_inputs(folder, dataclasses.replace(inputs, processes=result.processes))
    return result


def check_training(
    recipe: Recipe, output: str | Path, overwrite: bool, model: Method | None = None
) -> list[Survey] | None:
    """Refuse a training that cannot work before anything is written but a ``mini`` recipe's data.

    Says how often every class occurs in the training images, and what is probably wrong with them.

    Args:
        model: one of the recipe's settings, whose weights are changed; None: it is built here.

    Returns:
        What each dataset's labels hold; None where a training goes on that has counted them.

    Raises:
        ConfigError, DataError, CheckpointError, OSError: as :func:`train`.
    """
    if recipe.weights_of is not None:
        remedy = f"train {recipe.weights_of}, then evaluate {recipe.name}"
        raise ConfigError(
            f"{recipe.name} is not trained, but evaluated with the weights of {recipe.weights_of}: {remedy}"
        )
    training.check_settings(recipe)
    network: Method = model or recipe.model.build()
    training.check_trainable(network, recipe.train)
    set_checkpointing(network, recipe.train.gradient_checkpointing)
    prepare_data(recipe)
    data = recipe.data
    normalisation: dict[str, Any] = {"mean": network.mean, "std": network.std}
    images = build_dataset(data, data.train_split, train=True, **normalisation)
    check_dataset(recipe.model, images)
    if recipe.train.validate_every:
        check_dataset(recipe.model, build_dataset(data, data.eval_split, train=False, **normalisation))
    resume = _may_resume(recipe, run_folder(output, recipe.preset, recipe.name), output, overwrite)
    missing = [stage for stage in _stages(recipe) if not _weights_of(stage, recipe, output).is_file()]
    for stage in missing:
        _check_first_stage(stage, recipe, network, output)
    if not (resume or missing):
        training.load_initial_weights(network, _resolved(recipe, output).train)
    return None if resume else decided_by_main(lambda: _surveyed(recipe, images))


def _surveyed(recipe: Recipe, images: TaskDataset) -> list[Survey]:
    labels = survey_dataset(recipe, images)
    for part in labels:
        say(f"{recipe.name}: {part}")
        for warning in part.warnings:
            say(f"warning: {recipe.name}: {warning}")
    return labels


def _check_first_stage(name: str, recipe: Recipe, model: Method, output: str | Path) -> None:
    """Refuse a recipe whose weights this one starts from, and which has to be trained before, if they will not fit."""
    first = named_recipe(name, recipe.preset)
    if recipe.train.initialize_from == name:
        _refuse_other_model(first, recipe)
    for source in weight_sources(recipe.train.weights):
        if source.recipe == name:
            with torch.device("meta"):
                tensors = first.model.build().state_dict()
            check_part(model, source.part, tensors, name)
    check_training(first, output, overwrite=False)


def _refuse_other_model(first: Recipe, recipe: Recipe) -> None:
    before, now = to_dict(first.model), to_dict(recipe.model)
    changed = [f"model.{n} is {before.get(n)!r} there, {now[n]!r} here" for n in now
               if before.get(n) != now[n] and not is_loose(f"model.{n}")]  # fmt: skip
    if changed:
        raise ConfigError(f"{recipe.name} starts from the weights of {first.name}, but {'; '.join(changed)}")


def finished_training(folder: Path, recipe: Recipe, output: str | Path) -> TrainResult:
    """Return the finished training in ``folder``, whatever code it was done with.

    Raises:
        ConfigError: there is none, or it is another recipe's.
    """
    if not (folder / "model.safetensors").is_file():
        raise ConfigError(f"{folder} has no finished weights: train {recipe.name} first, or give a checkpoint")
    return training.train(_resolved(recipe, output), folder, progress=False)


def read_inputs(folder: Path) -> TrainingInputs | None:
    """Return what the weights in ``folder`` were trained from; None where there are none, or they do not say.

    Raises:
        ConfigError: the file is damaged.
        CheckpointError: so are the weights.
    """
    path, weights = folder / "training.json", folder / "model.safetensors"
    if not path.is_file():
        return _inputs_inside(weights) if weights.is_file() else None
    try:
        return _read_form(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{path} is damaged ({error!r}): delete it, and train anew with --overwrite") from None


def _read_form(values: dict[str, Any]) -> TrainingInputs:
    """Return the content of a ``training.json``, also of one from before it held a :class:`Work`."""
    if "work" in values:
        work = Work(**values["work"])
    else:
        recipe = values["recipe"]
        work = Work(
            settings=deciding(recipe, *training_depends_on(recipe)), inputs={"images": values["data"]},
            code={"of an earlier form": values["code"]},
        )  # fmt: skip
    labels = values.get("labels")
    return TrainingInputs(work, values.get("processes"), labels and [Survey(**part) for part in labels])


def current_inputs(recipe: Recipe, sources: Mapping[str, str] | None = None) -> Work:
    """Return what a training of ``recipe`` would depend on now.

    Args:
        sources: hash of the weights that each part starts from; None: they do not matter.
    """
    images = build_dataset(recipe.data, recipe.data.train_split, train=True, mean=(0, 0, 0), std=(1, 1, 1))
    return weights_work(recipe, images.fingerprint(), sources or {})


def compare_trainings(before: Work, now: Work) -> Current | Changed:
    """Return whether weights are those of a training now; what only one side knows of their making does not matter.

    That is the weights that they started from, where ``now`` leaves them out, and the code of weights that were trained
    without the workbook.
    """
    known = sorted(before.inputs.keys() & now.inputs.keys())
    before, now = (dataclasses.replace(work, inputs={n: work.inputs[n] for n in known}) for work in (before, now))
    if not before.code and not before.probe:
        before, now = (dataclasses.replace(work, code={"by": UNKNOWN}) for work in (before, now))
    return before.same(now)


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return the settings that decide scores and differ between two recipes (as JSON), in words."""
    return changed_settings(before, now, "weights", "scores")


@contextmanager
def workplace(recipe: Recipe, output: str | Path) -> Iterator[Path]:
    """Hold the folder of a recipe's run against other processes, with relative paths starting from the clone."""
    folder = run_folder(output, recipe.preset, recipe.name)
    lock = file_lock(folder / ".lock") if rank_and_world()[0] == 0 else contextlib.nullcontext()
    with contextlib.chdir(working_root()), lock:
        yield folder


def is_taken(name: str, preset: str, output: str | Path) -> bool:
    """Whether another process is in the :func:`workplace` of a recipe."""
    try:
        path = run_folder(output, preset, name) / ".lock"
        with file_lock(path, wait=False) if path.is_file() else contextlib.nullcontext():
            return False
    except BlockingIOError:
        return True


def decided_by_main(decide: Callable[[], T]) -> T:
    """Return what the first process decided on looking at the disk; the others (under torchrun) wait for it.

    Its errors are raised in all of them, so that none waits for what will not come.
    """
    rank, world = rank_and_world()
    if world == 1:
        return decide()
    answer: list[Any] = [None, None]
    dist.barrier()  # deciding may move files that others are still checking
    if rank == 0:
        try:
            answer[0] = decide()
        except (ValueError, OSError) as error:
            answer[1] = error
    dist.broadcast_object_list(answer)
    if answer[1] is not None:
        raise answer[1]
    return answer[0]


def say(message: str) -> None:
    """Print a line for the user, once however many processes there are."""
    if rank_and_world()[0] == 0:
        print(message, file=sys.stderr, flush=True)


def _stages(recipe: Recipe) -> list[str]:
    """Names of the recipes whose finished weights this one starts from."""
    return first_stages(recipe.train.initialize_from, recipe.train.weights)


def _weights_of(stage: str, recipe: Recipe, output: str | Path) -> Path:
    return run_folder(output, recipe.preset, stage) / "model.safetensors"


def _resolved(recipe: Recipe, output: str | Path) -> Recipe:
    """Return the recipe with the files of finished weights in place of the recipes' names that it starts from."""

    def place(stage: str) -> str:
        return os.path.relpath(_weights_of(stage, recipe, output))

    start, sources = recipe.train.initialize_from, weight_sources(recipe.train.weights)
    parts = tuple(str(source.at(place(source.recipe)) if source.recipe else source) for source in sources)
    whole = place(start) if start and is_recipe_name(start) else start
    train_settings = dataclasses.replace(recipe.train, initialize_from=whole, weights=parts or None)
    return dataclasses.replace(recipe, train=train_settings)


def _inputs_now(recipe: Recipe, output: str | Path) -> Work:
    """:func:`current_inputs` with the weights that the training starts from."""
    return current_inputs(recipe, training.initial_identities(_resolved(recipe, output).train))


def _may_resume(recipe: Recipe, folder: Path, output: str | Path, overwrite: bool) -> bool:
    """Whether what the folder holds is (part of) this very training.  Writes nothing.

    The trainer compares recipe and images itself; here the code that trained counts too, and the weights it began with.

    Raises:
        ConfigError: it is another training, and ``overwrite`` is not given.
    """
    model, before, now = folder / "model.safetensors", read_inputs(folder), _inputs_now(recipe, output)
    verdict = compare_trainings(before.work, now) if before else Changed()
    changed = verdict.settings if isinstance(verdict, Changed) else ()
    foreign = before is None and (model.exists() or any((folder / "state").glob("*.pt")))
    if (foreign or changed) and not overwrite:
        what = "; ".join(changed) or "weights of unknown origin"
        raise ConfigError(f"{folder} holds another training ({what}); --overwrite allows replacing it")
    return isinstance(verdict, Current)


def _make_room(recipe: Recipe, folder: Path, output: str | Path, labels: list[Survey] | None) -> bool:
    """Put what is to be replaced aside, and write down what a new training depends on; returns False: no resuming."""
    model, before, now = folder / "model.safetensors", read_inputs(folder), _inputs_now(recipe, output)
    verdict = compare_trainings(before.work, now) if before else Changed()
    if isinstance(verdict, Changed) and verdict.words and not verdict.settings:
        say(f"{recipe.name}: {verdict.words}; training anew")
    done = TrainingInputs(now.done(), labels=labels)
    if model.exists():
        model.replace(folder / "previous.safetensors")  # kept until the new training is finished
    _write_inputs(folder, done)
    return False


def _write_inputs(folder: Path, inputs: TrainingInputs) -> None:
    write_atomically(folder / "training.json", (json.dumps(dataclasses.asdict(inputs), indent=1) + "\n").encode())


def _inputs_inside(weights: Path) -> TrainingInputs | None:
    """Read what weights that the trainer wrote without this workbook say of themselves; their code is unknown."""
    _, metadata = read_state_dict(weights)
    if not {"recipe", "data"} <= metadata.keys():
        return None
    recipe = json.loads(metadata["recipe"])
    settings = deciding(recipe, *training_depends_on(recipe))
    return TrainingInputs(Work(settings=settings, inputs={"images": metadata["data"]}))
