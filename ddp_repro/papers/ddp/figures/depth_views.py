"""Tables and figures of a depth model from what its run left: shared by the notebooks and by re-rendering."""

from __future__ import annotations

from pathlib import Path

from ddp_repro.papers.ddp.figures.figure8_9 import figure_depth, figure_depth_steps
from ddp_repro.papers.ddp.samples.depth import FILE, load_depth_samples
from ddp_repro.settings.training_seeds import split_seed
from ddp_repro.store.paths import run_folder
from ddp_repro.tasks.depth.task import TASK
from ddp_repro.workbook.figures.style import Figure
from ddp_repro.workbook.runs.analyses import load_analysis
from ddp_repro.workbook.runs.constant import load_constant
from ddp_repro.workbook.runs.records import Record, find_records

MODELS = {
    "ddp_table4": {"mini": "kitti_mini", "kitti_lidar": "kitti_lidar_lite0", "paper": "kitti_swin_t"},
    "ddp_table7": {"mini": "nyu_mini", "sevenscenes": "sevenscenes_lite0", "paper": "nyu_swin_t"},
}
"""The model that Figure 8 (table4) and Figure 9 (table7) show, by preset."""


def depth_figures(name: str, preset: str, output: str | Path = "results") -> list[Figure]:
    """Figure 8 or 9 of the run ``name``, and the figure of its steps, from all training seeds of its recipe.

    Args:
        name: a recipe, or one of its training seeds, ``<recipe>-seed1``, which is then the one that is shown.

    Raises:
        FileNotFoundError: it was not run.
        RecordError: its record or samples are damaged.
    """
    plain, _ = split_seed(name)
    trainings, baselines = (_trainings(each, preset, output) for each in (plain, f"{plain}_baseline"))
    trainings.sort(key=lambda record: record.run != name)  # the shown one first; the others keep their order
    if not trainings or trainings[0].run != name:
        raise FileNotFoundError(f"{run_folder(output, preset, name)} holds no record; run {name} first")
    samples = load_depth_samples(run_folder(output, preset, name) / FILE)
    uncertainty = load_analysis("depth_uncertainty", name, preset, output)
    constant = load_constant(TASK, name, preset, output)
    return [figure_depth(trainings[0], samples), figure_depth_steps(trainings, baselines, uncertainty, constant)]


def _trainings(name: str, preset: str, output: str | Path) -> list[Record]:
    """Return the record of the recipe ``name``, then those of its other training seeds."""
    found = [record for record in find_records(preset, output) if split_seed(record.run)[0] == name]
    return sorted(found, key=lambda record: split_seed(record.name)[1] or 0)
