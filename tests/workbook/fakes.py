"""Made-up records for tests of what is rendered from them."""

import dataclasses
import json

import numpy as np

from ddp_repro.settings.recipe import Recipe
from ddp_repro.tasks.segmentation.score import SegmentationScore
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.runs import provenance, records
from ddp_repro.workbook.runs.verdicts import compare, overall

CLASSES = {"ade20k": 150, "cityscapes": 19, "camvid": 11}


def make_record(name="ade20k_mini", *, miou=None, images=40, recipe_changes=None, settings: Recipe | None = None):
    """A record as a run would write it; ``miou`` maps steps to one value per seed."""
    settings = settings or recipe(name)
    settings = dataclasses.replace(settings, **(recipe_changes or {}))
    if miou is None:
        miou = {s: [20.0 + s + k for k in range(len(settings.evaluation.seeds))] for s in settings.evaluation.steps}
    classes = settings.model.num_classes
    scores = [
        SegmentationScore(
            steps=s,
            seed=k if settings.model.diffusion else None,
            miou=v,
            macc=v if v is None else v + 5,
            aacc=v if v is None else v + 30,
            iou=[v] * (classes - 1) + [None],
        )
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


def make_trajectory(path, steps=10, size=(32, 64), classes=19, seed=0):
    """Save a trajectory of random pictures where a run would have put it."""
    rng = np.random.default_rng(seed)
    height, width = size
    arrays = {
        "image": rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        "label": rng.integers(0, classes, (height, width), dtype=np.uint8),
        "predictions": rng.integers(0, classes, (steps, height // 4, width // 4), dtype=np.uint8),
        "maps": rng.integers(0, 256, (steps, height // 4, width // 4, 3), dtype=np.uint8),
        "palette": rng.integers(0, 256, (classes, 3), dtype=np.uint8),
    }
    arrays["label"][:4] = 255
    facts = {"image_id": "street 1", "seed": 0, "class_names": [f"class {i}" for i in range(classes)]}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, facts=np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8), **arrays)
