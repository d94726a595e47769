"""Claims: every verdict is reachable, by the stated rule, and nothing is claimed without runs."""

import dataclasses

import pytest
from workbook.fake_analyses import make_sweep, make_uncertainty, write_analyses
from workbook.fake_depth import make_depth_record
from workbook.fake_map_use import make_map_use
from workbook.fakes import make_record, write_records

from ddp_repro.papers.ddp import claims
from ddp_repro.papers.ddp.claims import Measured, claims_table, judge_correlation, judge_difference
from ddp_repro.papers.ddp.recipes.segmentation import ablation_base
from ddp_repro.papers.ddp.recipes.variants import cells
from ddp_repro.settings.presets import PRESETS
from ddp_repro.settings.training_seeds import seeded
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.runs import rules

MAIN = "cityscapes_mini"


@pytest.mark.parametrize(
    ("difference", "deviation", "verdict"),
    [
        (1.0, 0.1, "supported"), (0.1, 0.0, "supported"), (0.05, 0.0, "not supported"), (-1.0, 0.1, "not supported"),
        (1.0, 0.6, "inconclusive"), (-1.0, 0.6, "inconclusive"), (0.05, 0.03, "inconclusive"),
    ],
)  # fmt: skip
def test_rule_of_a_difference(difference, deviation, verdict):
    assert judge_difference(difference, deviation) == verdict


@pytest.mark.parametrize(
    ("r", "error", "verdict"),
    [(0.8, 0.02, "supported"), (0.8, 0.06, "inconclusive"), (0.65, 0.03, "inconclusive"), (0.4, 0.1, "not supported")],
)
def test_rule_of_a_correlation(r, error, verdict):
    assert judge_correlation(r, error) == verdict


def measured(tmp_path, *, analyses=(), records=(), preset="mini", model=MAIN):
    write_analyses(tmp_path, *analyses)
    write_records(tmp_path, *records)
    return Measured.of(preset, tmp_path, model)


@pytest.mark.parametrize(
    ("miou", "help_", "drift"),
    [
        ({1: [40, 40], 3: [41, 41.1], 10: [40, 40]}, "supported", "supported"),
        ({1: [40, 40], 3: [39, 39], 10: [40, 40]}, "not supported", "not supported"),
        ({1: [40, 41], 3: [41, 40], 10: [41, 40]}, "inconclusive", "not supported"),
    ],
)
def test_steps(tmp_path, miou, help_, drift):
    found = measured(tmp_path, analyses=[make_sweep(miou=miou)])
    assert claims.more_steps_help(found).verdict == help_
    assert claims.plain_training_drifts(found).verdict == drift
    assert "(2 seeds, 8 images)" in claims.more_steps_help(found).evidence


def test_a_record_of_all_images_is_preferred_to_a_sweep_of_some(tmp_path):
    record = make_record(MAIN, miou={1: [40.0, 40.0], 3: [39.0, 39.0]}, images=24)
    finding = claims.more_steps_help(measured(tmp_path, analyses=[make_sweep()], records=[record]))
    assert finding.verdict == "not supported"
    assert "24 images" in finding.evidence


def test_steps_over_trainings(tmp_path):
    values = ({1: [40.0, 40.0], 3: [41.0, 41.0]}, {1: [40.0, 40.0], 3: [39.0, 39.0]})
    recipes = [seeded(recipe(MAIN), seed) for seed in (0, 1)]
    found = measured(tmp_path, records=[make_record(settings=s, miou=m) for s, m in zip(recipes, values, strict=True)])
    finding = claims.more_steps_help(found)
    assert (finding.verdict, "(2 trainings)" in finding.evidence) == ("inconclusive", True)


@pytest.mark.parametrize(
    ("plain", "aligned", "verdict"),
    [
        ([38.0, 38.1], [41.0, 41.1], "supported"),
        ([38.0, 38.1], [38.0, 38.6], "inconclusive"),
        ([38.0, 38.0], [37.0, 37.0], "not supported"),
        ([41.0, 41.2], [41.0, 41.2], "inconclusive"),
    ],
)
def test_alignment(tmp_path, plain, aligned, verdict):
    three = {1: [38, 38], 3: [41.0, 41.2]}
    sweeps = [make_sweep(MAIN, three | {10: plain}), make_sweep(f"{MAIN}_aligned", three | {10: aligned})]
    found = measured(tmp_path, analyses=sweeps)
    assert claims.alignment_removes_drift(found, "_aligned").verdict == verdict
    assert claims.alignment_removes_drift(found, "_aligned_fresh").verdict == "not run"


def test_steps_that_were_not_swept(tmp_path):
    sweeps = [make_sweep(MAIN + end, {1: [38.0, 38.0], 2: [39.0, 39.0]}) for end in ("", "_aligned")]
    found = measured(tmp_path, analyses=sweeps)
    assert claims.more_steps_help(found).verdict == "not run"
    assert claims.alignment_removes_drift(found, "_aligned").verdict == "not run"
    assert claims.asymmetric_intervals_help(found).verdict == "not run"


@pytest.mark.parametrize(("gain", "verdict"), [(5.0, "supported"), (1.0, "inconclusive"), (-3.0, "not supported")])
def test_single_trainings_need_a_large_difference(tmp_path, gain, verdict):
    records = [make_record(MAIN, miou={1: [40.0], 3: [40.0 + gain]}), make_record(f"{MAIN}_baseline", miou={1: [40.0]})]
    finding = claims.diffusion_beats_baseline(measured(tmp_path, records=records))
    assert finding.verdict == verdict
    assert "± 1.00 (assumed)" in finding.evidence


def test_several_trainings_bring_their_own_spread(tmp_path):
    base = ablation_base("mini")
    found = cells(base, "ddp_table5c")
    values = {"cosine": (41.0, 41.2), "linear": (40.0, 40.2)}
    records = [
        make_record(settings=seeded(found[v], seed), miou={3: [score]})
        for v, scores in values.items()
        for seed, score in enumerate(scores)
    ]
    finding = claims.best_of_table(measured(tmp_path, records=records), "ddp_table5c", "cosine")
    assert finding.verdict == "supported"
    assert "2 and 2 trainings" in finding.evidence


def test_a_table_is_judged_only_when_complete(tmp_path):
    found = cells(ablation_base("mini"), "ddp_table5a")
    records = [make_record(settings=found[v], miou={3: [40.0]}) for v in ("onehot", "embedding")]
    assert claims.best_of_table(measured(tmp_path, records=records), "ddp_table5a", "embedding").verdict == "not run"


@pytest.mark.parametrize(("zero", "verdict"), [([40.0, 40.2], "supported"), ([42.0, 42.2], "not supported")])
def test_time_difference(tmp_path, zero, verdict):
    found = measured(tmp_path, analyses=[make_sweep(zero={3: zero})])
    assert claims.asymmetric_intervals_help(found).verdict == verdict


def test_uncertainty(tmp_path):
    found = measured(tmp_path, analyses=[make_uncertainty(correlation=0.4, std=0.1)])
    finding = claims.change_count_is_correlated(found)
    assert finding.verdict == "not supported"
    assert "moderate" in finding.evidence
    assert claims.change_count_equals_entropy(found).verdict == "inconclusive"
    found = measured(tmp_path, analyses=[make_uncertainty(correlation=0.9, std=0.1, auroc=(0.9, 0.85))])
    assert claims.change_count_is_correlated(found).verdict == "supported"
    assert claims.change_count_equals_entropy(found).verdict == "supported"
    found = measured(tmp_path, analyses=[make_uncertainty(std=0.001)])
    assert claims.change_count_equals_entropy(found).verdict == "not supported"


@pytest.mark.parametrize("preset", PRESETS)
def test_nothing_measured_claims_nothing(tmp_path, preset):
    table = claims_table(preset, tmp_path)
    assert set(table.frame["Verdict", "at this scale"]) == {"not run"}
    assert len(table.provenance) == 0


def test_table_names_runs_and_rules(tmp_path):
    write_analyses(tmp_path, make_sweep(), make_map_use(MAIN))
    write_records(tmp_path, make_record(MAIN))
    table = claims_table("mini", tmp_path)
    assert list(table.provenance["Run"]) == [MAIN]
    assert "d - 2 s > 0" in table.notes[0]
    verdicts = dict(zip(table.frame["", "Claim"], table.frame["Verdict", "at this scale"], strict=True))
    assert verdicts["more steps help: 3 beat 1"] == "supported"
    assert verdicts["diffusion beats the same network without it"] == "not run"


MORE_STEPS = "more steps help: 3 beat 1"


def judged_on(table, statement):
    """The model and the verdict of a claim."""
    rows = zip(table.frame["", "Claim"], table.frame["", "Model"], table.frame["Verdict", "at this scale"], strict=True)
    return next((model, verdict) for claim, model, verdict in rows if claim == statement)


SMALL = "ade20k_mini_small"


def scored(name, *means):
    """Trainings of a recipe, of which each gains a point from 1 to 3 steps."""
    recipes = [seeded(recipe(name), seed) for seed in range(len(means))]
    return [make_record(settings=s, miou={1: [v, v], 3: [v + 1, v + 1]}) for s, v in zip(recipes, means, strict=True)]


@pytest.mark.parametrize(
    ("main", "small", "model", "verdict"),
    [
        ([40.0], [], MAIN, "supported"),
        ([], [30.0], SMALL, "supported"),  # a result rather than none
        ([40.0], [30.0], MAIN, "supported"),
        ([40.0], [30.0, 31.0], SMALL, "supported"),  # more trainings
        ([40.0, 41.0], [30.0, 31.0], MAIN, "supported"),
        ([], [], MAIN, "not run"),
    ],
)
def test_sampling_is_judged_on_the_model_with_more_to_say(tmp_path, main, small, model, verdict):
    write_records(tmp_path, *scored(MAIN, *main), *scored(SMALL, *small))
    write_analyses(tmp_path, make_map_use(MAIN), make_map_use(SMALL))
    assert judged_on(claims_table("mini", tmp_path), MORE_STEPS) == (model, verdict)


def test_a_model_that_was_not_run_is_not_chosen_for_its_trainings(tmp_path):
    """Two trainings of the small model, but without three steps."""
    few = [make_record(settings=seeded(recipe(SMALL), seed), miou={1: [30.0]}) for seed in (0, 1)]
    write_records(tmp_path, *scored(MAIN, 40.0), *few)
    write_analyses(tmp_path, make_map_use(MAIN))
    assert judged_on(claims_table("mini", tmp_path), MORE_STEPS) == (MAIN, "supported")


# -- does the model read its map? --------------------------------------------------------------------------------------

IGNORED = "not testable: this model ignores its map"
UNCHECKED = "not testable: whether this model reads its map was not checked"


@pytest.mark.parametrize(
    ("measure", "effect", "verdict"),
    [
        ("miou", (20.0, 19.0, 21.0), None), ("miou", (1.5, 1.01, 2.0), None),
        ("miou", (1.5, 0.99, 2.0), IGNORED), ("miou", (0.02, 0.01, 0.03), IGNORED),
        ("miou", (9.0, None, None), IGNORED), ("rel", (0.02, 0.011, 0.03), None), ("rel", (0.02, 0.009, 0.03), IGNORED),
    ],
)  # fmt: skip
def test_rule_of_the_map(measure, effect, verdict):
    found = make_map_use(MAIN, measure=measure, effect=effect)
    assert rules.judge_map_use(found) == verdict
    assert ("unknown" in rules.describe_map_use(found)) == (effect[1] is None)


@pytest.mark.parametrize(
    ("analyses", "verdict", "words"),
    [
        ([], UNCHECKED, "effect of the map unknown"),
        (
            [make_map_use(MAIN, effect=(0.02, 0.0, 0.04))],
            IGNORED,
            "true map minus another image's: +0.02 (95 % interval",
        ),
        ([make_map_use(MAIN)], "supported", "d = +1.00"),
    ],
)
def test_claims_about_diffusion_need_a_model_that_reads_its_map(tmp_path, analyses, verdict, words):
    """Claims on uncertainty are not about the map, and nothing is said of what was not run."""
    sweeps = [make_sweep(MAIN + end, {1: [38] * 2, 3: [41] * 2, 10: [38 + 3 * (end != "")] * 2}, zero={3: [40] * 2})
              for end in ("", "_aligned")]  # fmt: skip
    write_analyses(tmp_path, *sweeps, make_uncertainty(correlation=0.9, std=0.01), *analyses)
    write_records(tmp_path, *scored(MAIN, 40.0), make_record(f"{MAIN}_baseline", miou={1: [30.0]}))
    table = claims_table("mini", tmp_path)
    evidence = dict(zip(table.frame["", "Claim"], table.frame["Numbers"].iloc[:, 1], strict=True))
    for statement in (
        "diffusion beats the same network without it", MORE_STEPS, "plain training drifts: 10 steps fall behind 3",
        "self-alignment removes the drift (same noise, as released)", "asymmetric time intervals help: td = 1 beats 0",
    ):  # fmt: skip
        assert judged_on(table, statement) == (MAIN, verdict), statement
    assert words in evidence[MORE_STEPS]
    assert judged_on(table, "label changes are highly positively correlated with errors") == (MAIN, "supported")
    assert judged_on(table, "self-alignment removes the drift (fresh noise, as printed)") == (MAIN, "not run")
    assert set(rules.RULES) < set(table.notes)


def test_trainings_are_judged_by_the_map_of_the_model_they_vary(tmp_path):
    """Encodings, scales and schedules are about the map; the number of layers is not."""
    base = ablation_base("mini")
    tables = {
        "ddp_table5a": "class embedding is the best encoding", "ddp_table5b": "scale 0.01 is best",
        "ddp_table5c": "the cosine schedule beats the linear one", "ddp_table5d": "six decoder layers are best",
    }  # fmt: skip
    settings = {cell.name: cell for name in tables for cell in cells(base, name).values()}
    write_records(tmp_path, *(make_record(settings=cell, miou={1: [30.0], 3: [30.0]}) for cell in settings.values()))
    for effect, verdict in (((0.0, 0.0, 0.0), IGNORED), ((5.0, 4.0, 6.0), "inconclusive")):
        write_analyses(tmp_path, make_map_use(base.name, effect=effect))
        table = claims_table("mini", tmp_path)
        found = [judged_on(table, statement)[1] for statement in tables.values()]
        assert found == [verdict] * 3 + ["inconclusive"]


def test_an_analysis_of_other_weights_does_not_count(tmp_path):
    write_records(tmp_path, *scored(MAIN, 40.0))
    write_analyses(tmp_path, dataclasses.replace(make_map_use(MAIN), checkpoint="e" * 64))
    assert judged_on(claims_table("mini", tmp_path), MORE_STEPS) == (MAIN, UNCHECKED)


def test_a_model_that_reads_its_map_is_preferred(tmp_path):
    write_records(tmp_path, *scored(MAIN, 40.0, 41.0), *scored(SMALL, 30.0))
    write_analyses(tmp_path, make_map_use(MAIN, effect=(0.0, 0.0, 0.0)), make_map_use(SMALL))
    assert judged_on(claims_table("mini", tmp_path), MORE_STEPS) == (SMALL, "supported")


# -- depth -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "three", "verdict"),
    [
        ([0.2, 0.21], [0.18, 0.19], "supported"),
        ([0.2, 0.2], [0.1995, 0.1995], "not supported"),  # less than the printed digit
        ([0.2, 0.22], [0.19, 0.225], "inconclusive"),
        ([0.2], [0.175], "supported"),  # the assumed spread of 0.01, twice
        ([0.2], [0.185], "inconclusive"),
    ],
)
def test_depth_over_steps(tmp_path, one, three, verdict):
    records = [make_depth_record("nyu_mini", {1: one, 3: three})]
    found = claims.depth_steps_help(measured(tmp_path, records=records, model="nyu_mini"))
    assert found.verdict == verdict
    assert found.evidence.startswith(f"REL 1 step: {sum(one) / len(one):.4f}, 3 steps:")


@pytest.mark.parametrize(
    ("ours", "baseline", "verdict", "source"),
    [
        ([0.1], [0.2], "supported", "assumed"), ([0.19], [0.2], "inconclusive", "assumed"),
        ([0.3], [0.2], "not supported", "assumed"), ([0.19, 0.191], [0.2, 0.201], "supported", "2 and 2 trainings"),
    ],
)  # fmt: skip
def test_depth_against_the_baseline(tmp_path, ours, baseline, verdict, source):
    def trained(name, values, steps):
        recipes = [seeded(recipe(name), seed) for seed in range(len(values))]
        return [make_depth_record(rel={steps: [v]}, settings=s) for s, v in zip(recipes, values, strict=True)]

    records = [*trained("nyu_mini", ours, 3), *trained("nyu_mini_baseline", baseline, 1)]
    found = claims.depth_beats_baseline(measured(tmp_path, records=records, model="nyu_mini"))
    assert (found.verdict, source in found.evidence) == (verdict, True)


@pytest.mark.parametrize("preset", ["sevenscenes", "kitti_lidar"])
def test_presets_of_depth_alone_have_claims_of_depth_alone(tmp_path, preset):
    name = f"{preset}_lite0"
    write_records(tmp_path, make_depth_record(name, {1: [0.2, 0.2], 3: [0.1, 0.1]}))
    write_analyses(tmp_path, make_map_use(name, preset, measure="rel", effect=(0.05, 0.04, 0.06)))
    table = claims_table(preset, tmp_path)
    assert list(table.frame["", "Model"]) == [name, name]
    assert list(table.frame["Verdict", "at this scale"]) == ["not run", "supported"]
    assert list(table.provenance["Run"]) == [name]
