"""The command ``export``: from a recipe's weights to graphs that run without this package."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddp_repro.settings.errors import ConfigError
from ddp_repro.store.paths import resolve
from ddp_repro.store.work import differing
from ddp_repro.terminal import say, short
from ddp_repro.workbook.catalogue import paper_named, paper_names, paper_of
from ddp_repro.workbook.catalogue import recipe as named_recipe

if TYPE_CHECKING:
    from ddp_repro.interop.export.graphs import Format
    from ddp_repro.interop.export.parts import Exportable
    from ddp_repro.settings.recipe import Recipe
    from ddp_repro.workbook.models import LoadedModel


def export(
    recipe: str, format: Format, checkpoint: str | None, output: str | None, int8: bool, measure: str | None
) -> None:
    """Write the graphs of a recipe's model and what a loop around them must know; time and score them if asked."""
    from ddp_repro.costs.size import parse_size
    from ddp_repro.interop.export import graphs

    if format == "onnx":
        graphs.require_packages()
    elif int8 or measure:
        raise ConfigError("--int8 and --measure are for ONNX graphs; leave out --format pt2")
    size = None if measure is None else parse_size(measure)
    check_exportable(named_recipe(recipe))
    from ddp_repro.predicting import recipe_and_weights
    from ddp_repro.workbook.models import load_model

    chosen, weights = recipe_and_weights(recipe, checkpoint)
    loaded, folder = load_model(chosen, weights), Path(output or f"exported/{chosen.name}")
    say(str(loaded.report))
    if size is not None and not getattr(loaded.model, "has_steps", True):
        raise ConfigError(f"{chosen.name}: --measure is for models of an encoder and steps; this one is a single graph")
    _export(chosen, loaded, folder, format, int8)
    if size is not None:
        _measure(chosen, loaded.model, folder, size, int8)


def _measure(recipe: Recipe, model: Any, folder: Path, size: tuple[int, int], int8: bool) -> None:
    """Time and score the graphs, print it, and write ``results/export/<recipe>-<height>x<width>.json``."""
    from ddp_repro.costs.exported import measure_export, report
    from ddp_repro.store.atomic import write_atomically
    from ddp_repro.workbook.runs import provenance

    record = provenance.measured_with(measure_export(recipe, model, folder, size, int8), "cpu")
    path = resolve("results") / "export" / f"{recipe.name}-{size[0]}x{size[1]}.json"
    write_atomically(path, (json.dumps(record, indent=1) + "\n").encode())
    say(report(record))
    say(f"record: {short(path)}")


def check_exportable(recipe: Recipe) -> None:
    """Refuse a recipe whose model has no graphs.

    Raises:
        ConfigError: says why, and what can be exported.
    """
    reason = paper_of(recipe).why_not_exported(recipe)
    if reason is not None:
        others = "; ".join(paper.exports for paper in map(paper_named, paper_names()) if paper.exports)
        raise ConfigError(f"{recipe.name} cannot be exported: {reason}. What can: {others}")


def _export(recipe: Recipe, loaded: LoadedModel, folder: Path, format: Format, int8: bool) -> None:
    """Write graphs and facts into a folder, all or nothing; leave it where it holds them already."""
    from ddp_repro.interop.export.runtime import FACTS

    exportable = paper_of(recipe).export(loaded.model)
    facts = _facts(recipe, loaded) | exportable.facts | {"format": format, "int8": int8}
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        _check_same(folder, facts)
        say(f"{short(folder)}: holds these graphs already")
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as work:
        partial = Path(work) / "export"
        partial.mkdir()
        facts["graphs"] = _write_graphs(exportable, partial, format, int8)
        (partial / FACTS).write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")
        if format == "onnx":
            from ddp_repro.interop.export import runtime

            shutil.copy(runtime.__file__, partial / "runtime.py")
        if folder.is_dir():
            folder.rmdir()  # it is empty
        os.replace(partial, folder)
    for path in sorted(folder.iterdir()):
        say(f"{short(path)}  {path.stat().st_size / 1e6:.1f} MB")


def _write_graphs(exportable: Exportable, folder: Path, format: Format, int8: bool) -> dict[str, Any]:
    """Write each graph, and describe them for the file of facts."""
    from ddp_repro.interop.export import graphs
    from ddp_repro.interop.export.quantisation import quantise

    described = {}
    for name, part in exportable.parts.items():
        graphs.write(part, folder / f"{name}.{format}", format)
        described[name] = {"file": f"{name}.{format}", "inputs": list(part.example), "outputs": list(part.outputs)}
        if int8:
            described[name]["int8"] = f"{name}_int8.onnx"
            quantise(folder / f"{name}.onnx", folder / f"{name}_int8.onnx")
    return described


def _facts(recipe: Recipe, loaded: LoadedModel) -> dict[str, Any]:
    """Return the facts that any export has."""
    import torch

    from ddp_repro import __version__
    from ddp_repro.networks.identity import weights_hash

    model, classes, scale = loaded.model, loaded.classes, getattr(recipe.data, "image_scale", None)
    return {
        "recipe": recipe.name,
        "task": recipe.model.task,
        "weights_sha256": weights_hash(model.state_dict()),
        "versions": {"ddp_repro": __version__, "torch": torch.__version__},
        "mean": list(model.mean),
        "std": list(model.std),
        "image_scale": scale and list(scale),
        "steps": list(recipe.evaluation.steps),
        "classes": {"names": list(classes.names), "palette": [list(color) for color in classes.colors]},
    }


def _check_same(folder: Path, facts: dict[str, Any]) -> None:
    """Refuse a folder with something else in it.

    Raises:
        ConfigError: names what differs.
    """
    from ddp_repro.interop.export.runtime import FACTS

    try:
        before = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        graphs = before.pop("graphs")
    except (OSError, ValueError, KeyError, AttributeError):
        raise ConfigError(f"{folder} is not empty and holds no whole export; choose another --output") from None
    changed = differing(before, json.loads(json.dumps(facts)))
    if changed:
        raise ConfigError(
            f"{folder} holds another export (different {', '.join(sorted(changed))}); choose another --output, or "
            "remove it"
        )
    files = [graph[key] for graph in graphs.values() for key in ("file", "int8") if key in graph]
    if missing := [name for name in files if not (folder / name).is_file()]:
        raise ConfigError(f"{folder} lacks {missing[0]}; choose another --output, or remove it")
