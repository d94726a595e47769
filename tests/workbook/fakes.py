"""Made-up records for tests of what is rendered from them."""

import dataclasses

from ddp_repro.config import Recipe
from ddp_repro.workbook import provenance, records
from ddp_repro.workbook.recipes import recipe
from ddp_repro.workbook.verdicts import compare, overall

CLASSES = {"ade20k": 150, "cityscapes": 19, "camvid": 11}


def make_record(name="ade20k_mini", *, miou=None, images=40, recipe_changes=None, settings: Recipe | None = None):
    """A record as a run would write it; ``miou`` maps steps to one value per seed."""
    settings = settings or recipe(name)
    settings = dataclasses.replace(settings, **(recipe_changes or {}))
    if miou is None:
        miou = {s: [20.0 + s + k for k in range(len(settings.evaluation.seeds))] for s in settings.evaluation.steps}
    classes = settings.model.num_classes
    scores = [
        records.Score(steps=s, seed=k if settings.model.diffusion else None, miou=v, macc=v + 5, aacc=v + 30, iou=[v] * (classes - 1) + [None])
        for s, values in miou.items()
        for k, v in enumerate(values)
    ]
    dataset = records.Dataset(
        name=settings.data.dataset, split=settings.data.eval_split, images=images, split_images=images,
        fingerprint="d" * 64, classes=[f"class {i}" for i in range(classes)],
    )  # fmt: skip
    comparisons = compare(settings, dataset, scores)
    return records.Record(
        recipe=provenance.public_recipe(settings), scores=scores, dataset=dataset,
        checkpoint=records.Checkpoint(sha256="c" * 64, origin="ddp_repro", file=f"results/{name}/model.safetensors"),
        training=records.Training(iterations=300, wall_seconds=90.0, fingerprint="t" * 64, code_fingerprint="k" * 64),
        code=provenance.Code(commit="a" * 40, dirty=False, fingerprint="f" * 64),
        environment=provenance.environment("cpu"), wall_seconds=12.5, comparisons=comparisons,
        verdict=overall(comparisons),
    )  # fmt: skip


def write_records(output, *made):
    """Save records where a run would have put them."""
    for record in made:
        records.save_record(record, output / record.preset / "runs" / record.run / "record.json")
