"""Where things lie: relative paths mean the clone the user works in, not the folder a notebook happens to run in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ddp_repro.settings.errors import ConfigError

ROOT_VARIABLE = "DDP_REPRO_ROOT"


def repository_root() -> Path:
    """Return the clone of this project: the nearest parent of the working directory, else of this file, that is one.

    Raises:
        ConfigError: neither lies in a clone (the package was installed without its repository).
    """
    root = _enclosing_clone(Path.cwd()) or _enclosing_clone(Path(__file__).resolve())
    if root is None:
        raise ConfigError(
            f"the notebooks come with the repository, and neither {Path.cwd()} nor the installed package lies in a "
            "clone of it: run this from a clone"
        )
    return root


def working_root() -> Path:
    """Return what relative paths (``data/...``, ``results/...``) start from.

    The folder that the environment variable ``DDP_REPRO_ROOT`` names, else the clone around the working directory,
    else, in a notebook, the clone that the package was installed from, else the working directory.
    """
    if os.environ.get(ROOT_VARIABLE):
        return Path(os.environ[ROOT_VARIABLE]).absolute()
    clone = _enclosing_clone(Path.cwd())
    if clone is None and _in_notebook():  # whoever runs it, from wherever, means the results beside the notebook
        clone = _enclosing_clone(Path(__file__).resolve())
    return clone or Path.cwd()


def resolve(path: str | Path) -> Path:
    """``path`` made absolute against :func:`working_root`."""
    return working_root() / Path(path).expanduser()


def run_folder(output: str | Path, preset: str, name: str) -> Path:
    """``<output>/<preset>/runs/<name>``: one run's checkpoint, record and figure data."""
    return resolve(output) / preset / "runs" / name


def _enclosing_clone(path: Path) -> Path | None:
    return next((parent for parent in (path, *path.parents) if _is_clone(parent)), None)


def _is_clone(folder: Path) -> bool:
    project = folder / "pyproject.toml"
    return (
        (folder / "notebooks").is_dir()
        and project.is_file()
        and 'name = "ddp-repro"' in project.read_text(encoding="utf-8", errors="replace")
    )


def _in_notebook() -> bool:
    """Whether this process is a Jupyter kernel."""
    kernel = sys.modules.get("ipykernel.kernelapp")
    return kernel is not None and kernel.IPKernelApp.initialized()
