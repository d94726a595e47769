"""What the commands of ``ddp-repro`` do; one function each, returning the exit code (None is 0).

The arguments are the parser's (see :mod:`ddp_repro.cli`).
"""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddp_repro.evaluation.measure import mean_text, number_text
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.overrides import from_dict, override, parse_overrides
from ddp_repro.settings.presets import PRESETS
from ddp_repro.settings.recipe import Recipe
from ddp_repro.store.paths import repository_root, resolve, run_folder
from ddp_repro.workbook.catalogue import claims_of, full_name, paper_named, paper_names, paper_of, recipe_names
from ddp_repro.workbook.catalogue import recipe as named_recipe
from ddp_repro.workbook.predictors import answers, predictor_for

if TYPE_CHECKING:
    from ddp_repro.evaluation.folders import Report
    from ddp_repro.workbook.notebooks.runner import Outcome
    from ddp_repro.workbook.runs.records import Record


def reproduce(
    names: list[str], preset: str, everything: bool, jobs: int, parameters: list[str], output: str, overwrite: bool
) -> int:
    """Run notebooks, render the claims and the index page, and show what there is now.

    SIGINT, SIGTERM and SIGHUP end it, and all that it started, within seconds.
    """
    from ddp_repro.cli import interrupted
    from ddp_repro.workbook.notebooks.interruption import Interrupted, interruptible

    try:
        with interruptible(interrupted):
            return _reproduce(names, preset, everything, jobs, parameters, output, overwrite)
    except Interrupted as error:
        code = interrupted(error)
    gc.collect()  # gives back what processes shared; it hangs on the exception, which is gone by now
    os._exit(code)  # at once: threads of libraries can hold the interpreter's own end back for seconds


def _reproduce(
    names: list[str], preset: str, everything: bool, jobs: int, parameters: list[str], output: str, overwrite: bool
) -> int:
    from ddp_repro.workbook.index import write_index
    from ddp_repro.workbook.notebooks import runner
    from ddp_repro.workbook.tables.rendering import save_table

    outcomes = runner.reproduce(
        preset, [Path(name).stem for name in names], notebooks=repository_root() / "notebooks",
        output=output, parameters=parse_overrides(parameters), jobs=jobs, overwrite=overwrite,
        everything=everything,
    )  # fmt: skip
    for paper in map(paper_named, paper_names()):
        if claims := paper.tables.get(f"{paper.name}_claims"):
            save_table(claims(preset, output), resolve(output) / preset / "tables")
    page = write_index(preset, output)
    _show_results(outcomes)
    print(f"\nindex page: {_short(page)}")
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    for outcome in failed:
        print(f"FAILED {outcome.job.notebook.name}: {outcome.message}")
    return int(bool(failed))


def table(name: str, preset: str, output: str) -> None:
    """Print a table as Markdown and write it in every format."""
    from ddp_repro.workbook.tables.rendering import save_table, to_markdown
    from ddp_repro.workbook.tables.table import measured_table, paper_table

    makers = {"runs": measured_table}
    for paper in map(paper_named, paper_names()):
        makers |= paper.tables
    name = name if name in makers else full_name(name)
    made = makers[name](preset, output) if name in makers else paper_table(name, preset, output)
    print(to_markdown(made))
    paths = save_table(made, resolve(output) / preset / "tables")
    print("written: " + ", ".join(_short(path) for path in paths))


def render(preset: str, output: str) -> None:
    """Draw every table and figure, and the index page, anew from what was measured."""
    from ddp_repro.workbook.index import write_index

    for paper in map(paper_named, paper_names()):
        for path in paper.render(preset, output):
            print(_short(path))
    print(_short(write_index(preset, output)))


def decide(claims: list[str], budget: str, paper: str, preset: str, output: str) -> None:
    """Train what claims still need, and print their verdicts."""
    from ddp_repro.workbook.claims import decide as deciding

    seconds, source = deciding.parse_duration(budget), paper_named(paper)
    questions = claims_of(source, preset)
    keys = [question[0].key for question in questions] if claims == ["all"] else claims
    trainer = deciding.Trainer(preset, output)
    for verdict in deciding.decide(questions, keys, lambda: source.evidence(preset, output), trainer, seconds):
        print(f"{verdict.claim.key} ({verdict.claim.model}): {verdict.verdict}; {verdict.evidence}")


def papers(output: str, readme: bool) -> None:
    """Write the map of the papers and print it; with ``readme``, write README's generated parts instead."""
    from ddp_repro.workbook.papers_map import write_map
    from ddp_repro.workbook.readme import update_readme

    if readme:
        update_readme(repository_root() / "README.md", output)
        return

    paths = write_map(repository_root() / "notebooks", output)
    print(paths[0].read_text(encoding="utf-8"))
    print("written: " + ", ".join(_short(path) for path in paths))


def bench(recipe: str, threads: int | None, output: str, **options: Any) -> None:
    """Time the stages of a recipe's model beside their floors, print the reports, draw stages and growth."""
    chosen = named_recipe(recipe)
    paper_of(chosen).check_bench(chosen, options)
    import torch  # heavy: after the quick checks

    if threads is not None:
        torch.set_num_threads(threads)
    for line in paper_of(chosen).bench(chosen, options, _device(), output):
        print(line)


def list_all(preset: str | None) -> None:
    """Recipes by preset, then the notebooks with their parameters."""
    from ddp_repro.workbook.notebooks.notebook import read_notebook

    for each in [preset] if preset else PRESETS:
        print(f"recipes of the preset {each}:")
        for recipe in (named_recipe(name, each) for name in recipe_names(each)):
            print(f"  {recipe.name:<34}{recipe.table:<19}{recipe.row}")
    try:
        folder = repository_root() / "notebooks"
    except ConfigError as error:  # an installed package has recipes, and no notebooks
        print(f"notebooks: {error}")
        return
    print("notebooks:")
    for path in sorted(folder.glob("*.ipynb")):
        notebook = read_notebook(path)
        if not preset or not notebook.presets or preset in notebook.presets:
            values = (f"{p.name}={p.default!r}" for p in notebook.parameters.values())
            print(f"  {notebook.name:<34}{', '.join(values)}")


def train(recipe: str, overrides: list[str], preset: str | None, output: str, overwrite: bool) -> None:
    """Train, or go on with an interrupted training."""
    chosen = _overridden(recipe, preset, parse_overrides(overrides))
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
    chosen = _overridden(recipe, preset, changes)
    from ddp_repro.workbook.runs import run as runs  # heavy: after the quick checks

    options = {"output": output, "overwrite": overwrite, "predictions": predictions}
    record = runs.evaluate(chosen, checkpoint=checkpoint, **options)
    _show_scores(record)
    _say(f"record: {_short(run_folder(output, record.preset, record.run) / 'record.json')}")


def map_use(
    recipe: str, overrides: list[str], preset: str | None, checkpoint: str | None, steps: int, limit: int | None,
    output: str, overwrite: bool,
) -> None:  # fmt: skip
    """Give a model the true map, another image's, none and noise at every step, and print what it makes of each."""
    chosen = _overridden(recipe, preset, parse_overrides(overrides))
    from ddp_repro.workbook.runs import run as runs  # heavy: after the quick checks
    from ddp_repro.workbook.runs.analyses import Subject
    from ddp_repro.workbook.tables.map_use import map_use_table
    from ddp_repro.workbook.tables.rendering import to_markdown

    analyses = paper_of(chosen).analyses
    if "map_use" not in analyses:
        raise ConfigError(f"{chosen.name}: its paper has no map-use; it has {', '.join(analyses)}")
    record = runs.evaluate(chosen, checkpoint=checkpoint, output=output, overwrite=overwrite)
    subject = Subject(recipe=chosen, record=record, output=output, checkpoint=checkpoint, overwrite=overwrite)
    analysis = analyses["map_use"](subject, steps=steps, limit=limit)
    table = map_use_table([analysis])
    _say(to_markdown(table))
    _say(f"written: {_short(run_folder(output, record.preset, record.run) / 'map_use.json')}")


def rescore(folder: str, recipe: str, overrides: list[str], preset: str | None) -> None:
    """Score saved label maps against the recipe's evaluation images."""
    chosen = _overridden(recipe, preset, parse_overrides(overrides))
    from ddp_repro.tasks.build import build_dataset
    from ddp_repro.tasks.segmentation.rescore import rescore as rescore_folder

    data = chosen.data.placed(lambda root: str(resolve(root)))
    dataset = build_dataset(data, data.eval_split, train=False, mean=(0, 0, 0), std=(1, 1, 1))
    result = rescore_folder(Path(folder), dataset)
    names = {"miou": "mIoU", "macc": "mAcc", "aacc": "aAcc"}
    _say(f"{folder}: label maps of {result.images} images of {result.dataset}")
    for (steps, seed), counts in sorted(result.tallies.items(), key=str):
        scores = [f"{name} {number_text(100 * counts.value(metric), 2)}" for metric, name in names.items()]
        _say(f"{steps:>3} steps, seed {seed}: {'  '.join(scores)}")


def predict(
    images: list[str], task: str | None, method: str | None, recipe: str | None, checkpoint: str | None, steps: int,
    noise_samples: int, resolution: int | None, output: str, device: str, arrays: bool,
) -> int:  # fmt: skip
    """Write a task's maps of every picture: labels, depth, normals, masks or mattes, previews, uncertainty."""
    from ddp_repro.store.deferred import defer_image_models

    defer_image_models()  # before anything imports timm: one picture should not wait for all of its models
    from ddp_repro.evaluation.folders import find_pictures, predict_pictures, save_arrays
    from ddp_repro.evaluation.predict import predict as predict_one
    from ddp_repro.interop import load_checkpoint
    from ddp_repro.networks.identity import weights_hash
    from ddp_repro.settings.checks import check_positive

    if method is not None and (task is None or recipe or checkpoint):
        raise ConfigError("--method goes with --task, in place of a recipe and a checkpoint")
    if recipe is None and checkpoint is None and task is not None:
        found, checkpoint = predictor_for(task, method)
        recipe, data = found.name, f"trained on {found.data.dataset} ({found.preset})"
        _say(f"with {recipe}, " + ("the authors' weights" if checkpoint else data))
    chosen, weights = _recipe_and_weights(recipe, checkpoint)
    if task is not None and not answers(chosen, task):
        raise ConfigError(f"{chosen.name} is a model for {chosen.model.task}, not for {task}")
    task_object = task_named(chosen.model.task)
    if task_object.predict is None:
        raise ConfigError(f"{chosen.name}: {task_object.not_from_a_picture}; `ddp-repro evaluate` scores it")
    check_positive(steps=steps, noise_samples=noise_samples, resolution=resolution)
    scale = chosen.data.image_scale if resolution is None else (resolution, resolution)
    place, folder = _checked_device(device), Path(output)
    pictures = find_pictures(images, folder)
    model = chosen.model.build()
    weights = paper_of(chosen).official_checkpoint(chosen.name) if weights == "official" else weights
    loaded = load_checkpoint(model, weights)
    classes = loaded.classes or task_object.classes(chosen.data)
    save = task_object.writer(chosen.model, classes)

    def write(prediction: Any, image: Path, folder: Path, name: str) -> list[Path]:
        paths = save(prediction, image, folder, name) + (save_arrays(prediction, folder, name) if arrays else [])
        return list(dict.fromkeys(paths))

    _say(str(loaded))
    model = model.to(place).eval()
    decisive = {
        "recipe": chosen.name, "weights_sha256": weights_hash(model.state_dict()),
        "steps": steps, "noise_samples": noise_samples,
        "image_scale": scale and list(scale), "arrays": arrays,
    }  # fmt: skip
    report = predict_pictures(
        lambda path: predict_one(model, path, steps, noise_samples, image_scale=scale),
        write, pictures, folder, model=decisive, class_names=classes.names,
    )  # fmt: skip
    _show_predictions(report, len(pictures), folder)
    return int(bool(report.failed))


def convert(source: str, destination: str, recipe: str) -> None:
    """Write a checkpoint as safetensors."""
    from ddp_repro.interop.convert import convert as convert_checkpoint

    report = convert_checkpoint(source, destination, named_recipe(recipe))
    print(f"{destination}: {report}")


def doctor(as_json: bool) -> int:
    """Examine the installation."""
    from ddp_repro import doctor as examination

    return examination.main(as_json=as_json)


def _show_predictions(report: Report, pictures: int, folder: Path) -> None:
    """The files of a single picture; of more, how many there are and where."""
    from ddp_repro.evaluation.folders import MANIFEST

    if pictures == 1:
        for path in report.written:
            _say(_short(path))
    before = f"{report.done_before} of {pictures} pictures done before with this model; " if report.done_before else ""
    failed = f"; {len(report.failed)} FAILED" if report.failed else ""
    done = pictures - report.done_before - len(report.failed)
    _say(f"{before}{done} predicted{failed}; manifest: {_short(folder / MANIFEST)}")


def _checked_device(name: str) -> str:
    """The device of this name, ``auto`` being a GPU where there is one.

    Raises:
        ConfigError: PyTorch knows no such device, or this machine has none.
    """
    import torch

    if name == "auto":
        return _device()
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"--device {name}: cannot be used here ({str(error).splitlines()[0]})") from None
    return name


def _overridden(name: str, preset: str | None, changes: dict[str, str]) -> Recipe:
    """A recipe with changed settings, and with what its data set alone knows."""
    chosen = override(named_recipe(name, preset), changes)
    return task_named(chosen.model.task).complete(chosen)


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
    from ddp_repro.workbook.tables.measures import measures

    missing = f"; {record.dataset.unannotated} more have no ground truth" if record.dataset.unannotated else ""
    _say(f"{record.name} on {record.dataset.name} {record.dataset.split}, {record.dataset.images} images{missing}")
    headings = "  ".join(f"{measures()[metric].heading:>15}" for metric in record.metrics)
    _say(f"steps  {headings}   (± over {len(record.seeds)} seeds)")
    for steps in record.steps:
        cells = []
        for metric in record.metrics:
            cells.append(mean_text(record.values(steps, metric), measures()[metric].decimals))
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
