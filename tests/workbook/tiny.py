"""The smallest real run: two iterations on a handful of synthetic pictures."""

from ddp_repro.settings.overrides import override
from ddp_repro.workbook.catalogue import recipe

DATA = {"cityscapes": (64, 128), "ade20k": (64, 96)}  # height, width

OVERRIDES = [
    "train.iterations=2", "train.batch_size=2", "train.device_batch_size=2", "train.warmup_iterations=1",
    "data.crop_size=32,64", "data.image_scale=64,32", "evaluation.steps=1,3", "evaluation.seeds=0,1",
    "model.layers=1", "model.channels=32", "model.feedforward_channels=32",
]  # fmt: skip


def write_data(dataset, root):
    """Six training pictures and three to evaluate on."""
    from data_prep.mini import write_mini

    write_mini(dataset, root, train=6, val=3, size=DATA[dataset])
    return root


def tiny(name, root, **changes):
    """A recipe of the mini preset, made tiny, on the data in ``root``."""
    pairs = dict(word.split("=") for word in OVERRIDES)
    return override(
        recipe(name), pairs | {"data.root": str(root)} | {k.replace("__", "."): v for k, v in changes.items()}
    )
