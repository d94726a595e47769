"""Tasks by name: the built-in ones are imported when they are asked for, a user's own are registered."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from ddp_repro.protocols.task import Task
from ddp_repro.settings.errors import ConfigError

# Folders of ddp_repro.tasks.
BUILT_IN = ("segmentation", "depth", "bev", "affine_depth", "normals", "dichotomous", "matting")
_REGISTERED: dict[str, Task] = {}


def register_task(task: Task) -> None:
    """Add a task of one's own; training, evaluation, tables and ``predict`` then know it.

    Raises:
        ConfigError: it lacks a part, which is named.
    """
    require_parts(task, Task)
    _REGISTERED[task.name] = task


def require_parts(thing: Any, protocol: type) -> None:
    """Refuse a task or paper of one's own that lacks a part: of the protocol, or of a base that it builds upon.

    Raises:
        ConfigError: names the parts.
    """
    bases = [vars(base).get("__annotations__", {}) for base in type(thing).__mro__]
    parts = dict.fromkeys([*protocol.__annotations__, *vars(protocol), *(name for base in bases for name in base)])
    missing = [name for name in parts if not name.startswith("_") and not hasattr(thing, name)]
    if missing:
        kind = protocol.__name__.lower()
        raise ConfigError(f"{kind} {getattr(thing, 'name', thing)!r} lacks {', '.join(missing)}")


def task_names() -> tuple[str, ...]:
    """Return the names of all tasks."""
    return (*BUILT_IN, *_REGISTERED)


def task_named(name: str) -> Task:
    """Return a task by name.

    Raises:
        ConfigError: there is no such task; names those that there are.
    """
    if name in _REGISTERED:
        return _REGISTERED[name]
    if name not in BUILT_IN:
        raise ConfigError(f"no task {name!r}; tasks are {', '.join(task_names())}")
    return _built_in(name)


def tasks() -> tuple[Task, ...]:
    """Return all tasks."""
    return tuple(map(task_named, task_names()))


@cache
def _built_in(name: str) -> Task:
    return importlib.import_module(f"ddp_repro.tasks.{name}.task").TASK
