"""What a notebook's result depends on: its source, its parameters, the package's code and the data."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
from pathlib import Path
from typing import Any

from ddp_repro.store.paths import resolve
from ddp_repro.store.source import COMPILED, file_hash
from ddp_repro.workbook.catalogue import recipe, recipe_names
from ddp_repro.workbook.notebooks.notebook import Notebook


def fingerprint(notebook: Notebook, preset: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Source hash, parameters, code hash, and one hash per dataset folder that the notebook reads."""
    roots = {
        r.data.root
        for r in (recipe(name, preset) for name in recipe_names(preset))
        if notebook.datasets is None or r.data.dataset in notebook.datasets
    }
    return {
        "source": notebook.source_hash,
        "parameters": parameters,
        "code": code_hash(),
        "data": {root: folder_hash(resolve(root)) for root in sorted(roots)},
    }


@functools.cache
def code_hash() -> str:
    """Return the SHA-256 of all code of ``ddp_repro`` and ``data_prep``, without comments and docstrings."""
    digest = hashlib.sha256()
    for package in ("ddp_repro", "data_prep"):
        spec = importlib.util.find_spec(package)
        assert spec and spec.submodule_search_locations  # both are packages
        folder = Path(spec.submodule_search_locations[0])
        for path in sorted(path for path in folder.rglob("*") if path.suffix in (".py", *COMPILED)):
            digest.update(f"{package}/{path.relative_to(folder).as_posix()}\0{file_hash(path)}\n".encode())
    return digest.hexdigest()


def folder_hash(folder: Path) -> str | None:
    """sha256 over the names and sizes of all files below ``folder``; ``None`` where there is no such folder.

    Contents are not read: the paper's datasets have tens of gigabytes.
    """
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(parent, name)
            digest.update(
                f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\n".encode(errors="surrogateescape")
            )
    return digest.hexdigest()
