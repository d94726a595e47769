"""Tables, verdicts and figures from made-up measurements: what is compared, what is said where nothing can be."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from workbook.fakes import make_record, write_records

from ddp_repro.papers.ddps import recipes
from ddp_repro.papers.ddps.paper import PAPER
from ddp_repro.papers.ddps.results import figures
from ddp_repro.papers.ddps.results.claims import FINDINGS, claims_table
from ddp_repro.papers.ddps.results.curves import evaluate_curves
from ddp_repro.papers.ddps.results.measured import Measured
from ddp_repro.papers.ddps.results.samples import FILE, Refinement, load_refinement
from ddp_repro.settings.training_seeds import seeded
from ddp_repro.workbook.runs import provenance
from ddp_repro.workbook.runs.analyses import SCHEMA, Analysis
from ddp_repro.workbook.runs.records import RecordError
from ddp_repro.workbook.tables.rendering import FORMATS

from . import tiny

VISITED = [0, 10, 19]
# mIoU after the last step over that of the segmentor (50), by arm; the first step is 0.5 below
GAINS = {"single": 1.0, "longer": 2.0, "truth": 0.0, "multi": 3.0}
BELOW = {"free": 0.0, "strict": 0.05, "strict_released": 4.0}


def made_up(arm: str, seed: int, true_map: float = 60.0) -> dict[str, Any]:
    """What :func:`ddp_repro.papers.ddps.results.analyses.samplers` would have measured."""
    last, luck = 50 + GAINS[arm], 0.02 * seed
    curves = [
        {
            "sampler": sampler, "seed": 0, "steps": VISITED if arm in ("truth", "multi") else [0],
            **{name: [last + luck - 0.5 - shift, last + luck - 0.2 - below, last + luck - below][
                -3 if arm in ("truth", "multi") else -1 :] for name, shift in (("miou", 0.0), ("mbiou", 0.0))},
        }
        for sampler, below in BELOW.items()
        if sampler == "free" or arm in ("truth", "multi")
    ]  # fmt: skip
    scores = {"miou": 50 + luck, "mbiou": 50 + luck}
    maps = {"true": {"miou": true_map, "mbiou": 40.0}, "random": {"miou": 50.0, "mbiou": 40.0}}
    return {"base": scores, "curves": curves, "maps": maps, "macs": {"segmentor": 10**9, "step": 10**8}}


def write(output: Path, seeds: range, **options: float) -> None:
    for arm in recipes.ARMS:
        for seed in seeds:
            settings = seeded(recipes.arm("mini", arm), seed)
            write_records(output, make_record(settings=settings))
            analysis = Analysis(
                kind="samplers", run=settings.name, preset="mini", settings={}, checkpoint="c" * 64, dataset="d" * 64,
                images=4, code=provenance.Code(commit="a", dirty=False, fingerprint="f"),
                environment=provenance.environment("cpu"), wall_seconds=1.0, result=made_up(arm, seed, **options),
            )  # fmt: skip
            path = output / "mini" / "runs" / settings.name / "samplers.json"
            path.write_text(json.dumps({"schema": SCHEMA} | dataclasses.asdict(analysis)))


def verdicts(output: Path) -> list[tuple[str, str, str]]:
    """Difference, trainings and verdict of each row about mIoU."""
    frame = claims_table("mini", output).frame
    rows = [row for row in frame.itertuples(index=False, name=None) if row[1] == "mIoU"]
    return [row[2:] for row in rows]


def test_findings_are_paired_by_seed_and_judged_by_their_interval(tmp_path: Path) -> None:
    write(tmp_path, range(4))
    found = verdicts(tmp_path)
    assert len(found) == len(FINDINGS)
    estimates = [float(difference.split()[0]) for difference, _, _ in found]
    assert estimates == pytest.approx([1.0, 2.0, 3.0, 1.0, 0.5, 0.05, 4.0, 0.05, 4.0])
    assert {trainings for _, trainings, _ in found} == {"4"}
    assert [verdict for _, _, verdict in found] == [*["supported"] * 5, *["equal within ±0.3", "supported"] * 2]


def test_one_training_decides_nothing(tmp_path: Path) -> None:
    write(tmp_path, range(1))
    assert all(verdict.startswith("undecided") for _, _, verdict in verdicts(tmp_path))


def test_a_prior_that_ignores_its_map_is_no_test_of_samplers(tmp_path: Path) -> None:
    write(tmp_path, range(4), true_map=50.2)
    found = [verdict for _, _, verdict in verdicts(tmp_path)]
    assert [verdict.startswith("not testable") for verdict in found] == [False] * 4 + [True] * 5


def test_without_measurements_nothing_was_run(tmp_path: Path) -> None:
    assert {verdict for _, _, verdict in verdicts(tmp_path)} == {"not run"}
    frame = PAPER.tables["ddps_arms"]("mini", tmp_path).frame
    assert (frame.iloc[1:, 3] == "not run").all()


def test_a_preset_without_arms_has_run_nothing(tmp_path: Path) -> None:
    for preset in ("paper", "sevenscenes"):
        assert set(PAPER.tables["ddps_claims"](preset, tmp_path).frame.iloc[:, 4]) == {"not run"}


def test_seeds_that_only_one_arm_has_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    (tmp_path / "mini" / "runs" / "ddps_cityscapes_mini_truth-seed2" / "samplers.json").unlink()
    measured = Measured.of("mini", tmp_path)
    assert [pair[0].seed for pair in measured.paired("multi", "truth")] == [0, 1]
    assert len(measured.trainings("multi")) == 3


def test_arms_table_shows_every_sampler_and_what_it_costs(tmp_path: Path) -> None:
    write(tmp_path, range(2))
    table = PAPER.tables["ddps_arms"]("mini", tmp_path)
    rows = table.frame.iloc[:, :6].values.tolist()
    assert rows[0] == ["frozen segmentor", "–", "0", "50.01 ± 0.01", "50.01 ± 0.01", "1.00"]
    assert [row[1] for row in rows[-4:]] == ["–", "free re-noising", "exact posterior", "released posterior"]
    assert rows[-1][2:6] == ["3", "49.01 ± 0.01", "49.01 ± 0.01", "1.30"]
    assert all(render(table) for render in FORMATS.values())


def test_figures_are_drawn(tmp_path: Path) -> None:
    write(tmp_path, range(2))
    drawn = PAPER.figures["ddps_findings"]("mini", tmp_path)
    assert drawn._repr_png_()[:4] == b"\x89PNG" and "2 trainings" in drawn.caption
    names = {path.name for path in PAPER.render("mini", tmp_path)}
    assert {"ddps_findings.png", "ddps_claims.md", "ddps_arms.csv"} <= names


def test_the_posterior_figure_has_the_known_numbers() -> None:
    exact, released = figures.posteriors(2, 4, 9)
    assert exact.sum() == pytest.approx(1) and released.sum() == pytest.approx(1)
    assert exact[4] == pytest.approx(0.123, abs=5e-4) and released[4] == pytest.approx(0.016, abs=5e-4)


def refinement(path: Path) -> Refinement:
    rng = np.random.default_rng(0)
    small = {
        name: rng.integers(0, 4, (n, 8, 16), np.uint8) for name, n in (("predictions", 3), ("maps", 3), ("samples", 4))
    }
    arrays = {
        **small, "image": rng.integers(0, 255, (32, 64, 3), np.uint8), "label": rng.integers(0, 4, (32, 64), np.uint8),
        "base": small["predictions"][0], "unconditioned": small["maps"][0],
        "palette": rng.integers(0, 255, (4, 3), np.uint8),
    }  # fmt: skip
    arrays["maps"][0, 0] = 255
    facts = {"steps": VISITED, "timesteps": 20, "schedule": "linear", "image_id": "x", "class_names": list("abcd")}
    np.savez(path, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **arrays)
    return load_refinement(path)


@pytest.mark.parametrize("draw", ["figure_noised", "figure_refinement", "figure_samples"])
def test_pictures_are_drawn_of_a_saved_refinement(draw: str, tmp_path: Path) -> None:
    assert getattr(figures, draw)(refinement(tmp_path / FILE), "run")._repr_png_()


def test_a_damaged_refinement_is_refused(tmp_path: Path) -> None:
    refinement(tmp_path / FILE)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:500])
    with pytest.raises(RecordError, match="not a saved refinement"):
        load_refinement(tmp_path / FILE)
    with pytest.raises(FileNotFoundError, match="run the recipe again"):
        load_refinement(tmp_path / "none.npz")


class Pictures:
    """Two pictures with labels of four classes, as a dataset has them."""

    name, truth, mean, std, class_names = "pictures", "label", (0.0,) * 3, (255.0,) * 3, tuple("abcd")
    ids = ("one", "two")
    data = dataclasses.make_dataclass("Data", ["image_scale"])(None)

    def __len__(self) -> int:
        return 2

    def fingerprint(self) -> str:
        return "two pictures"

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(index)
        return rng.integers(0, 255, (32, 48, 3), np.uint8), rng.integers(0, 4, (32, 48)).astype(np.int64)


def test_curves_end_where_the_models_own_sampling_ends() -> None:
    """The last step's score is that of ``sample`` from the image's noise; the first is the same for all samplers."""
    from ddp_repro.evaluation.evaluate import evaluate_model
    from ddp_repro.settings.recipe import EvalConfig

    model = tiny.model()
    found = evaluate_curves(
        model, Pictures(), steps=3, seeds=(0, 1), samplers=("free", "strict"), progress=False
    )  # fmt: skip
    whole = evaluate_model(model, Pictures(), EvalConfig(steps=(3,), seeds=(0, 1)), progress=False)
    for curve in found.curves:
        assert curve.steps == model.steps_of(3)
        if curve.sampler == "free":
            assert curve.miou[-1] == pytest.approx(100 * whole.tallies[3, curve.seed].miou)
    firsts = {curve.seed: set() for curve in found.curves}
    for curve in found.curves:
        firsts[curve.seed].add((curve.miou[0], curve.mbiou[0]))
    assert all(len(values) == 1 for values in firsts.values())
    assert set(found.maps) == {"true", "random"} and found.base["miou"] > 0


def test_the_frozen_segmentor_runs_once_an_image() -> None:
    model = tiny.model()
    evaluate_curves(
        model, Pictures(), steps=2, seeds=(0,), samplers=("free", "strict", "strict_released"), progress=False
    )
    assert model.segmentor.runs == 2


def test_costs_are_counted_and_timed() -> None:
    from ddp_repro.papers.ddps.results.costs import candidates, complexity
    from ddp_repro.workbook.catalogue import recipe

    counted = complexity(recipe("ddps_cityscapes_mini").model, (64, 128))
    assert counted.macs(3) == counted.segmentor.total + 3 * counted.step.total
    assert counted.segmentor.total > 0 and counted.step.total > 0
    images = torch.randn(1, 3, 32, 48)
    labels = {name: segment(images) for name, segment in candidates(tiny.model(), [[0], [0, 19]]).items()}
    assert {tuple(value.shape) for value in labels.values()} == {(1, 32, 48)}
    assert list(labels) == ["segmentor", "1 call", "2 calls"]


def test_numbers_of_steps_asked_for_twice_are_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from ddp_repro.papers.ddps.results import analyses
    from ddp_repro.workbook.catalogue import recipe

    monkeypatch.setattr(analyses, "analyse", lambda kind, subject, settings, work: work(tiny.model(), None))
    subject = dataclasses.make_dataclass("Subject", ["recipe", "progress"])(recipe("ddps_cityscapes_mini"), False)
    rows = analyses.speed(subject, steps=[3, 3, 1], repetitions=3)["speeds"]
    assert [row["visited"] for row in rows] == [0, 1, 5, 2]
