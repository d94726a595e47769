"""What commands print: by one process alone, with paths as a user would type them."""

from __future__ import annotations

import os
from pathlib import Path


def say(text: str) -> None:
    """Print, once if torchrun runs several processes."""
    if os.environ.get("RANK", "0") == "0":
        print(text)


def short(path: Path) -> str:
    """Return a path as text, relative to the working directory where it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def usual_device() -> str:
    """Return ``cuda`` where there is a GPU, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
