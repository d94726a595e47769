"""``manifest.json``: what a prepared dataset consists of, with the size and SHA-256 of every file."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from ddp_repro.data.io import DataError

NAME = "manifest.json"


def write_manifest(
    root: Path, dataset: str, source: str, counts: dict[str, int], parameters: dict | None = None
) -> None:
    """Record every file under ``root``.

    Args:
        source: where the files are from, in words.
        counts: expected number of images per split.
        parameters: what generated them, for synthetic data.
    """
    content = {
        "dataset": dataset,
        "source": source,
        "counts": counts,
        "parameters": parameters,
        "files": {name: {"size": size, "sha256": digest} for name, (size, digest) in _describe(root).items()},
    }
    (root / NAME).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_manifest(root: Path) -> dict | None:
    """Return the manifest of ``root``, or None if it has none.

    Raises:
        DataError: it is damaged.
    """
    path = root / NAME
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not {"dataset", "source", "counts", "parameters", "files"} <= content.keys():
            raise ValueError("keys are missing")
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path}: is damaged ({error}); expected what data_prep wrote; prepare the dataset again"
        ) from error
    return content


def compare(root: Path, manifest: dict) -> list[str]:
    """Files that are missing, additional or changed since the manifest was written, one line each."""
    recorded, present = manifest["files"], _describe(root)
    problems = [f"{root / name}: is missing, but listed in {NAME}" for name in sorted(recorded.keys() - present.keys())]
    problems += [f"{root / name}: is not listed in {NAME}" for name in sorted(present.keys() - recorded.keys())]
    for name in sorted(recorded.keys() & present.keys()):
        if [recorded[name]["size"], recorded[name]["sha256"]] != list(present[name]):
            problems.append(f"{root / name}: differs from its SHA-256 in {NAME}")
    return problems


def _describe(root: Path) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 of every file but the manifest, by path relative to ``root`` with forward slashes."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and path != root / NAME)
    with ThreadPoolExecutor() as pool:
        digests = list(
            tqdm(pool.map(_digest, files), total=len(files), desc="SHA-256", delay=2, leave=False, disable=None)
        )
    return {f.relative_to(root).as_posix(): (f.stat().st_size, d) for f, d in zip(files, digests, strict=True)}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
