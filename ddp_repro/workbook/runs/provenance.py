"""Where a number comes from: code, packages, machine.  No hostname, user name or absolute path ever enters a record."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import ddp_repro
from ddp_repro.interop.partial import weights_sha256
from ddp_repro.interop.weight_files import HALF_OF, read_metadata
from ddp_repro.networks.attention.deformable import attention_backend
from ddp_repro.settings.overrides import to_dict
from ddp_repro.settings.recipe import Recipe
from ddp_repro.settings.sources import weight_sources
from ddp_repro.store.paths import working_root

PACKAGES = ("ddp-repro", "torch", "torchvision", "timm", "numpy", "accelerate")


@dataclass(frozen=True, kw_only=True)
class Code:
    """The source a run used.

    Attributes:
        commit: git commit, or ``unknown`` outside a repository.
        dirty: whether tracked source differs from that commit (None outside a repository).
        fingerprint: of the whole source, in records from before they said what they depend on (``work``).
    """

    commit: str
    dirty: bool | None
    fingerprint: str | None = None


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The machine and packages of a run."""

    python: str
    packages: dict[str, str]
    system: str  # e.g. "Linux x86_64"
    cpu: str
    gpu: str | None
    backend: str  # of the deformable attention, a key of models.deformable_attention.BACKENDS
    threads: int


def code() -> Code:
    """Return the source now in use."""
    folder = Path(ddp_repro.__file__).parent
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return Code(
        commit=commit or "unknown",
        dirty=None if commit is None or changes is None else bool(changes),
    )


def environment(device: torch.device | str) -> Environment:
    """Return the machine and packages, as seen from a run on ``device``."""
    device = torch.device(device)
    return Environment(
        python=platform.python_version(),
        packages={name: package_version(name) for name in PACKAGES},
        system=f"{platform.system()} {platform.machine()}",
        cpu=_cpu_model(),
        gpu=torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        backend=attention_backend(device),
        threads=torch.get_num_threads(),
    )


def measured_with(facts: dict[str, Any], device: torch.device | str) -> dict[str, Any]:
    """Return what was measured outside of a run, with the code, the machine and its load: how many processes wanted a
    core in the last minute.  Above the number of cores, the machine was not ours alone.
    """
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return facts | {
        "code": dataclasses.asdict(code()), "environment": dataclasses.asdict(environment(device)), "load": load,
    }  # fmt: skip


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def are_weights(path: Path, recorded: str) -> bool:
    """Return whether a file holds the weights of a record; older records have the hash of the whole file.

    Raises:
        CheckpointError: the file cannot be read.
    """
    return recorded in (weights_sha256(path), file_sha256(path))


def half_of(path: Path) -> str | None:
    """Return the hash of the weights that a file holds in half precision; None: it holds others.

    Raises:
        CheckpointError: the file cannot be read.
    """
    return read_metadata(path).get(HALF_OF)


def public_recipe(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as JSON, absolute paths made relative to the clone, or cut to their last part outside it."""
    values = to_dict(dataclasses.replace(recipe, data=recipe.data.placed(_public_path)))
    train = values["train"]
    for name in ("backbone_weights", "initialize_from"):
        train[name] = train[name] and _public_path(train[name])
    sources = weight_sources(recipe.train.weights)
    train["weights"] = [str(source.at(_public_path(source.place))) for source in sources] or None
    return values


def public_file(path: Path) -> str:
    """Return a path fit for a record: relative to the clone, or only its name when it lies elsewhere."""
    return _public_path(str(path.absolute()))


def _public_path(path: str) -> str:
    absolute = Path(path).expanduser()
    if not absolute.is_absolute():
        return path
    root = working_root()
    return absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else absolute.name


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):  # no git, or not a repository: the record says "unknown"
        return None


def package_version(package: str) -> str:
    """Return the version of an installed package, or ``not installed``."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()} ({os.cpu_count()} cores)"
