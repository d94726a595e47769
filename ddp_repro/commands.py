"""What the commands of ``ddp-repro`` do; one function each, returning the exit code (None is 0).

The arguments are the parser's (see :mod:`ddp_repro.cli`).
"""

from __future__ import annotations

import gc
import json
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddp_repro.evaluation.measure import mean_text, number_text
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.launchers import announced_processes
from ddp_repro.settings.overrides import override, parse_overrides
from ddp_repro.settings.recipe import Recipe
from ddp_repro.store.paths import repository_root, resolve, run_folder
from ddp_repro.terminal import say, short, usual_device
from ddp_repro.workbook.catalogue import full_name, paper_named, paper_names, paper_of
from ddp_repro.workbook.catalogue import recipe as named_recipe

if TYPE_CHECKING:
    from ddp_repro.workbook.jobs.slurm import Slurm
    from ddp_repro.workbook.notebooks.runner import Outcome
    from ddp_repro.workbook.runs.records import Record


def reproduce(
    names: list[str], preset: str, everything: bool, jobs: int, parameters: list[str], executor: str, slurm: list[str],
    output: str, overwrite: bool,
) -> int:  # fmt: skip
    """Run notebooks, render the claims and the index page, and show what there is now.

    SIGINT, SIGTERM and SIGHUP end it, and all that it started, within seconds.
    """
    from ddp_repro.cli import interrupted
    from ddp_repro.workbook.notebooks.interruption import Interrupted, interruptible

    asked = _cluster(executor, slurm)
    if asked and jobs != 1:
        raise ConfigError("--jobs is for --executor local: a cluster decides how many jobs run at once")
    try:
        with interruptible(interrupted):
            return _reproduce(names, preset, everything, jobs, parameters, asked, output, overwrite)
    except Interrupted as error:
        code = interrupted(error)
    gc.collect()  # gives back what processes shared; it hangs on the exception, which is gone by now
    os._exit(code)  # at once: threads of libraries can hold the interpreter's own end back for seconds


def _reproduce(
    names: list[str], preset: str, everything: bool, jobs: int, parameters: list[str], slurm: Slurm | None,
    output: str, overwrite: bool,
) -> int:  # fmt: skip
    from ddp_repro.workbook.index import write_index
    from ddp_repro.workbook.notebooks import runner
    from ddp_repro.workbook.runs.records import find_records
    from ddp_repro.workbook.tables.rendering import save_table

    outcomes = runner.reproduce(
        preset, [Path(name).stem for name in names], notebooks=repository_root() / "notebooks",
        output=output, parameters=parse_overrides(parameters), jobs=jobs, slurm=slurm, overwrite=overwrite,
        everything=everything,
    )  # fmt: skip
    measured = {record.table.partition("_")[0] for record in find_records(preset, output)}
    for paper in map(paper_named, measured.intersection(paper_names())):
        claims = paper.tables.get(f"{paper.name}_claims")
        if claims and len((table := claims(preset, output)).frame):  # some presets judge none
            save_table(table, resolve(output) / preset / "tables")
    page = write_index(preset, output)
    _show_results(outcomes)
    print(f"\nindex page: {short(page)}")
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
    print("written: " + ", ".join(short(path) for path in paths))


def render(preset: str, output: str) -> None:
    """Draw every table and figure, and the index page, anew from what was measured."""
    from ddp_repro.workbook.index import write_index
    from ddp_repro.workbook.verification.table import save_reproduced

    for paper in map(paper_named, paper_names()):
        for path in paper.render(preset, output):
            print(short(path))
    for path in save_reproduced(preset, output):
        print(short(path))
    print(short(write_index(preset, output)))


def decide(
    claims: list[str], budget: str, paper: str, preset: str, executor: str, slurm: list[str], output: str
) -> None:
    """Train what claims still need, and print their verdicts."""
    from ddp_repro.settings.durations import parse_duration
    from ddp_repro.workbook.claims import decide as deciding
    from ddp_repro.workbook.claims.cluster import ClusterTrainer

    seconds, source, asked = parse_duration(budget), paper_named(paper), _cluster(executor, slurm)
    questions = source.claims(preset)
    keys = [q[0].key for q in questions if not q[0].for_gpu] if claims == ["all"] else claims
    trainer = ClusterTrainer(preset, output, asked) if asked else deciding.Trainer(preset, output)
    with _interruptible(asked):
        verdicts = deciding.decide(questions, keys, lambda: source.evidence(preset, output), trainer, seconds)
    for verdict in verdicts:
        print(f"{verdict.claim.key} ({verdict.claim.model}): {verdict.verdict}; {verdict.evidence}")


def verify(runs: list[str], train: bool, budget: str | None, preset: str, output: str) -> int:
    """Do again what records say; the exit status is 1 where a score differs."""
    from ddp_repro.settings.durations import parse_duration

    if budget and not train:
        raise ConfigError("--budget is for trainings: it needs --train")
    seconds = parse_duration(budget) if budget else None
    from ddp_repro.workbook.verification.verify import verify as verify_records  # heavy: after the quick checks

    outcomes: Counter[str] = Counter()
    for verified in verify_records(runs, preset, output, train=train, budget=seconds):
        print(verified.words, flush=True)
        outcomes[verified.attempt.outcome if verified.attempt else "cannot be run here"] += 1
    print(", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()) or f"no records under {preset}")
    return int(outcomes["differs"] > 0)


def papers(output: str, readme: bool) -> None:
    """Write the map of the papers and print it; with ``readme``, write README's generated parts instead."""
    from ddp_repro.workbook.papers_map import write_map
    from ddp_repro.workbook.readme import update_readme

    if readme:
        update_readme(repository_root() / "README.md", output)
        return

    paths = write_map(repository_root() / "notebooks", output)
    print(paths[0].read_text(encoding="utf-8"))
    print("written: " + ", ".join(short(path) for path in paths))


def bench(recipe: str, threads: int | None, output: str, **options: Any) -> None:
    """Time the stages of a recipe's model beside their floors, print the reports, draw stages and growth."""
    chosen = named_recipe(recipe)
    paper_of(chosen).check_bench(chosen, options)
    import torch  # heavy: after the quick checks

    if threads is not None:
        torch.set_num_threads(threads)
    for line in paper_of(chosen).bench(chosen, options, usual_device(), output):
        print(line)


def list_all(as_json: bool, **filters: str | None) -> None:
    """Print the recipes of a paper, table, preset, task and data set, and the notebooks for them."""
    from ddp_repro.workbook import listing

    recipes = listing.list_recipes(filters)
    notebooks, missing = None, ""
    try:
        notebooks = listing.list_notebooks(repository_root() / "notebooks", recipes)
    except ConfigError as error:  # an installed package has recipes, and no notebooks
        missing = f" {error}"
    if as_json:
        print(json.dumps(listing.as_json(recipes, notebooks), indent=2))
        return
    print("recipes:" if recipes else "recipes: none")
    _print_columns(recipes)
    print(f"notebooks:{missing or ('' if notebooks else ' none')}")
    rows = ((n.name, ", ".join(f"{p.name}={p.default!r}" for p in n.parameters.values())) for n in notebooks or ())
    _print_columns([*rows])


def _print_columns(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def train(
    recipe: str, overrides: list[str], preset: str | None, executor: str, slurm: list[str], output: str,
    overwrite: bool,
) -> int:  # fmt: skip
    """Train, or go on with an interrupted training."""
    asked = _cluster(executor, slurm)
    chosen = _overridden(recipe, preset, parse_overrides(overrides))
    if asked:
        words = [recipe, *overrides, *(["--preset", preset] if preset else []), "--output", output]
        return _train_on_cluster(chosen, [*words, *(["--overwrite"] if overwrite else [])], output, asked)
    from ddp_repro.workbook.runs import run as runs  # heavy: after the quick checks

    result = runs.train(chosen, output=output, overwrite=overwrite)
    say(f"{chosen.name}: {result.iterations} iterations in {result.seconds:.0f} s; weights: {short(result.checkpoint)}")
    return 0


def _train_on_cluster(chosen: Recipe, words: list[str], output: str, slurm: Slurm) -> int:
    """Have a cluster train, and wait for it; returns the exit code."""
    from ddp_repro.training.stream import BatchLayout
    from ddp_repro.workbook.jobs.slurm import run_on_slurm
    from ddp_repro.workbook.jobs.training import training

    # now rather than in the job, which may be in the queue for hours
    BatchLayout(chosen.train.batch_size, chosen.train.device_batch_size, 0, slurm.nodes * slurm.processes)
    job, failed = training(chosen, words, output), False
    with _interruptible(slurm):
        for _, problem in run_on_slurm([job], slurm, resolve(output) / chosen.preset / "jobs"):
            failed = problem is not None
            say(f"FAILED {job.name}: {problem}" if failed else f"{job.name}: weights: {short(job.files[0])}")
    return int(failed)


def _cluster(executor: str, words: list[str]) -> Slurm | None:
    """Return what is asked of a cluster; None: it runs on this machine.

    Raises:
        ConfigError: something is asked of a cluster that is not to be used, or that cannot be reached from here.
    """
    from ddp_repro.workbook.jobs.slurm import check_cluster, parse_slurm

    if executor == "local":
        if words:
            raise ConfigError(f"--slurm {words[0]} is for --executor slurm")
        return None
    asked = parse_slurm(words)
    check_cluster()
    if announced_processes() > 1:
        raise ConfigError("--executor slurm starts torchrun inside its jobs: start it without torchrun")
    return asked


def _interruptible(slurm: Slurm | None) -> AbstractContextManager[None]:
    """Have SIGTERM and SIGHUP cancel a cluster's jobs, as Ctrl-C does; a training here heeds them itself."""
    from ddp_repro.workbook.notebooks.interruption import interruptible

    return interruptible() if slurm else nullcontext()


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
    say(f"record: {short(run_folder(output, record.preset, record.run) / 'record.json')}")


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
    say(to_markdown(table))
    say(f"written: {short(run_folder(output, record.preset, record.run) / 'map_use.json')}")


def rescore(folder: str, recipe: str, overrides: list[str], preset: str | None) -> None:
    """Score saved label maps against the recipe's evaluation images."""
    chosen = _overridden(recipe, preset, parse_overrides(overrides))
    from ddp_repro.tasks.build import build_dataset
    from ddp_repro.tasks.segmentation.rescore import rescore as rescore_folder

    data = chosen.data.placed(lambda root: str(resolve(root)))
    dataset = build_dataset(data, data.eval_split, train=False, mean=(0, 0, 0), std=(1, 1, 1))
    result = rescore_folder(Path(folder), dataset)
    names = {"miou": "mIoU", "macc": "mAcc", "aacc": "aAcc"}
    say(f"{folder}: label maps of {result.images} images of {result.dataset}")
    for (steps, seed), counts in sorted(result.tallies.items(), key=str):
        scores = [f"{name} {number_text(100 * counts.value(metric), 2)}" for metric, name in names.items()]
        say(f"{steps:>3} steps, seed {seed}: {'  '.join(scores)}")


def convert(source: str, destination: str, recipe: str, half: bool) -> None:
    """Write a checkpoint as safetensors."""
    from ddp_repro.interop.convert import convert as convert_checkpoint

    report = convert_checkpoint(source, destination, named_recipe(recipe), half=half)
    print(f"{destination}: {report}")


def doctor(as_json: bool) -> int:
    """Examine the installation."""
    from ddp_repro import doctor as examination

    return examination.main(as_json=as_json)


def _overridden(name: str, preset: str | None, changes: dict[str, str]) -> Recipe:
    """Return a recipe with changed settings, and with what its data set alone knows."""
    chosen = override(named_recipe(name, preset), changes)
    return task_named(chosen.model.task).complete(chosen)


def _show_scores(record: Record) -> None:
    from ddp_repro.workbook.tables.measures import measures

    missing = f"; {record.dataset.unannotated} more have no ground truth" if record.dataset.unannotated else ""
    say(f"{record.name} on {record.dataset.name} {record.dataset.split}, {record.dataset.images} images{missing}")
    headings = "  ".join(f"{measures()[metric].heading:>15}" for metric in record.metrics)
    say(f"steps  {headings}   (± over {len(record.seeds)} seeds)")
    for steps in record.steps:
        cells = []
        for metric in record.metrics:
            cells.append(mean_text(record.values(steps, metric), measures()[metric].decimals))
        say(f"{steps:>5}  " + "  ".join(f"{cell:>15}" for cell in cells))
    say(f"verdict: {record.verdict}")


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
        print(short(path))
