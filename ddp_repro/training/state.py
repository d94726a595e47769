"""Resumable training state on disk: a killed run always leaves one that can be loaded."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ddp_repro.interop.weight_files import check_archive
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.errors import CheckpointError, ConfigError
from ddp_repro.settings.overrides import changed_settings, to_dict, training_depends_on
from ddp_repro.settings.recipe import Recipe

_KEPT = 2  # states left on disk
_YOUNGER = ("ema", "sources")  # fields that states from before 0.2.0 lack


@dataclass
class TrainingState:
    """All that training needs to continue; random numbers and data order follow from the iteration."""

    iteration: int = 0  # iterations done
    seconds: float = 0.0
    best_score: float = -math.inf
    model: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] | None = None  # of fp16
    pending_log: dict[str, float] = field(default_factory=dict)
    ema: dict[str, Any] = field(default_factory=dict)  # the moving average's; empty: there is none
    sources: dict[str, str] = field(default_factory=dict)  # identities of what ``model`` leaves out; empty: nothing


def provenance(recipe: Recipe, fingerprint: str) -> dict[str, str]:
    """Return what each checkpoint says of its origin: the recipe as JSON, and the training images' fingerprint."""
    return {"recipe": json.dumps(to_dict(recipe)), "data": fingerprint}


def described_classes(recipe: Recipe) -> dict[str, str]:
    """Return what weights say of their classes, so that whoever predicts with them needs no data set."""
    classes = task_named(recipe.model.task).classes(recipe.data)
    return {"classes": json.dumps(classes._asdict())} if classes.names else {}


def save_state(state: TrainingState, origin: dict[str, str], folder: Path) -> Path:
    """Write ``folder/iteration-<n>.pt`` and remove all but the last two; the file appears complete or not at all.

    Raises:
        OSError: it could not be written, e.g. the disk is full; earlier states are left as they were.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"iteration-{state.iteration:09d}.pt"
    temporary = path.with_suffix(".tmp")
    values = {f.name: getattr(state, f.name) for f in dataclasses.fields(state)}
    try:
        with temporary.open("wb") as file:
            torch.save({**origin, **values}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(folder)
    except (OSError, RuntimeError) as error:  # torch reports a failed write as RuntimeError
        temporary.unlink(missing_ok=True)
        raise OSError(f"cannot write {path}: {error}; earlier states are kept") from error
    for old in saved_states(folder)[:-_KEPT]:
        old.unlink()
    return path


def saved_states(folder: Path) -> list[Path]:
    """Return the state files in ``folder``, oldest first."""
    return sorted(folder.glob("iteration-*.pt"))


def load_state(path: Path, origin: dict[str, str]) -> TrainingState:
    """Read a state that was saved under ``origin``; no code in the file is run.

    Raises:
        CheckpointError: the file is truncated, holds anything but tensors and plain values, or is no training state.
        ConfigError: it was written for another recipe or other images; the message names the fields.
    """
    advice = "delete it to resume from the one before it, or train with resume=False to start again"
    try:
        check_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"{path}: not a readable training state ({reason}); {advice}") from error
    names = [f.name for f in dataclasses.fields(TrainingState)]
    if not isinstance(content, dict) or not {*names, *origin} - {*_YOUNGER} <= content.keys():
        raise CheckpointError(f"{path}: not a training state (expected {', '.join([*origin, *names])}); {advice}")
    refuse_other_origin(content, origin, path)
    return TrainingState(**{name: content[name] for name in names if name in content})


def refuse_other_origin(saved: dict[str, Any], origin: dict[str, str], path: Path) -> None:
    """Compare what a checkpoint says about its origin with this run's.

    Raises:
        ConfigError: recipe or training images differ in a way that changes the trained weights.
    """
    advice = "give the run a folder of its own, or train with resume=False to replace it"
    try:
        before, now = json.loads(saved["recipe"]), json.loads(origin["recipe"])
        differences = changed_settings(before, now, *training_depends_on(now))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: carries no readable recipe ({error!r}); {advice}") from error
    if differences:
        raise ConfigError(f"{path} was trained with another recipe: {'; '.join(differences)}. {advice}")
    if saved.get("data") != origin["data"]:
        raise ConfigError(f"{path} was trained on other images than {now['data']['root']} holds now; {advice}")


def _sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
