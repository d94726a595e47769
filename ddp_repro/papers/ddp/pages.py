"""Draw every table and figure of a preset anew from its records: no model, no data, under a minute."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from ddp_repro.papers.ddp.claims import claims_table
from ddp_repro.papers.ddp.costs.records import BenchRecord, find_benches
from ddp_repro.papers.ddp.figures import depth_views
from ddp_repro.papers.ddp.figures import figure3 as figures
from ddp_repro.papers.ddp.figures.figure4 import Variant, figure_4
from ddp_repro.papers.ddp.figures.figure5_6 import figure_trajectories
from ddp_repro.papers.ddp.figures.gain import gain_figure
from ddp_repro.papers.ddp.figures.speed import draw_benches
from ddp_repro.papers.ddp.figures.uncertainty import figure_uncertainty
from ddp_repro.papers.ddp.recipes.registry import main_model
from ddp_repro.papers.ddp.samples import bev as bev_samples
from ddp_repro.papers.ddp.samples import depth as depth_samples
from ddp_repro.papers.ddp.samples.segmentation import FILE, load_trajectory
from ddp_repro.papers.ddp.tables import robustness as bev_views
from ddp_repro.papers.ddp.tables.ablations import MAKERS
from ddp_repro.papers.ddp.tables.bev_costs import costs_table, find_costs
from ddp_repro.papers.ddp.tables.gain import gain_table, gains_of
from ddp_repro.papers.ddp.tables.uncertainty import uncertainty_table
from ddp_repro.store.paths import resolve, run_folder
from ddp_repro.workbook.catalogue import full_name
from ddp_repro.workbook.figures.style import Figure, save_figure
from ddp_repro.workbook.runs import records
from ddp_repro.workbook.runs.analyses import Analysis, find_analyses, load_analysis
from ddp_repro.workbook.runs.records import Record
from ddp_repro.workbook.tables.map_use import map_use_table
from ddp_repro.workbook.tables.rendering import Table, save_table
from ddp_repro.workbook.tables.table import measured_table, paper_table

Named = TypeVar("Named", Table, Figure)

TRAINING_VARIANTS = {
    "plain": "", "self-aligned, same noise": "_aligned", "self-aligned, fresh noise": "_aligned_fresh",
}  # fmt: skip
MEASURED_TABLES = ("ddp_table1", "ddp_table2", "ddp_table3", "ddp_table4", "ddp_table6", "ddp_table7")
FIGURES_OF_IMAGES = {"cityscapes": "ddp_figure5", "camvid": "ddp_figure5", "ade20k": "ddp_figure6"}


def rerender(preset: str, output: str | Path = "results") -> list[Path]:
    """Write all tables and figures that the records and analyses of a preset allow; returns their paths.

    Raises:
        ConfigError: no such preset.
        RecordError: a record, analysis or trajectory is damaged.
        OSError: the results cannot be written.
    """
    folder = resolve(output) / preset
    found = {record.run: record for record in records.find_records(preset, output)}
    paths = []
    for table in [*_tables(preset, output, found), claims_table(preset, output)]:
        paths += save_table(table, folder / "tables") if len(table.frame) else []  # some presets judge no claim
    for figure in _figures(preset, output, found):
        paths += save_figure(figure, folder / "figures")
    benches = find_benches(output)
    if benches:
        paths += draw_benches(min(benches, key=_distance_to_usual_size), output)
    return paths


def _distance_to_usual_size(bench: BenchRecord) -> int:
    height, width = bench.setting.size
    return abs(height * width - 512 * 512)


def dynamics_figure(preset: str, model: str, output: str | Path = "results") -> Figure | None:
    """Figure 4 of a model from its analyses; None while the plain model's are not all there."""
    variants = []
    for name, end in TRAINING_VARIANTS.items():
        sweep, drift = (load_analysis(kind, model + end, preset, output) for kind in ("sweep", "drift"))
        if sweep and drift:
            variants.append(Variant(name, sweep, drift))
    speed = load_analysis("speed", model, preset, output)
    if speed is None or not variants or variants[0].name != "plain":
        return None
    path = run_folder(output, preset, f"{model}_baseline") / "record.json"
    return figure_4(variants, speed, records.load_record(path) if path.is_file() else None)


def images_figure(sampled: Analysis, dataset: str, output: str | Path = "results") -> Figure:
    """Figure 5 (street scenes) or 6 (ADE20K) from the trajectories beside a run's record."""
    folder = run_folder(output, sampled.preset, sampled.run)
    trajectories = [load_trajectory(folder / file) for file in sampled.result["files"]]
    return figure_trajectories(FIGURES_OF_IMAGES[dataset], sampled, trajectories)


def _tables(preset: str, output: str | Path, found: dict[str, Record]) -> list[Table]:
    """Those with at least one measured cell."""
    named = {record.table for record in found.values()}
    made = [paper_table(name, preset, output) for name in MEASURED_TABLES if name in named]
    made += [measured_table(preset, output, full_name(preset))] if full_name(preset) in named else []
    if any(name.startswith("ddp_table5") for name in named):
        made += [maker(preset, output) for maker in MAKERS.values()]
    failed = find_analyses("robustness", preset, output)
    made += [bev_views.robustness_table(failed)] if failed else []
    made += [costs_table(each) for each in find_costs(output)] if "ddp_table3" in named else []
    checked = [a for a in find_analyses("map_use", preset, output) if a.run in found and _is_ours(found[a.run])]
    made += [map_use_table(checked)] if checked else []
    made += [gain_table(preset, output)] if gains_of(preset, output) else []
    for scored in _uncertainties(preset, output):
        made += [_named(uncertainty_table(a), a.run, _lead(scored, preset)) for a in scored]
    return made


def _uncertainties(preset: str, output: str | Path) -> list[list[Analysis]]:
    """Return the analyses of label maps, then those of BEV maps."""
    return [find_analyses(kind, preset, output) for kind in ("uncertainty", "bev_uncertainty")]


def _is_ours(record: Record) -> bool:
    """Return whether a run is one of this paper: other papers check their models in tables of their own."""
    return record.settings().model.paper == "ddp"


def _figures(preset: str, output: str | Path, found: dict[str, Record]) -> list[Figure]:
    made = [] if main_model(preset) is None else _figure_3(preset, output, found)
    for models in depth_views.MODELS.values():
        model = models.get(preset)
        if model in found and (run_folder(output, preset, model) / depth_samples.FILE).is_file():
            made += depth_views.depth_figures(models[preset], preset, output)
    names = bev_views.MODELS.get(preset, ())
    if names and all((run_folder(output, preset, name) / bev_samples.FILE).is_file() for name in names):
        made.append(bev_views.bev_figure(names, preset, output))
    made += [gain_figure(preset, output)] if gains_of(preset, output) else []
    for scored in _uncertainties(preset, output):
        made += [_named(figure_uncertainty(a), a.run, _lead(scored, preset)) for a in scored]
    timed = [(a, dynamics_figure(preset, a.run, output)) for a in find_analyses("speed", preset, output)]
    timed = [(analysis, figure) for analysis, figure in timed if figure]
    made += [_named(figure, a.run, _lead([a for a, _ in timed], preset)) for a, figure in timed]
    drawn = [(images_figure(a, found[a.run].recipe["data"]["dataset"], output), a)
             for a in find_analyses("trajectories", preset, output)]  # fmt: skip
    for name in dict.fromkeys(figure.name for figure, _ in drawn):
        alike = [(figure, a) for figure, a in drawn if figure.name == name]
        made += [_named(figure, a.run, _lead([a for _, a in alike], preset)) for figure, a in alike]
    return made


def _figure_3(preset: str, output: str | Path, found: dict[str, Record]) -> list[Figure]:
    model = main_model(preset)
    trajectory = run_folder(output, preset, model or "") / FILE
    if model is None or model not in found or not trajectory.is_file():
        return []
    record, saved = found[model], load_trajectory(trajectory)
    baselines = [found[name] for name in (f"{model}_baseline",) if name in found]
    return [figures.figure_3a(record, *baselines), figures.figure_3b(saved, record), figures.figure_3c(saved, record)]


def _lead(analyses: Sequence[Analysis], preset: str) -> str:
    """Return the run whose pages bear the paper's name, as in its notebook: the main model's, else the first."""
    runs = [analysis.run for analysis in analyses]
    main = main_model(preset)
    return main if main is not None and main in runs else runs[0]


def _named(made: Named, run: str, lead: str) -> Named:
    """Return a table or figure under a name of its own where it is not of the leading run."""
    return made if run == lead else dataclasses.replace(made, name=f"{made.name}_{run}")
