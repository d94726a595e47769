"""Where things lie: relative paths mean the clone the user works in, not the folder a notebook happens to run in."""

from __future__ import annotations

from pathlib import Path

from ddp_repro.settings.errors import ConfigError

_MARKER = Path("results", "paper", "table1.json")


def repository_root() -> Path:
    """The clone of this project: the nearest parent of the working directory, else of this file, that is one.

    Raises:
        ConfigError: neither lies in a clone (the package was installed without its repository).
    """
    root = _enclosing_clone(Path.cwd()) or _enclosing_clone(Path(__file__).resolve())
    if root is None:
        raise ConfigError(
            f"{_MARKER.as_posix()} is neither above {Path.cwd()} nor above the installed package: "
            "the paper's numbers come with the repository, so run from a clone of it"
        )
    return root


def working_root() -> Path:
    """What relative paths (``data/...``, ``results/...``) start from: the enclosing clone, else the folder."""
    return _enclosing_clone(Path.cwd()) or Path.cwd()


def resolve(path: str | Path) -> Path:
    """``path`` made absolute against :func:`working_root`."""
    return working_root() / Path(path).expanduser()


def run_folder(output: str | Path, preset: str, name: str) -> Path:
    """``<output>/<preset>/runs/<name>``: one run's checkpoint, record and figure data."""
    return resolve(output) / preset / "runs" / name


def _enclosing_clone(path: Path) -> Path | None:
    return next((parent for parent in (path, *path.parents) if (parent / _MARKER).is_file()), None)
