"""Building the index of a copy of nuScenes: scene by scene, in several processes, going on where it was stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from data_prep.nuscenes.checks import check_sample, map_problems
from data_prep.nuscenes.tables import Tables, import_devkit
from ddp_repro.data.io import DataError
from ddp_repro.tasks.bev.nuscenes.index import (
    FORMAT,
    index_path,
    read_json,
    read_scene,
    read_split,
    read_summary,
    summary_path,
    to_json,
)


def build_index(
    source: Path,
    output: Path,
    version: str,
    *,
    jobs: int = 1,
    skip_broken: bool = False,
    progress: bool = True,
) -> None:
    """Write ``output/index``; scenes that are there already are kept.

    Raises:
        DataError: tables, maps or files that are missing or damaged, poses or calibrations that are none, tokens that
            occur twice: token and file are named.
    """
    tables = Tables(source, version)
    wanted = {split: [name for name in names if name in tables.scenes] for split, names in pick_splits(version).items()}
    if not any(wanted.values()):
        raise DataError(f"{source / version}: has no scene of {', '.join(wanted)}; expected nuScenes' scene names")
    locations = {tables.get("log", scene["log_token"])["location"] for scene in tables.scenes.values()}
    maps = map_problems(source, locations)
    if maps and not skip_broken:
        raise DataError(next(iter(maps.values())))
    todo = [
        (split, name)
        for split, names in wanted.items()
        for name in names
        if not _is_done(index_path(output, split, name), version, skip_broken)
    ]
    worker = _Worker(tables, source, output, version, maps, skip_broken)
    shown = {"total": len(todo), "desc": "scenes", "leave": False, "disable": None if progress else True}
    for _ in tqdm(_run(worker, todo, jobs), **shown):
        pass
    _write(summary_path(output), {"format": FORMAT, "version": version, "splits": wanted})


def pick_splits(version: str) -> dict[str, list[str]]:
    """Return the official splits of a version, and the names of their scenes."""
    import_devkit()
    from nuscenes.utils.splits import create_splits_scenes

    names = ("mini_train", "mini_val") if version == "v1.0-mini" else ("train", "val")
    official = create_splits_scenes()
    return {name: official[name] for name in names}


def counts(root: Path) -> dict[str, tuple[int, int]]:
    """Return the samples of each split, and those left out."""
    splits = {split: read_split(root, split) for split in read_summary(root)["splits"]}
    return {split: (len(index.records), len(index.skipped)) for split, index in splits.items()}


class _Worker:
    """Indexes one scene after the other."""

    def __init__(
        self, tables: Tables, source: Path, output: Path, version: str, maps: dict[str, str], skip_broken: bool
    ) -> None:
        self.tables, self.source, self.output, self.version = tables, source, output, version
        self.maps, self.skip_broken = maps, skip_broken

    def __call__(self, task: tuple[str, str]) -> None:
        split, name = task
        scene, records, skipped = self.tables.scenes[name], [], []
        for sample in self.tables.samples(scene):
            try:
                record = self.tables.record(scene, sample)
                if record.location in self.maps:
                    raise DataError(f"sample {record.token} of {name}: {self.maps[record.location]}")
                check_sample(self.source, record, thorough=self.skip_broken)
                records.append(to_json(record))
            except DataError as error:
                if not self.skip_broken:
                    raise
                skipped.append([sample["token"], str(error)])
        content = {"version": self.version, "checked": self.skip_broken, "samples": records, "skipped": skipped}
        _write(index_path(self.output, split, name), content)


_worker: _Worker | None = None  # of this process; forked children have the tables without reading them again


def _run(worker: _Worker, tasks: list[tuple[str, str]], jobs: int) -> Iterator[None]:
    if jobs < 1:
        raise DataError(f"jobs is {jobs}; expected 1 or more")
    if jobs == 1 or len(tasks) < 2:
        yield from map(worker, tasks)
        return
    global _worker
    _worker = worker
    with ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=get_context("fork")) as pool:
        yield from pool.map(_work, tasks)


def _work(task: tuple[str, str]) -> None:
    assert _worker is not None
    _worker(task)


def _is_done(path: Path, version: str, skip_broken: bool) -> bool:
    """Whether a scene was indexed before, from the same version and under the same demands."""
    if not path.is_file():
        return False
    try:
        read_scene(path)
        content = read_json(path)
    except DataError:
        return False
    return (content.get("version"), content.get("checked")) == (version, skip_broken)


def _write(path: Path, content: dict) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content), encoding="utf-8")
    os.replace(partial, path)
