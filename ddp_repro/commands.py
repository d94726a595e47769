"""What the commands of ``ddp-repro`` do; one function each, returning the exit code (None is 0).

The arguments are the parser's (see :mod:`ddp_repro.cli`).
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddp_repro.papers.ddp.recipes.segmentation import PRESETS, recipe_names
from ddp_repro.papers.ddp.recipes.segmentation import recipe as named_recipe
from ddp_repro.settings.recipe import ConfigError, Recipe, from_dict, override, parse_overrides
from ddp_repro.store.paths import repository_root, resolve, run_folder

if TYPE_CHECKING:
    from ddp_repro.workbook.notebooks.runner import Outcome
    from ddp_repro.workbook.runs.records import Record


def reproduce(
    names: list[str], preset: str, everything: bool, jobs: int, parameters: list[str], output: str, overwrite: bool
) -> int:
    """Run notebooks, render the claims and the index page, and show what there is now."""
    from ddp_repro.papers.ddp.claims import claims_table
    from ddp_repro.workbook.index import write_index
    from ddp_repro.workbook.notebooks import runner
    from ddp_repro.workbook.tables.rendering import save_table

    outcomes = runner.reproduce(
        preset, [Path(name).stem for name in names], notebooks=repository_root() / "notebooks",
        output=output, parameters=parse_overrides(parameters), jobs=jobs, overwrite=overwrite,
        everything=everything,
    )  # fmt: skip
    save_table(claims_table(preset, output), resolve(output) / preset / "tables")
    page = write_index(preset, output)
    _show_results(outcomes)
    print(f"\nindex page: {_short(page)}")
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    for outcome in failed:
        print(f"FAILED {outcome.job.notebook.name}: {outcome.message}")
    return int(bool(failed))


def table(name: str, preset: str, output: str) -> None:
    """Print a table as Markdown and write it in every format."""
    from ddp_repro.papers.ddp.claims import claims_table
    from ddp_repro.papers.ddp.tables.ablations import MAKERS
    from ddp_repro.workbook.tables.rendering import save_table, to_markdown
    from ddp_repro.workbook.tables.table import measured_table, paper_table

    special = MAKERS | {"runs": measured_table, "claims": claims_table}
    made = special[name](preset, output) if name in special else paper_table(name, preset, output)
    print(to_markdown(made))
    paths = save_table(made, resolve(output) / preset / "tables")
    print("written: " + ", ".join(_short(path) for path in paths))


def render(preset: str, output: str) -> None:
    """Draw every table and figure, and the index page, anew from what was measured."""
    from ddp_repro.papers.ddp.pages import rerender
    from ddp_repro.workbook.index import write_index

    for path in [*rerender(preset, output), write_index(preset, output)]:
        print(_short(path))


def bench(
    recipe: str, size: str, steps: str, batch: int, dtype: str, backend: str | None, repetitions: int,
    threads: int | None, stages_only: bool, compile: str, channels_last: bool, checkpointing: bool, output: str,
) -> None:  # fmt: skip
    """Time a recipe's model at every size, print the reports, draw stages and growth.

    Fast paths have no published counterpart.
    """
    chosen = named_recipe(recipe)
    if chosen.model.task == "bev":
        if (size, steps, batch, dtype, backend, stages_only) != ("512", "1,3", 1, "float32", None, False):
            raise ConfigError(f"{recipe} is measured at its own size; only --repetitions, --threads and --output apply")
        return _bench_bev(chosen, repetitions, threads, output)
    import torch  # heavy: after the quick checks

    from ddp_repro.papers.ddp.costs.bench import Setting, parse_size
    from ddp_repro.papers.ddp.figures.speed import draw_benches
    from ddp_repro.workbook.runs.bench import report, run_bench

    if threads is not None:
        torch.set_num_threads(threads)
    counts = override(chosen, {"evaluation.steps": steps}).evaluation.steps
    for each in size.split(","):
        setting = Setting(
            size=parse_size(each), steps=counts, batch=batch, dtype=dtype, backend=backend, device=_device(),
            repetitions=repetitions, published=not (stages_only or compile != "off" or channels_last or checkpointing),
            training=not stages_only, compile=compile, channels_last=channels_last, checkpointing=checkpointing,
        )  # fmt: skip
        record = run_bench(chosen, setting, output)
        print(report(record))
    for path in draw_benches(record, output):
        print(f"wrote {path}")


def _bench_bev(recipe: Recipe, repetitions: int, threads: int | None, output: str) -> None:
    """Count and time the stages of a BEV model."""
    import torch

    from ddp_repro.papers.ddp.tables.bev_costs import costs_table, run_costs
    from ddp_repro.workbook.tables.rendering import to_markdown

    if threads is not None:
        torch.set_num_threads(threads)
    print(to_markdown(costs_table(run_costs(recipe, repetitions, output))))


def list_all(preset: str | None) -> None:
    """Recipes by preset, then the notebooks with their parameters."""
    from ddp_repro.workbook.notebooks.notebook import read_notebook

    for each in [preset] if preset else PRESETS:
        print(f"recipes of the preset {each}:")
        for recipe in (named_recipe(name, each) for name in recipe_names(each)):
            print(f"  {recipe.name:<34}{recipe.table:<9}{recipe.row}")
    print("notebooks:")
    for path in sorted((repository_root() / "notebooks").glob("*.ipynb")):
        notebook = read_notebook(path)
        if not preset or not notebook.presets or preset in notebook.presets:
            values = (f"{p.name}={p.default!r}" for p in notebook.parameters.values())
            print(f"  {notebook.name:<34}{', '.join(values)}")


def train(recipe: str, overrides: list[str], preset: str | None, output: str, overwrite: bool) -> None:
    """Train, or go on with an interrupted training."""
    chosen = override(named_recipe(recipe, preset), parse_overrides(overrides))
    from ddp_repro.workbook.runs import run as runs  # heavy: after the quick checks

    result = runs.train(chosen, output=output, overwrite=overwrite)
    _say(
        f"{chosen.name}: {result.iterations} iterations in {result.seconds:.0f} s; weights: {_short(result.checkpoint)}"
    )


def evaluate(
    recipe: str, overrides: list[str], preset: str | None, checkpoint: str | None, steps: str | None, seeds: str | None,
    predictions: str | None, output: str, overwrite: bool,
) -> None:  # fmt: skip
    """Score weights and write the record; save the label maps too, if a folder is given for them."""
    changes = parse_overrides(overrides)
    changes |= {f"evaluation.{k}": v for k, v in {"steps": steps, "seeds": seeds}.items() if v is not None}
    chosen = override(named_recipe(recipe, preset), changes)
    from ddp_repro.workbook.runs import run as runs  # heavy: after the quick checks

    options = {"output": output, "overwrite": overwrite, "predictions": predictions}
    record = runs.evaluate(chosen, checkpoint=checkpoint, **options)
    _show_scores(record)
    _say(f"record: {_short(run_folder(output, record.preset, record.run) / 'record.json')}")


def rescore(folder: str, recipe: str, overrides: list[str], preset: str | None) -> None:
    """Score saved label maps against the recipe's evaluation images."""
    chosen = override(named_recipe(recipe, preset), parse_overrides(overrides))
    from ddp_repro.evaluation.saved import rescore as rescore_folder
    from ddp_repro.tasks.build import build_dataset

    data = dataclasses.replace(chosen.data, root=str(resolve(chosen.data.root)))
    dataset = build_dataset(data, data.eval_split, train=False, mean=(0, 0, 0), std=(1, 1, 1))
    result = rescore_folder(Path(folder), dataset)
    _say(f"{folder}: label maps of {result.images} images of {result.dataset}")
    for (steps, seed), matrix in sorted(result.tallies.items(), key=str):
        _say(f"{steps:>3} steps, seed {seed}: mIoU {100 * matrix.miou:.2f}  mAcc {100 * matrix.macc:.2f}"
             f"  aAcc {100 * matrix.aacc:.2f}")  # fmt: skip


def predict(
    images: list[str], task: str | None, recipe: str | None, checkpoint: str | None, steps: int, noise_samples: int,
    output: str,
) -> None:  # fmt: skip
    """Write label map, overlay and uncertainty, or depth, its preview and uncertainty, as PNG for every picture."""
    from tqdm import tqdm

    from ddp_repro.evaluation.predict import predict as predict_one
    from ddp_repro.interop import load_checkpoint, official_checkpoint
    from ddp_repro.papers.ddp.build import build_model

    if recipe is None and checkpoint is None and task is not None:
        recipe = _trained_for(task)
    chosen, weights = _recipe_and_weights(recipe, checkpoint)
    if task not in (None, chosen.model.task):
        raise ConfigError(f"{chosen.name} is a model for {chosen.model.task}, not for {task}")
    if chosen.model.task == "bev":
        raise ConfigError(
            f"{chosen.name} sees six cameras at once, not single pictures; `ddp-repro evaluate` scores it"
        )
    clash = sorted({path for path in images if sum(Path(path).stem == Path(other).stem for other in images) > 1})
    if clash:
        raise ConfigError(f"pictures of one name would overwrite each other in {output}: {', '.join(clash)}")
    save = _prediction_writer(chosen, Path(output))
    model = build_model(chosen.model)
    _say(str(load_checkpoint(model, official_checkpoint(chosen.name) if weights == "official" else weights)))
    model = model.to(_device()).eval()
    for image in tqdm(images, unit="image", disable=len(images) == 1):
        prediction = predict_one(model, image, steps, noise_samples, image_scale=chosen.data.image_scale)
        for path in save(prediction, Path(image)):
            tqdm.write(_short(path))


def convert(source: str, destination: str, recipe: str) -> None:
    """Write a checkpoint as safetensors."""
    from ddp_repro.interop.convert import convert as convert_checkpoint

    report = convert_checkpoint(source, destination, named_recipe(recipe))
    print(f"{destination}: {report}")


def doctor(as_json: bool) -> int:
    """Examine the installation."""
    from ddp_repro import doctor as examination

    return examination.main(as_json=as_json)


def _prediction_writer(recipe: Recipe, folder: Path) -> Callable[[Any, Path], list[Path]]:
    """What writes the files of one (prediction, picture) of the recipe's task, and returns their paths."""
    from ddp_repro.evaluation.pictures import save_depth, save_prediction

    if recipe.model.task == "depth":
        return lambda prediction, image: save_depth(prediction, image, recipe.model.max_depth, folder)
    from ddp_repro.tasks.segmentation.dataset import dataset_spec

    palette = dataset_spec(recipe.data.dataset, resolve(recipe.data.root)).palette
    return lambda prediction, image: save_prediction(prediction, image, palette, folder)


def _trained_for(task: str) -> str:
    """The recipe of a finished training for ``task``: of real images rather than synthetic ones."""
    from ddp_repro.papers.ddp.recipes.segmentation import PRESETS, recipe_names

    recipes = [named_recipe(name, preset) for preset in reversed(PRESETS) for name in recipe_names(preset)]
    suitable = [r for r in recipes if r.model.task == task and r.model.diffusion and r.weights_of is None]
    for recipe in suitable:
        if (run_folder("results", recipe.preset, recipe.name) / "model.safetensors").is_file():
            _say(f"with {recipe.name}, trained on {recipe.data.dataset} ({recipe.preset})")
            return recipe.name
    names = ", ".join(recipe.name for recipe in suitable)
    raise ConfigError(f"no model for {task} has been trained here: `ddp-repro train RECIPE` with one of {names}")


def _recipe_and_weights(name: str | None, checkpoint: str | None) -> tuple[Recipe, str | Path]:
    """The recipe by name, or the one inside the checkpoint; and its weights, or those that ``train`` has left."""
    if name is None:
        if checkpoint in (None, "official"):
            raise ConfigError("give --recipe, or a --checkpoint that was trained here")
        return _recipe_inside(Path(checkpoint)), checkpoint
    recipe = named_recipe(name)
    if checkpoint is not None:
        return recipe, checkpoint
    trained = recipe.weights_of or name
    weights = run_folder("results", recipe.preset, trained) / "model.safetensors"
    if not weights.is_file():
        raise ConfigError(
            f"{name} has no finished weights in {_short(weights.parent)}: run `ddp-repro train {trained}`, "
            "or give --checkpoint (a file, or official)"
        )
    return _recipe_inside(weights), weights


def _recipe_inside(checkpoint: Path) -> Recipe:
    from ddp_repro.interop.weight_files import read_state_dict

    _, metadata = read_state_dict(checkpoint)
    if "recipe" not in metadata:
        raise ConfigError(f"{checkpoint} does not say which recipe it belongs to; give --recipe")
    return from_dict(Recipe, json.loads(metadata["recipe"]))


def _show_scores(record: Record) -> None:
    from ddp_repro.workbook.runs.records import spread
    from ddp_repro.workbook.tables.measures import MEASURES

    missing = f"; {record.dataset.unannotated} more have no ground truth" if record.dataset.unannotated else ""
    _say(f"{record.name} on {record.dataset.name} {record.dataset.split}, {record.dataset.images} images{missing}")
    headings = "  ".join(f"{MEASURES[metric].heading:>15}" for metric in record.metrics)
    _say(f"steps  {headings}   (± over {len(record.seeds)} seeds)")
    for steps in record.steps:
        cells = []
        for metric in record.metrics:
            decimals, (mean, std) = MEASURES[metric].decimals, spread(record.values(steps, metric))
            cells.append(f"{mean:.{decimals}f}" if std is None else f"{mean:.{decimals}f} ± {std:.{decimals}f}")
        _say(f"{steps:>5}  " + "  ".join(f"{cell:>15}" for cell in cells))
    _say(f"verdict: {record.verdict}")


def _show_results(outcomes: list[Outcome]) -> None:
    """Tables in full, everything else by its path."""
    paths = [
        outcome.job.folder / result
        for outcome in outcomes
        if outcome.state != "failed"
        for result in outcome.job.notebook.results
    ]
    for path in paths:
        if path.suffix == ".md":
            print(f"\n{path.read_text(encoding='utf-8').rstrip()}")
    print()
    for path in paths:
        print(_short(path))


def _say(text: str) -> None:
    """Print, once if torchrun runs several processes."""
    if os.environ.get("RANK", "0") == "0":
        print(text)


def _short(path: Path) -> str:
    """Relative to the working directory where it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
