"""Tables, verdicts and figures from made-up measurements: what is compared, what is said where nothing can be."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from workbook.fake_analyses import make_analysis, write_analyses
from workbook.fake_map_use import make_map_use
from workbook.fakes import make_record, write_records

from ddp_repro.evaluation.per_image.statistics import ImageStatistics
from ddp_repro.papers.ddps import recipes
from ddp_repro.papers.ddps.paper import PAPER
from ddp_repro.papers.ddps.results import figures
from ddp_repro.papers.ddps.results.curves import evaluate_curves
from ddp_repro.papers.ddps.results.map_use import evaluate_map_use
from ddp_repro.papers.ddps.results.samples import FILE, Refinement, load_refinement
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import Recipe
from ddp_repro.settings.training_seeds import seeded
from ddp_repro.workbook.claims.decide import decide
from ddp_repro.workbook.claims.gate import IGNORED
from ddp_repro.workbook.claims.images import image_scores
from ddp_repro.workbook.claims.judge import Judged, judge
from ddp_repro.workbook.runs.records import Record, RecordError
from ddp_repro.workbook.tables.rendering import FORMATS

from . import tiny

VISITED = [0, 10, 19]
# mIoU after the last step over that of the segmentor (50), by arm; the first step is 0.5 below
GAINS = {"single": 1.0, "longer": 2.0, "truth": 0.0, "multi": 3.0}
BELOW = {"free": 0.0, "strict": 0.05, "strict_released": 4.0}


def made_up(arm: str, seed: int) -> dict[str, Any]:
    """What :func:`ddp_repro.papers.ddps.results.analyses.samplers` would have measured."""
    last, luck = 50 + GAINS[arm], 0.02 * seed
    curves = [
        {
            "sampler": sampler, "seed": 0, "steps": VISITED if arm in ("truth", "multi") else [0],
            **{name: [last + luck - 0.5, last + luck - 0.2 - below, last + luck - below][
                -3 if arm in ("truth", "multi") else -1 :] for name in ("miou", "mbiou")},
        }
        for sampler, below in BELOW.items()
        if sampler == "free" or arm in ("truth", "multi")
    ]  # fmt: skip
    scores = {"miou": 50 + luck, "mbiou": 50 + luck}
    return {"base": scores, "curves": curves, "macs": {"segmentor": 10**9, "step": 10**8}}


def write(output: Path, seeds: range, effect: tuple[float, float, float] = (10.0, 9.0, 11.0)) -> None:
    """Records of every arm and sampler, and what is analysed on the arms' weights."""
    write_segmentor(output, seeds)
    for arm in recipes.ARMS:
        for seed in seeds:
            settings, last = seeded(recipes.arm("mini", arm), seed), 50 + GAINS[arm] + 0.02 * seed
            write_records(output, scored(settings, {n: last - 0.5 * (n == 1 < max(settings.evaluation.steps)) for n in
                                                    settings.evaluation.steps}))  # fmt: skip
            write_analyses(output, make_analysis("samplers", settings.name, "mini", settings={},
                                                 result=made_up(arm, seed)))  # fmt: skip
            if arm in ("truth", "multi"):
                write_analyses(output, make_map_use(settings.name, effect=effect))
                for sampler in recipes.STRICT:
                    strict = seeded(recipes.strictly("mini", arm, sampler), seed)
                    write_records(output, scored(strict, {recipes.MANY: last - BELOW[sampler]}))


def write_segmentor(output: Path, seeds: range) -> None:
    for seed in seeds:
        write_records(output, scored(seeded(recipes.unrefined("mini"), seed), {1: 50 + 0.02 * seed}))


def scored(settings: Recipe, scores: dict[int, float]) -> Record:
    """A record whose mBIoU is its mIoU."""
    record = make_record(settings=settings, miou={steps: [value] for steps, value in scores.items()})
    both = [dataclasses.replace(score, mbiou=score.miou, biou=score.iou) for score in record.scores]
    return dataclasses.replace(record, scores=both)


def verdicts(output: Path) -> dict[str, Judged]:
    """Every claim's verdict by its key."""
    return {judged.claim.key: judged for judged in judge(PAPER.claims("mini"), PAPER.evidence("mini", output))}


GAINED = {
    "prior": 1.0, "refined": 3.0, "integration": 2.0, "noised": 3.0, "diffusion": 1.0, "steps": 0.5,
    "relaxed_exact": 0.05, "relaxed_released": 4.0, "relaxed_exact_truth": 0.05, "relaxed_released_truth": 4.0,
}  # fmt: skip


def test_findings_are_paired_by_seed_and_judged_by_their_interval(tmp_path: Path) -> None:
    write(tmp_path, range(4))
    judged = verdicts(tmp_path)
    assert list(judged) == [*GAINED, *(f"{key}_boundary" for key in GAINED)]
    for key, verdict in judged.items():
        gain = GAINED[key.removesuffix("_boundary")]
        assert verdict.measurement.estimate.value == pytest.approx(gain) and verdict.measurement.pairs == 4
        assert verdict.decision.corrected.outcome == ("equal" if gain < 0.3 else "supported")
        assert ("mBIoU" in verdict.evidence) == key.endswith("_boundary")


@pytest.mark.parametrize("class_zero", ["kept", "dropped"])
@pytest.mark.parametrize("unlabelled", ["in_mean", "left_out"])
def test_what_each_image_added_gives_the_records_scores(class_zero: str, unlabelled: str) -> None:
    """Also where a prediction may be "unlabelled", which counts in one of the two measures, in both, or in none."""
    settings = recipes.arm("mini", "multi")
    settings = dataclasses.replace(
        settings, model=dataclasses.replace(settings.model, class_zero=class_zero),
        evaluation=dataclasses.replace(settings.evaluation, unlabelled=unlabelled),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    tally = task_named("segmentation").tally(settings.model, settings.evaluation)
    added = []
    for _ in range(3):
        prediction, label = (
            torch.randint(n, (24, 32), generator=generator) for n in (settings.model.output_classes, 19)
        )
        added.append({(10, 0): tally.image_statistics(prediction, label)})
        tally.update(prediction, label)
    statistics = ImageStatistics.stacked(["a", "b", "c"], [(10, 0)], added)
    record = make_record(settings=settings, miou={10: [0.0]})
    for metric in ("miou", "mbiou"):
        whole = image_scores([(record, statistics)], metric, 10, slice(None)).resampled(np.ones((1, 3)))
        assert float(whole.item()) == pytest.approx(tally.value(metric))


def test_one_training_decides_nothing_between_trainings(tmp_path: Path) -> None:
    write(tmp_path, range(1))
    judged = verdicts(tmp_path)
    assert all(
        "at least 2 trainings" in judged[key].verdict for key in ("refined", "integration", "noised", "diffusion")
    )


def test_a_prior_that_ignores_its_map_is_no_test_of_samplers(tmp_path: Path) -> None:
    write(tmp_path, range(4), effect=(0.2, 0.1, 0.3))
    reasons = {key: judged.reason for key, judged in verdicts(tmp_path).items()}
    ignored = {key for key, reason in reasons.items() if reason == IGNORED}
    assert ignored == {key for key in reasons if key.startswith(("steps", "relaxed"))}


def test_without_measurements_nothing_was_run(tmp_path: Path) -> None:
    assert {judged.reason for judged in verdicts(tmp_path).values()} == {"not run"}
    frame = PAPER.tables["ddps_arms"]("mini", tmp_path).frame
    assert (frame.iloc[1:, 3] == "not run").all()


@pytest.mark.parametrize("preset", ["paper", "sevenscenes"])
def test_a_preset_without_arms_asks_nothing(preset: str, tmp_path: Path) -> None:
    assert not PAPER.claims(preset) and not len(PAPER.tables["ddps_claims"](preset, tmp_path).frame)
    for table in ("ddps_arms", "ddps_map_use"):
        with pytest.raises(ConfigError, match=f"the preset {preset} has no arms .*; mini, camvid have them"):
            PAPER.tables[table](preset, tmp_path)


@pytest.mark.slow
def test_whether_priors_read_their_maps_is_a_table_once_it_was_asked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no prior was checked under mini: ddp-repro map-use ddps_cityscapes_mini"):
        PAPER.tables["ddps_map_use"]("mini", tmp_path)
    write(tmp_path, range(2))
    write_analyses(tmp_path, make_map_use("cityscapes_mini"))  # of another paper: in a table of its own
    runs = PAPER.tables["ddps_map_use"]("mini", tmp_path).frame.iloc[:, 0]
    assert len(set(runs)) == 4 and all(run.startswith("ddps_") for run in runs)
    assert {"ddps_map_use.md"} <= {path.name for path in PAPER.render("mini", tmp_path)}


def test_seeds_that_only_one_arm_has_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    (tmp_path / "mini" / "runs" / "ddps_cityscapes_mini_truth-seed2" / "record.json").unlink()
    judged = verdicts(tmp_path)
    assert judged["noised"].measurement.pairs == 2 and judged["diffusion"].measurement.pairs == 3


def test_decide_trains_what_a_finding_lacks(tmp_path: Path) -> None:
    """The next seed of both arms; the stages before them are trained with them, and other samplers for nothing."""
    write(tmp_path, range(1))
    done: list[tuple[str, ...]] = []
    worker = SimpleNamespace(run=lambda names: done.append(tuple(names)), check=done.append)
    decide(PAPER.claims("mini"), ["noised"], lambda: PAPER.evidence("mini", tmp_path), worker, 1e9, lambda words: None)
    assert done == [("ddps_cityscapes_mini-seed1", "ddps_cityscapes_mini_truth-seed1")]


def test_arms_table_shows_every_sampler_and_what_it_costs(tmp_path: Path) -> None:
    write(tmp_path, range(2))
    table = PAPER.tables["ddps_arms"]("mini", tmp_path)
    rows = table.frame.iloc[:, :6].values.tolist()
    assert rows[0][:5] == ["frozen segmentor", "–", "0", "50.01 ± 0.01", "50.01 ± 0.01"]
    assert [row[1] for row in rows[-4:]] == ["free re-noising"] * 2 + ["exact posterior", "released posterior"]
    assert [row[2] for row in rows[-4:]] == ["2", "11", "11", "11"]
    assert rows[-1][3:5] == ["49.01 ± 0.01"] * 2
    macs = [float(row[5]) for row in rows]
    assert macs[0] < macs[1] and macs[-1] - macs[0] == pytest.approx(11 * (macs[1] - macs[0]), abs=0.1)
    assert "over 2 paired trainings" in table.notes[0]
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


class Halves(Pictures):
    """Each picture's label has one class on the left and another on the right."""

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        label = np.full((32, 48), 2 * index, dtype=np.int64)
        label[:, 24:] = 2 * index + 1
        return super().load(index)[0], label


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
    assert found.base["miou"] > 0


def test_map_use_scores_the_models_own_sampling_beside_other_maps() -> None:
    """The sampler's own map gives the scores of sampling; the first step sees no map's content, the last all of it."""
    from ddp_repro.evaluation.evaluate import evaluate_model
    from ddp_repro.settings.recipe import EvalConfig

    model = tiny.model(class_zero="dropped")
    found = evaluate_map_use(model, Pictures(), steps=3, seeds=(0, 1), progress=False)
    whole = evaluate_model(model, Pictures(), EvalConfig(steps=(3,), seeds=(0, 1)), progress=False)
    alone = np.mean([whole.tallies[3, seed].miou for seed in (0, 1)])
    assert found.score("prediction") == pytest.approx(alone, abs=0.005)  # maps go through the prior side by side here
    assert found.times == pytest.approx([1 - step / 19 for step in model.steps_of(3)])
    assert found.levels[0] > 0.99 and found.levels[-1] < 0.01 and list(found.levels) == sorted(found.levels)[::-1]
    scores = {kind: found.score(kind) for kind in ("true", "other", "zero", "noise")}
    assert len(set(scores.values())) == 4
    assert found.effect().value == pytest.approx(scores["true"] - scores["other"])


def test_map_use_of_a_prior_that_copies_its_map_is_large() -> None:
    """With a prior that returns its map, the true map scores best at the last step, and nothing at the first."""
    model = tiny.model(class_zero="dropped")

    def copied(feature: torch.Tensor, noisy: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(noisy, model.config.symbols).movedim(-1, 1).float()

    model.prior.forward = copied
    found = evaluate_map_use(model, Halves(), steps=3, seeds=(0,), progress=False)
    assert found.score("true") > 0.9 > 0.3 > found.score("other") and found.uses_map(0.1)
    assert abs(found.effect(0).value) < 0.1


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"stage": "single"}, {"steps": 1}, "a prior of one step has no map to read"),
        ({}, {"limit": 1}, "needs at least 2 images"),
        ({}, {"limit": 0}, "limit"),
        ({}, {"seeds": (0, 0)}, "seeds"),
        ({}, {"steps": 21}, "must be in 1..T = 20"),
    ],
)
def test_map_use_refuses_what_it_cannot_do(changes: dict[str, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate_map_use(tiny.model(**changes), Pictures(), progress=False, **options)


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
