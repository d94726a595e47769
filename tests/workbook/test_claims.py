"""Claims: every verdict is reachable by the stated rule, on pairs of trainings, and nothing is claimed without runs."""

import dataclasses

import numpy as np
import pytest
from workbook.fake_analyses import make_sweep, make_uncertainty, write_analyses
from workbook.fake_depth import make_depth_record
from workbook.fake_map_use import make_map_use
from workbook.fakes import make_record, write_records

from ddp_repro.evaluation.per_image.statistics import ImageStatistics
from ddp_repro.papers.ddp.claims import claims, claims_table, evidence_of
from ddp_repro.papers.ddp.recipes.segmentation import ablation_base
from ddp_repro.papers.ddp.recipes.variants import cells
from ddp_repro.settings.presets import PRESETS
from ddp_repro.settings.training_seeds import seeded
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.claims import gate
from ddp_repro.workbook.claims.claim import Comparison, Side
from ddp_repro.workbook.claims.judge import judge
from ddp_repro.workbook.runs.companion import save_image_statistics, statistics_sha256

MAIN, SMALL = "cityscapes_mini", "ade20k_mini_small"


def judged(output, key, preset="mini"):
    """One claim of a preset, judged among all."""
    return next(j for j in judge(claims(preset), evidence_of(preset, output)) if j.claim.key == key)


def outcome(output, key, preset="mini"):
    """The verdict by itself: of one claim, as if there were no other."""
    found = judged(output, key, preset)
    return found.reason or found.decision.raw.outcome


def trained(name, *trainings, make=make_record):
    """Records of several training seeds; each training maps steps to scores by sampling seed."""
    return [make(settings=seeded(recipe(name), seed), **scores) for seed, scores in enumerate(trainings)]


def scored(name, miou_by_training):
    return trained(name, *({"miou": miou} for miou in miou_by_training))


THREE = (40.0, 41.0, 42.0)  # trainings that differ by more than what is compared


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ((1.0, 1.1, 0.9), "supported"), ((-1.0, -1.1, -0.9), "not supported"), ((0.0, 0.05, -0.05), "equal"),
        ((2.0, -1.5, 1.0), "undecided"),
    ],
)  # fmt: skip
def test_steps_are_paired_by_training(tmp_path, gains, verdict):
    """Three trainings that differ by points decide a difference of one point, for each is compared with itself."""
    write_analyses(tmp_path, make_map_use(MAIN))
    write_records(tmp_path, *scored(MAIN, [{1: [v], 3: [v + gain]} for v, gain in zip(THREE, gains, strict=True)]))
    assert outcome(tmp_path, "steps") == verdict
    found = judged(tmp_path, "steps")
    assert found.measurement.estimate.unit == "trainings"
    assert "(seeds 0, 1, 2)" in found.evidence
    if verdict == "undecided":
        assert "trainings would decide it" in found.decision.raw.describe()


def test_one_training_speaks_of_its_weights_alone(tmp_path):
    write_analyses(tmp_path, make_map_use(MAIN))
    write_records(tmp_path, *scored(MAIN, [{1: [40.0, 40.0], 3: [41.0, 41.1]}]))
    found = judged(tmp_path, "steps")
    assert found.measurement.estimate.unit == "sampling seeds"
    assert "one set of weights" in found.evidence
    assert outcome(tmp_path, "steps") == "supported"


def test_single_trainings_decide_nothing_between_trainings(tmp_path):
    """However large the difference."""
    write_analyses(tmp_path, make_map_use(MAIN))
    write_records(tmp_path, *scored(MAIN, [{1: [40.0] * 2, 3: [90.0] * 2}]), *scored(f"{MAIN}_baseline", [{1: [40.0]}]))
    found = judged(tmp_path, "baseline")
    assert found.decision.raw.describe() == "undecided: at least 2 trainings are needed"


def test_only_seeds_that_both_sides_have_are_compared(tmp_path):
    write_analyses(tmp_path, make_map_use(MAIN))
    ours = scored(MAIN, [{1: [0.0], 3: [v]} for v in (50.0, 41.0, 42.0)])
    baseline = scored(f"{MAIN}_baseline", [{1: [v]} for v in (0.0, 40.0, 41.1)])
    write_records(tmp_path, *ours[1:], *baseline)
    found = judged(tmp_path, "baseline")
    assert found.measurement.pairs == 2
    assert found.measurement.estimate.value == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("aligned", "verdict"),
    [((0.0, 0.1, 0.0), "supported"), ((3.0, 3.1, 2.9), "equal"), ((5.0, 5.1, 5.2), "not supported")],
)
def test_alignment_compares_falls(tmp_path, aligned, verdict):
    write_analyses(tmp_path, make_map_use(MAIN))
    sides = {"": (3.0, 3.1, 3.0), "_aligned": aligned}
    records = [
        record
        for end, falls in sides.items()
        for record in scored(MAIN + end, [{3: [v], 10: [v - fall]} for v, fall in zip(THREE, falls, strict=True)])
    ]
    write_records(tmp_path, *records)
    assert outcome(tmp_path, "aligned") == verdict
    assert outcome(tmp_path, "aligned_fresh") == "not run"
    assert outcome(tmp_path, "drift") == "supported"


def test_sweeps_are_taken_where_records_have_not_all_steps(tmp_path):
    three = {1: [38, 38], 3: [41.0, 41.2]}
    sweeps = [make_sweep(MAIN, three | {10: [38.0, 38.1]}), make_sweep(f"{MAIN}_aligned", three | {10: [41.0, 41.1]})]
    write_analyses(tmp_path, *sweeps, make_map_use(MAIN))
    write_records(tmp_path, *scored(MAIN, [{1: [1.0], 3: [2.0]}]), *scored(f"{MAIN}_aligned", [{3: [2.0]}]))
    found = judged(tmp_path, "aligned")
    assert found.measurement.estimate.value == pytest.approx(3.05 - 0.05)
    assert "fall of plain 3.05" in found.evidence


def test_a_record_of_all_images_is_preferred_to_a_sweep_of_some(tmp_path):
    write_analyses(tmp_path, make_sweep(), make_map_use(MAIN))
    write_records(tmp_path, *scored(MAIN, [{1: [40.0, 40.0], 3: [39.0, 39.0]}]))
    assert outcome(tmp_path, "steps") == "not supported"


@pytest.mark.parametrize(("zero", "verdict"), [([40.0, 40.1], "supported"), ([42.0, 42.1], "not supported")])
def test_time_difference(tmp_path, zero, verdict):
    write_analyses(tmp_path, make_sweep(zero={3: zero}), make_map_use(MAIN))
    assert outcome(tmp_path, "intervals") == verdict


def test_the_best_of_a_table_beats_every_rival(tmp_path):
    """Against each rival with its own spread, at an interval that holds for all of them together."""
    base, table = ablation_base("mini"), "ddp_table5a"
    rivals = {"onehot": (1.0, 1.1, 0.9), "analog_bits": (2.0, 2.2, 1.9), "embedding": (0.0, 0.0, 0.0)}
    records = {
        value: scored(cell.name, [{3: [v - behind]} for v, behind in zip(THREE, rivals[value], strict=True)])
        for value, cell in cells(base, table).items()
    }
    write_analyses(tmp_path, make_map_use(base.name))
    write_records(tmp_path, *records["embedding"], *records["onehot"])
    assert outcome(tmp_path, "encoding") == "not run"  # a table is judged when it is complete
    write_records(tmp_path, *records["analog_bits"])
    found = judged(tmp_path, "encoding")
    assert found.decision.raw.outcome == "supported"
    alone = found.measurement.estimate.parts[1 if found.measurement.estimate.parts[1].value < 1.5 else 0]
    assert found.decision.raw.interval.low < alone.interval().low  # of two rivals: wider than of one
    write_records(tmp_path, *scored(cells(base, table)["onehot"].name, [{3: [v + 2]} for v in THREE]))
    assert outcome(tmp_path, "encoding") == "not supported"


def test_uncertainty(tmp_path):
    write_analyses(tmp_path, make_uncertainty(correlation=0.4, std=0.1))
    assert outcome(tmp_path, "changes") == "not supported"
    assert "moderate" in judged(tmp_path, "changes").evidence
    assert outcome(tmp_path, "entropy") == "undecided"
    write_analyses(tmp_path, make_uncertainty(correlation=0.9, std=0.2, auroc=(0.9, 0.85)))
    assert outcome(tmp_path, "changes") == "undecided"
    assert judged(tmp_path, "changes").measurement.estimate.unit == "images"
    write_analyses(tmp_path, make_uncertainty(correlation=0.9, std=0.01, auroc=(0.9, 0.85)))
    assert outcome(tmp_path, "changes") == outcome(tmp_path, "entropy") == "supported"
    write_analyses(tmp_path, make_uncertainty(std=0.001))
    assert outcome(tmp_path, "entropy") == "not supported"


@pytest.mark.parametrize("preset", PRESETS)
def test_nothing_measured_claims_nothing(tmp_path, preset):
    table = claims_table(preset, tmp_path)
    claimed = set() if preset in ("own", "small") else {"not run"}  # of which the paper claims nothing
    assert set(table.frame["Verdict", "with Holm's correction"]) == claimed
    assert len(table.provenance) == 0


@pytest.mark.parametrize("preset", PRESETS)
def test_claims_are_stated_with_what_matters_and_have_keys_of_their_own(preset):
    questions = claims(preset)
    keys = [question[0].key for question in questions]
    assert len(set(keys)) == len(keys)
    assert all(len({(c.key, c.statement, c.minimum) for c in question}) == 1 for question in questions)
    assert all(claim.minimum > 0 for question in questions for claim in question)
    known = {name for question in questions for claim in question for name in claim.recipes}
    assert [recipe(name, preset).name for name in known] == list(known)


def test_a_comparison_needs_a_rival():
    with pytest.raises(ValueError, match="a comparison needs a rival"):
        Comparison(Side.of("ours", MAIN, 3), ())


def test_table_shows_both_verdicts_and_their_rules(tmp_path):
    """What is just decided by itself is undecided among so many; the table says so."""
    gains = (1.0, 0.6, 0.3)  # p = 0.09 against 0, three pairs
    write_records(tmp_path, *scored(MAIN, [{1: [v], 3: [v + 5 + g]} for v, g in zip(THREE, gains, strict=True)]))
    write_records(
        tmp_path, *scored(f"{MAIN}_baseline", [{1: [v + 4.6 + g / 2]} for v, g in zip(THREE, gains, strict=True)])
    )
    write_analyses(tmp_path, make_map_use(MAIN))
    table = claims_table("mini", tmp_path)
    assert set(table.provenance["Run"]) >= {MAIN, f"{MAIN}-seed2", f"{MAIN}_baseline"}
    rows = table.frame.set_index(("", "Key"))
    assert rows.loc["baseline", ("Verdict", "by itself")].startswith("supported")
    assert rows.loc["baseline", ("Verdict", "with Holm's correction")].startswith("supported")
    assert rows.loc["steps", ("", "What matters")] == "0.3 mIoU"
    assert "over 3 trainings" in rows.loc["steps", ("Effect", "with interval")]
    assert gate.RULE in table.notes


# -- images ------------------------------------------------------------------------------------------------------------


def with_companion(output, name, seed, gain, rng, sampling=2):
    """A record and its companion: three steps are better than one by about ``gain`` points of IoU on every image."""
    union = rng.integers(500, 1500, (2 * sampling, 30, 19))
    hard = rng.uniform(0.2, 0.6, (1, 30, 1))
    share = hard + np.array([0.0] * sampling + [gain / 100] * sampling)[:, None, None] + rng.normal(0, 0.01, (1, 1, 19))
    intersection = (union * share).astype(np.int64)
    runs = tuple((steps, k) for steps in (1, 3) for k in range(sampling))
    images = ImageStatistics(tuple(map(str, range(30))), runs, {"intersection": intersection, "union": union})
    iou = 100 * (intersection.sum(1) / union.sum(1)).mean(-1)
    miou = {1: iou[:sampling].tolist(), 3: iou[sampling:].tolist()}
    record = make_record(settings=seeded(recipe(name), seed), miou=miou, images=30)
    record = dataclasses.replace(record, images_sha256=statistics_sha256(images))
    write_records(output, record)
    save_image_statistics(images, output / record.preset / "runs" / record.run)


def test_images_are_drawn_anew_beside_the_pairs(tmp_path):
    rng = np.random.default_rng(0)
    for seed, gain in enumerate((2.0, 3.0, 4.0)):
        with_companion(tmp_path, MAIN, seed, gain, rng)
    write_analyses(tmp_path, make_map_use(MAIN))
    found = judged(tmp_path, "steps").measurement
    assert found.estimate.method == "paired t-interval"
    assert found.beside.method == "bootstrap over trainings and images"
    assert found.beside.value == pytest.approx(found.estimate.value, abs=1e-6)
    assert found.beside.error > found.estimate.error  # other images are a source of spread of their own
    cells = claims_table("mini", tmp_path).frame.set_index(("", "Key")).loc["steps", "Effect"]
    assert all("over 3 trainings" in cell for cell in cells)


def test_one_training_is_judged_over_images_and_sampling_seeds(tmp_path):
    with_companion(tmp_path, MAIN, 0, 2.0, np.random.default_rng(1))
    write_analyses(tmp_path, make_map_use(MAIN))
    found = judged(tmp_path, "steps").measurement
    assert found.estimate.method == "bootstrap over sampling seeds and images" and found.beside is None
    assert found.estimate.value == pytest.approx(2.0, abs=0.3)
    record = evidence_of("mini", tmp_path).records[MAIN, 0]
    write_records(tmp_path, dataclasses.replace(record, images_sha256=None))  # as records from before
    assert judged(tmp_path, "steps").measurement.estimate.method == "paired t-interval"


# -- which model -------------------------------------------------------------------------------------------------------


def gained(name, *means):
    """Trainings of a recipe, of which each gains a point from 1 to 3 steps."""
    return scored(name, [{1: [v, v], 3: [v + 1, v + 1]} for v in means])


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
    write_records(tmp_path, *gained(MAIN, *main), *gained(SMALL, *small))
    write_analyses(tmp_path, make_map_use(MAIN), make_map_use(SMALL))
    assert (judged(tmp_path, "steps").claim.model, outcome(tmp_path, "steps")) == (model, verdict)


def test_a_model_that_was_not_run_is_not_chosen_for_its_trainings(tmp_path):
    """Two trainings of the small model, but without three steps."""
    write_records(tmp_path, *gained(MAIN, 40.0), *scored(SMALL, [{1: [30.0]}] * 2))
    write_analyses(tmp_path, make_map_use(MAIN))
    assert judged(tmp_path, "steps").claim.model == MAIN


# -- does the model read its map? --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measure", "effect", "reason"),
    [
        ("miou", (20.0, 19.0, 21.0), None), ("miou", (1.5, 1.01, 2.0), None),
        ("miou", (1.5, 0.99, 2.0), gate.IGNORED), ("miou", (0.02, 0.01, 0.03), gate.IGNORED),
        ("miou", (9.0, None, None), gate.IGNORED), ("rel", (0.02, 0.011, 0.03), None),
        ("rel", (0.02, 0.009, 0.03), gate.IGNORED),
    ],
)  # fmt: skip
def test_rule_of_the_map(measure, effect, reason):
    found = [make_map_use(MAIN, measure=measure, effect=effect)]
    assert gate.judge_map_use(found) == reason
    assert ("unknown" in gate.describe_map_use(found)) == (effect[1] is None)


def test_every_checked_training_must_read_its_map():
    reads, ignores = make_map_use(MAIN), make_map_use(f"{MAIN}-seed1", effect=(0.0, -0.1, 0.1))
    assert gate.judge_map_use([reads, reads]) is None
    assert gate.judge_map_use([reads, ignores]) == gate.IGNORED
    assert "+0.00" in gate.describe_map_use([reads, ignores])
    assert "the smallest of 2 trainings" in gate.describe_map_use([reads, ignores])


@pytest.mark.parametrize(
    ("analyses", "verdict", "words"),
    [
        ([], gate.UNCHECKED, "effect of the map unknown"),
        ([make_map_use(MAIN, effect=(0.02, 0.0, 0.04))], gate.IGNORED, "true map minus another image's: +0.02 (95 %"),
        ([make_map_use(MAIN)], "supported", "3 steps 41.00, 1 step 40.00"),
    ],
)
def test_claims_about_diffusion_need_a_model_that_reads_its_map(tmp_path, analyses, verdict, words):
    """Claims on uncertainty are not about the map, and nothing is said of what was not run."""
    sweeps = [make_sweep(MAIN + end, {1: [38] * 2, 3: [41] * 2, 10: [38 + 3 * (end != "")] * 2}, zero={3: [40] * 2})
              for end in ("", "_aligned")]  # fmt: skip
    write_analyses(tmp_path, *sweeps, make_uncertainty(correlation=0.9, std=0.01), *analyses)
    write_records(tmp_path, *gained(MAIN, 40.0, 40.0), *scored(f"{MAIN}_baseline", [{1: [30.0]}] * 2))
    for key in ("baseline", "steps", "drift", "intervals"):
        assert outcome(tmp_path, key) == verdict, key
    assert outcome(tmp_path, "aligned") == (verdict if verdict != "supported" else "undecided")  # one pair of trainings
    assert words in judged(tmp_path, "steps").evidence
    assert outcome(tmp_path, "changes") == "supported"
    assert outcome(tmp_path, "aligned_fresh") == "not run"


def test_trainings_are_judged_by_the_map_of_the_model_they_vary(tmp_path):
    """Encodings, scales and schedules are about the map; the number of layers is not."""
    base, keys = ablation_base("mini"), ("encoding", "scale", "schedule", "layers")
    tables = ("ddp_table5a", "ddp_table5b", "ddp_table5c", "ddp_table5d")
    names = {cell.name for table in tables for cell in cells(base, table).values()}
    write_records(tmp_path, *(record for name in names for record in scored(name, [{1: [30.0], 3: [30.0]}])))
    for effect, verdict in (((0.0, 0.0, 0.0), gate.IGNORED), ((5.0, 4.0, 6.0), "undecided")):
        write_analyses(tmp_path, make_map_use(base.name, effect=effect))
        assert [outcome(tmp_path, key) for key in keys] == [verdict] * 3 + ["undecided"]


def test_an_analysis_of_other_weights_does_not_count(tmp_path):
    write_records(tmp_path, *gained(MAIN, 40.0))
    write_analyses(tmp_path, dataclasses.replace(make_map_use(MAIN), checkpoint="e" * 64))
    assert outcome(tmp_path, "steps") == gate.UNCHECKED


def test_a_model_that_reads_its_map_is_preferred(tmp_path):
    write_records(tmp_path, *gained(MAIN, 40.0, 41.0), *gained(SMALL, 30.0))
    write_analyses(tmp_path, make_map_use(MAIN, effect=(0.0, 0.0, 0.0)), make_map_use(SMALL))
    assert judged(tmp_path, "steps").claim.model == SMALL


# -- depth -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("three", "verdict"),
    [((0.18, 0.192), "supported"), ((0.22, 0.232), "not supported"), ((0.1995, 0.2095), "equal")],
)
def test_depth_over_steps(tmp_path, three, verdict):
    """Less REL is better."""
    rel = [{"rel": {1: [one], 3: [many]}} for one, many in zip((0.2, 0.21), three, strict=True)]
    write_records(tmp_path, *trained("nyu_mini", *rel, make=make_depth_record))
    write_analyses(tmp_path, make_map_use("nyu_mini", measure="rel", effect=(0.05, 0.04, 0.06)))
    found = judged(tmp_path, "depth_steps_nyu")
    assert found.measurement.estimate.value == pytest.approx(sum((0.2, 0.21)) / 2 - sum(three) / 2)
    assert found.decision.raw.outcome == verdict


@pytest.mark.parametrize("preset", ["sevenscenes", "kitti_lidar"])
def test_presets_of_depth_alone_have_claims_of_depth_alone(tmp_path, preset):
    name = f"{preset}_lite0"
    write_records(tmp_path, make_depth_record(name, {1: [0.2, 0.2], 3: [0.1, 0.1]}))
    write_analyses(tmp_path, make_map_use(name, preset, measure="rel", effect=(0.05, 0.04, 0.06)))
    table = claims_table(preset, tmp_path)
    assert list(table.frame["", "Model"]) == [name, name]
    assert [outcome(tmp_path, key, preset) for key in ("depth_baseline", "depth_steps")] == ["not run", "supported"]
    assert list(table.provenance["Run"]) == [name]


def test_depth_is_judged_on_a_model_that_reads_its_map(tmp_path):
    """Where the larger model was trained, too, but ignores its map."""
    for name, effect in (("sevenscenes_lite0", (0.0, 0.0, 0.0)), ("sevenscenes_map", (0.02, 0.018, 0.022))):
        runs = [{"rel": {1: [one], 3: [three]}} for one, three in ((0.2, 0.18), (0.21, 0.192))]
        write_records(tmp_path, *trained(name, *runs, make=make_depth_record))
        write_analyses(tmp_path, make_map_use(name, "sevenscenes", measure="rel", effect=effect))
    found = judged(tmp_path, "depth_steps", "sevenscenes")
    assert found.claim.model == "sevenscenes_map" and found.decision.raw.outcome == "supported"
