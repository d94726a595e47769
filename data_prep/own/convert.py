"""A folder with masks of ids beside one with masks of colours, by the palette of ``classes.json``."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from data_prep.files import new_folder, place
from data_prep.own.colors import describe, is_colored, read_palette, translate
from ddp_repro.data.io import DataError, read_image
from ddp_repro.data.spec import IGNORE, Color
from ddp_repro.tasks.segmentation.datasets.folder import folder_spec


@dataclass
class Conversion:
    """What was translated.

    Attributes:
        masks: how many held colours.
        strange: pixels of every colour that no class has; they are ignored now.
    """

    masks: int = 0
    strange: Counter[Color] = field(default_factory=Counter)

    def __str__(self) -> str:
        lines = [f"{self.masks} masks of colours translated"]
        if self.strange:
            lines += [f"warning: ignored from now on, for no class has these colours: {describe(self.strange)}"]
        return "\n".join(lines)


def convert_masks(root: Path, target: Path) -> Conversion:
    """Write ``root`` again as ``target``, with masks of ids; complete, or not at all.

    Masks that hold ids already and all other files are hard links where the file system can, else copies.

    Raises:
        DataError: there is no such folder or no mask of colours, no palette or one with a colour twice, a damaged mask,
            or ``target`` exists or lies in ``root``.
        OSError: ``target`` cannot be written.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected your own dataset")
    if target.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{target}: lies in {root}; expected a new folder beside it")
    palette, ignore = read_palette(root), _ignored_id(root)
    sources = [Path(folder, name) for folder, _, names in os.walk(root) for name in names if name[0] != "."]
    colored = {path for path in sources if path.is_relative_to(root / "masks") and is_colored(path)}
    if not colored:
        raise DataError(f"{root / 'masks'}: no mask holds colours; nothing to convert")
    done = Conversion()
    with new_folder(target) as partial:
        for source in tqdm(sources, desc="files", delay=2, leave=False, disable=None):
            written = partial / source.relative_to(root)
            if source not in colored:
                place(source.resolve(), written)
                continue
            ids, strange = translate(read_image(source), palette, ignore)
            done.masks, done.strange = done.masks + 1, done.strange + strange
            written.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(ids.astype(np.uint8) if ignore < 256 else ids).save(written, format="PNG")
    return done


def _ignored_id(root: Path) -> int:
    """Return the stored id of ignored pixels."""
    return next(stored for stored, label in folder_spec(root).label_ids.items() if label == IGNORE)
