"""Training from a recipe to a finished checkpoint, interrupted as often as need be."""

from __future__ import annotations

import dataclasses
import math
import os
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import AutocastKwargs, GradientAccumulationPlugin, gather_object
from tqdm import tqdm

from ddp_repro.data.dataset import PairDataset
from ddp_repro.evaluation.processes import on_cpu, rank_and_world, refuse_strangers
from ddp_repro.interop.checkpoints import save_weights
from ddp_repro.interop.partial import describe_sources, trained_names
from ddp_repro.networks.acceleration import accelerate
from ddp_repro.protocols.method import Method, check_method
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import Recipe, TrainConfig
from ddp_repro.tasks.build import build_dataset, check_dataset
from ddp_repro.training.ema import MovingAverage
from ddp_repro.training.finished import RunFiles, TrainResult, finished_result
from ddp_repro.training.frozen import check_frozen, freeze, set_training_mode
from ddp_repro.training.initial_weights import (
    initial_files,
    initial_identities,
    load_initial_weights,
    restore_weights,
)
from ddp_repro.training.interruption import StopSignal, TrainingInterrupted
from ddp_repro.training.log import TrainingLog
from ddp_repro.training.state import (
    TrainingState,
    described_classes,
    load_state,
    provenance,
    save_state,
    saved_states,
)
from ddp_repro.training.step import Batch, Step, on_device
from ddp_repro.training.stream import BatchLayout, build_loader

Watch = Callable[[Method, Batch], Mapping[str, float]]


def train(
    recipe: Recipe, output: Path, *, resume: bool = True, progress: bool = True, watch: Watch | None = None
) -> TrainResult:
    """Train ``recipe.model`` on ``recipe.data``, continuing what an interrupted run left in ``output``.

    Works in one process and under ``torchrun`` or ``accelerate launch`` (``output`` must then be a folder that all
    processes share).  Each micro-batch of ``train.device_batch_size`` images is normalised (batch norm) and given
    random numbers by itself, whichever process it falls to.  So the weights and running statistics do not depend on
    the number of processes, up to rounding; nor, in one process on the CPU, on interruptions, bit for bit.

    Args:
        output: gets ``model.safetensors`` (the finished weights; with ``train.ema_momentum``, their moving average),
            ``best.safetensors`` (with ``train.validate_every``), ``log.jsonl``, and ``state/`` until the run is done.
        resume: False starts again, dropping saved states; a finished model is replaced when the new one is finished.
        progress: show a progress bar.
        watch: measures something of the model on a micro-batch, for every line of the log; must leave the model and
            the random state as they are.

    Raises:
        ConfigError: settings that cannot work together, or other than those of the run found in ``output``; or a
            launcher started processes that are not in this run.
        DataError: missing or damaged images.
        CheckpointError: an unreadable state, or weights that do not fit.
        OSError: ``output`` cannot be written.
        TrainingInterrupted: SIGTERM or SIGINT came; the state is saved, and the same call continues.
        TrainingDiverged: a loss or gradient is not finite.
    """
    check_settings(recipe)
    accelerator = build_accelerator(recipe.train)
    layout = BatchLayout(
        recipe.train.batch_size, recipe.train.device_batch_size, accelerator.process_index, accelerator.num_processes
    )
    files = RunFiles(Path(output))
    if accelerator.is_main_process:
        _check_writable(files.folder)
    torch.manual_seed(recipe.train.seed)
    model = recipe.model.build()
    check_trainable(model, recipe.train)
    dataset = build_dataset(recipe.data, recipe.data.train_split, train=True, mean=model.mean, std=model.std)
    check_dataset(recipe.model, dataset)
    origin = provenance(recipe, dataset.fingerprint())
    if resume and (result := finished_result(files, origin, recipe)):
        return result
    run = _Run(recipe, files, origin, accelerator, layout, model, dataset, watch)
    run.start(resume)
    with StopSignal() as stop:
        run.iterate(stop, progress)
    return run.finish()


def build_accelerator(config: TrainConfig) -> Accelerator:
    """Return the processes and the device of this run, in the recipe's precision; gradient accumulation is left to us.

    Raises:
        ConfigError: fp16 without a GPU, or some of the processes that a launcher started are not in this run.
    """
    _, world = rank_and_world()
    cpu = on_cpu()
    _check_precision(config)
    AcceleratorState._reset_state()  # otherwise a second run in this process could not use another precision
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision=config.mixed_precision,
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        # The cache would hand the casts made by self-aligned training's no_grad pass, cut off from the weights, to the
        # pass that needs their gradients.
        kwargs_handlers=[AutocastKwargs(cache_enabled=config.self_aligned == "off")],
    )
    refuse_strangers(world, accelerator.num_processes)
    return accelerator


class _Run:
    """One process's part of a training run."""

    def __init__(
        self,
        recipe: Recipe,
        files: RunFiles,
        origin: dict[str, str],
        accelerator: Accelerator,
        layout: BatchLayout,
        model: Method,
        dataset: PairDataset,
        watch: Watch | None,
    ) -> None:
        self.recipe, self.files, self.origin = recipe, files, origin
        self.accelerator, self.layout = accelerator, layout
        self.model, self.dataset, self.watch = model, dataset, watch
        self.state = TrainingState()

    def start(self, resume: bool) -> None:
        """Take up the newest saved state, or the initial weights."""
        states = saved_states(self.files.states)
        if states and resume:
            self.state = load_state(states[-1], self.origin)
            restore_weights(self.model, self.state, self.recipe.train, states[-1])
        else:
            load_initial_weights(self.model, self.recipe.train)
        freeze(self.model, self.recipe.train)
        set_training_mode(self.model, self.recipe.train)
        self._accelerate()
        self._refuse_separate_folders()  # also makes all processes wait until each has looked at the states
        self.step = Step(self.model, self.recipe.train, self.accelerator, self.layout)
        self.average = MovingAverage(self.model, self.recipe.train, self.state.ema)
        partial = self.recipe.train.save == "trainable"
        self.sources = initial_files(self.recipe.train) if partial else {}
        self.names = trained_names(self.model, self.sources) if partial else set(self.model.state_dict())
        if self.state.optimizer:
            self.step.optimizer.load_state_dict(self.state.optimizer)
        if self.state.scaler and self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(self.state.scaler)
        if self.accelerator.is_main_process:
            for path in [] if resume else states:
                path.unlink()
            self.log = TrainingLog(self.files.log, iteration=self.state.iteration, pending=self.state.pending_log)

    def _accelerate(self) -> None:
        config = self.recipe.train
        accelerate(self.model, compile=config.compile, gradient_checkpointing=config.gradient_checkpointing)

    def iterate(self, stop: StopSignal, progress: bool) -> None:
        """Run the remaining iterations.

        Raises:
            TrainingInterrupted: ``stop`` was received by any process; the state is saved.
        """
        config, first = self.recipe.train, self.state.iteration
        pin = self.accelerator.device.type == "cuda"
        batches = iter(build_loader(self.dataset, config, self.layout, first, pin_memory=pin))
        hidden = not (progress and self.accelerator.is_main_process)
        with tqdm(total=config.iterations, initial=first, desc=self.recipe.name, unit="it", disable=hidden) as bar:
            for iteration in range(first, config.iterations):
                began = time.monotonic()
                own = [next(batches) for _ in self.layout.own_micro_batches]
                values = self.step(iteration, own, stop)
                stopping = values.pop("stop") > 0
                self.state.iteration = iteration + 1
                self.average.update(self.state.iteration)
                self._record(values, time.monotonic() - began, bar, own)
                self._validate_if_due()
                self.state.seconds += time.monotonic() - began
                self._save_if_due(stopping)

    def finish(self) -> TrainResult:
        """Write the finished weights, then drop the states that they replace."""
        if self.accelerator.is_main_process:
            self._save_weights(self.files.model)
            for path in saved_states(self.files.states):
                path.unlink()
        self.accelerator.wait_for_everyone()
        processes = self.accelerator.num_processes
        return self.files.result(self.recipe, self.state.iteration, self.state.seconds, processes)

    def _record(self, values: dict[str, float], seconds: float, bar: tqdm, batches: list[Batch]) -> None:
        if not self.accelerator.is_main_process:
            return
        bar.update()
        config, done, rate = self.recipe.train, self.state.iteration, values.pop("learning_rate")
        self.log.add({**values, "seconds_per_iteration": seconds})
        if done % config.log_every == 0 or done == config.iterations:
            averages = self.log.take_averages()
            _warn_of_no_gradient(averages["grad_norm"], done)
            per_second = config.batch_size / averages.pop("seconds_per_iteration")
            elapsed = round(self.state.seconds + seconds, 3)
            others = {"learning_rate": rate, "seconds": elapsed, "images_per_second": per_second}
            self.log.write(iteration=done, **averages, **others, **self._watched(batches))
            bar.set_postfix(loss=f"{averages['loss']:.4f}", lr=f"{rate:.2e}")

    def _watched(self, batches: list[Batch]) -> Mapping[str, float]:
        if self.watch is None or not batches:
            return {}
        return self.watch(self.model, on_device(batches[0], self.accelerator.device))

    def _validate_if_due(self) -> None:
        every, done = self.recipe.train.validate_every, self.state.iteration
        if every == 0 or done % every:
            return
        with self.average.applied():
            metric, value, higher_is_better = self._validate()
        score = -math.inf if math.isnan(value) else value if higher_is_better else -value  # NaN: worse than any
        first = done == every  # the first is the best so far, also where its score is undefined
        better, self.state.best_score = first or score > self.state.best_score, max(score, self.state.best_score)
        if self.accelerator.is_main_process:
            self.log.write(iteration=done, **{f"validation_{metric}": value})
            if better:
                self._save_weights(self.files.best, **{metric: repr(value)})

    def _validate(self) -> tuple[str, float, bool]:
        """Name, value and direction of the task's first measure (mIoU, REL).

        Of one plain view, with the last of the recipe's step counts and the first of its seeds.
        """
        from ddp_repro.evaluation.evaluate import evaluate_model

        data, evaluation = self.recipe.data, self.recipe.evaluation
        one = dataclasses.replace(
            evaluation,
            steps=evaluation.steps[-1:],
            seeds=evaluation.seeds[:1],
            scales=(1.0,),
            flip=False,
            boundary=False,
        )
        dataset = build_dataset(data, data.eval_split, train=False, mean=self.model.mean, std=self.model.std)
        accelerate(self.model)  # the evaluation has its own settings, and other sizes than the compiled ones
        result = evaluate_model(self.model, dataset, one, progress=False)
        set_training_mode(self.model, self.recipe.train)
        self._accelerate()
        return result.metrics[0], result.summary(result.steps[0]).mean, result.higher_is_better

    def _save_if_due(self, stopping: bool) -> None:
        config, done = self.recipe.train, self.state.iteration
        if done == config.iterations or not (stopping or done % config.checkpoint_every == 0):
            return
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            self.state.model = {name: each for name, each in self.model.state_dict().items() if name in self.names}
            self.state.sources = initial_identities(self.recipe.train) if self.sources else {}
            self.state.optimizer = self.step.optimizer.state_dict()
            self.state.ema = self.average.averages
            self.state.scaler = scaler.state_dict() if scaler else None
            self.state.pending_log = self.log.pending
            self.log.sync()
            save_state(self.state, self.origin, self.files.states)
        self.accelerator.wait_for_everyone()
        if stopping:
            raise TrainingInterrupted(f"stopped at iteration {done}, state saved; run it again to continue")

    def _save_weights(self, path: Path, **extra: str) -> None:
        progress = {
            "iteration": str(self.state.iteration),
            "seconds": f"{self.state.seconds:.1f}",
            "processes": str(self.accelerator.num_processes),
        }
        with self.average.applied():
            described = describe_sources(self.model, self.sources, path.parent) if self.sources else {}
            described |= described_classes(self.recipe)
            save_weights(self.model, path, {**self.origin, **progress, **extra, **described}, self.names)

    def _refuse_separate_folders(self) -> None:
        iterations = sorted(set(gather_object([self.state.iteration])))
        if len(iterations) > 1:
            raise ConfigError(f"{self.files.states} must be shared by all processes; it has iterations {iterations}")


def _warn_of_no_gradient(norm: float, iteration: int) -> None:
    """Say that nothing is learnt any more, as where the ReLU that reads depth out has become 0 everywhere."""
    if norm == 0:
        message = (
            f"iteration {iteration}: no gradient reaches a weight, so nothing is learnt; "
            "try another train.seed, a lower train.learning_rate or more train.warmup_iterations"
        )
        warnings.warn(message, stacklevel=2)


def check_trainable(model: Method, config: TrainConfig) -> None:
    """Refuse a model that lacks what its training needs, or has nothing left to train.

    Raises:
        ConfigError: says what is missing.
    """
    check_method(model, "training", *([] if config.self_aligned == "off" else ["self_aligned_loss"]))
    if config.validate_every:
        check_method(model, "evaluation")
    check_frozen(model, config)


def check_settings(recipe: Recipe) -> None:
    """Refuse what the settings' own checks cannot see: the device, the processes, the protocol.

    Raises:
        ConfigError: says which setting has to change.
    """
    config = recipe.train
    _check_precision(config)
    BatchLayout(config.batch_size, config.device_batch_size, *rank_and_world())
    if config.validate_every:  # now rather than at the first validation, hours from here
        task_named(recipe.model.task).check_evaluation(recipe.evaluation)


def _check_precision(config: TrainConfig) -> None:
    if config.mixed_precision == "fp16" and not torch.cuda.is_available():
        raise ConfigError("train.mixed_precision=fp16 needs a GPU; use no or bf16 on the CPU")


def _check_writable(folder: Path) -> None:
    """Find out before the training, not after.

    Raises:
        OSError: no file can be written into ``folder``.
    """
    probe = folder / f".write-test.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise OSError(f"cannot write into the output folder {folder}: {error}") from error
