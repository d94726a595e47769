"""Deciding claims: a made-up trainer whose recipes have known scores, and a clock that it moves."""

import numpy as np
import pytest
from workbook.fake_analyses import write_analyses
from workbook.fake_map_use import make_map_use
from workbook.fakes import make_record, write_records
from workbook.tiny import tiny, write_data

from ddp_repro.cli import main
from ddp_repro.papers.ddp.claims import claims, evidence_of
from ddp_repro.settings.durations import describe_duration, parse_duration
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.training_seeds import seeded, split_seed
from ddp_repro.workbook import catalogue
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.claims.decide import Trainer, decide

MAIN, SMALL = "cityscapes_mini", "ade20k_mini_small"
MINUTE = 60.0


class FakeTrainer:
    """Trains in no time: each recipe has a mean score, its trainings a spread that all recipes of a seed share."""

    def __init__(self, output, means, *, reads=True, minutes=2.0):
        self.output, self.means, self.reads, self.minutes = output, means, reads, minutes
        self.now, self.log = 0.0, []

    def run(self, names):
        for name in names:
            self._train(name)

    def _train(self, name):
        self.log.append(name)
        self.now += self.minutes * MINUTE
        base, seed = split_seed(name)
        common = np.random.default_rng(seed or 0).normal(0, 3)
        own = np.random.default_rng([seed or 0, len(base)]).normal(0, 0.1)
        chosen = recipe(name)
        miou = {s: [self.means[base] + common + own + (0 if s > 1 else -1)] for s in chosen.evaluation.steps}
        write_records(self.output, make_record(settings=chosen, miou=miou))

    def check(self, name):
        self.log.append(f"check {name}")
        write_analyses(self.output, make_map_use(name, effect=(20.0, 19.0, 21.0) if self.reads else (0.1, 0.0, 0.2)))


def decided(trainer, keys, minutes=600.0):
    """Verdicts by key, and what was said."""
    said = []
    found = decide(
        claims("mini"), keys, lambda: evidence_of("mini", trainer.output), trainer, minutes * MINUTE, said.append,
        lambda: trainer.now,
    )  # fmt: skip
    return {verdict.claim.key: verdict for verdict in found}, said


def test_trains_pairs_until_the_claim_is_decided(tmp_path):
    trainer = FakeTrainer(tmp_path, {MAIN: 45.0, f"{MAIN}_baseline": 40.0})
    found, said = decided(trainer, ["baseline"])
    assert found["baseline"].verdict == "supported"
    assert trainer.log[:2] == [MAIN, f"check {MAIN}"]  # what cannot be tested is not trained on
    assert set(trainer.log) >= {f"{MAIN}-seed1", f"{MAIN}_baseline", f"{MAIN}_baseline-seed1"}
    pairs = found["baseline"].measurement.pairs
    assert 2 <= pairs <= 4
    assert len(trainer.log) == 2 * pairs + 1  # nothing else was trained
    assert "(for baseline)" in said[0] and "left" in said[0]


def test_what_is_there_is_not_trained_again(tmp_path):
    first = FakeTrainer(tmp_path, {MAIN: 45.0, f"{MAIN}_baseline": 40.0})
    decided(first, ["baseline"], minutes=4.0)
    second = FakeTrainer(tmp_path, first.means)
    found, _ = decided(second, ["baseline"])
    assert found["baseline"].is_settled
    assert not set(first.log) & set(second.log)
    third = FakeTrainer(tmp_path, first.means)
    assert decided(third, ["baseline"])[0]["baseline"].verdict == "supported"
    assert third.log == []


def test_a_model_that_ignores_its_map_is_not_trained_further(tmp_path):
    trainer = FakeTrainer(tmp_path, {MAIN: 45.0, f"{MAIN}_baseline": 40.0}, reads=False)
    found, said = decided(trainer, ["baseline"])
    assert trainer.log == [MAIN, f"check {MAIN}"]
    assert found["baseline"].verdict in ("not run", "not testable: this model ignores its map")
    assert said[-1] == "baseline: trainings do not decide it: not testable: this model ignores its map"


def test_ends_with_its_budget(tmp_path):
    """No step is begun that is expected to take longer than what is left."""
    trainer = FakeTrainer(tmp_path, {MAIN: 40.05, f"{MAIN}_baseline": 40.9})
    found, said = decided(trainer, ["baseline"], minutes=21.0)
    assert 12 * MINUTE < trainer.now <= 21 * MINUTE
    assert not found["baseline"].is_settled
    assert said[-1].startswith("baseline: not decided yet: ")
    assert found["baseline"].verdict.startswith("undecided: about ")


def test_steps_that_serve_several_claims_come_first(tmp_path):
    """One more training of the plain model serves two claims; the encodings need three trainings a pair for one."""
    means = {MAIN: 45.0, SMALL: 45.0, f"{SMALL}_encoding_onehot": 44.0, f"{SMALL}_encoding_analog_bits": 43.0}
    trainer = FakeTrainer(tmp_path, means)
    found, said = decided(trainer, ["encoding", "steps", "drift"])
    assert all(verdict.is_settled for verdict in found.values())
    first_encoding = next(n for n, name in enumerate(trainer.log) if "encoding" in name)
    first_pair = next(n for n, name in enumerate(trainer.log) if "seed1" in name)
    assert first_pair < first_encoding
    assert any("(for steps, drift)" in line or "(for drift, steps)" in line for line in said)


def test_claims_that_trainings_do_not_decide_are_named(tmp_path):
    trainer = FakeTrainer(tmp_path, {})
    found, said = decided(trainer, ["changes"])
    assert found["changes"].verdict == "not run" and trainer.log == []
    assert "it is read off the analysis 'uncertainty'" in said[-1]
    _, said = decided(trainer, ["aligned"])
    assert f"{MAIN}_aligned is scored at 1, 3 steps, not at 10" in said[-1]


def test_expected_times_follow_the_machine(tmp_path):
    """Records say 102.5 s a run; here a run takes twenty minutes: the first pair shows it, a second is not begun."""
    trainer = FakeTrainer(tmp_path, {MAIN: 40.05, f"{MAIN}_baseline": 40.9}, minutes=20.0)
    decided(trainer, ["baseline"], minutes=90.0)
    assert trainer.now <= 90 * MINUTE


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("45s", 45), ("1.5h", 5400)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "-1h", "2 hours", "30m1h", "0h", "1h 30m", "nanh"])
def test_durations_that_are_none(text):
    with pytest.raises(ConfigError, match="2h, 90m, 1h30m or 45s is expected"):
        parse_duration(text)


@pytest.mark.parametrize(("seconds", "words"), [(20, "20 s"), (90, "2 min"), (3600, "1 h 0 min"), (5400, "1 h 30 min")])
def test_durations_in_words(seconds, words):
    assert describe_duration(seconds) == words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stepz", "--budget", "1h"], "no claim 'stepz' under this preset; did you mean steps"),
        (["steps", "--budget", "2"], "a time such as 2h, 90m, 1h30m or 45s is expected; got '2'"),
        (["steps", "--budget", "1h", "--paper", "x"], "no paper 'x'"),
    ],
)
def test_wrong_requests(words, message, capsys, tmp_path):
    assert main(["decide", *words, "--output", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_trainer_trains_scores_and_checks(tmp_path, monkeypatch):
    """For real, on a few pictures."""
    data = write_data("cityscapes", tmp_path / "data" / "cityscapes")

    def tiny_recipe(name, preset=None):
        base, seed = split_seed(name)
        return seeded(tiny(base, data), seed or 0)

    monkeypatch.setattr(catalogue, "recipe", tiny_recipe)
    trainer = Trainer("mini", tmp_path)
    for name in (MAIN, f"{MAIN}-seed1"):
        trainer.run([name])
    trainer.check(f"{MAIN}-seed1")
    evidence = evidence_of("mini", tmp_path)
    assert evidence.seeds(MAIN) == {0, 1}
    assert [analysis.run for analysis in evidence.map_uses(MAIN)] == [f"{MAIN}-seed1"]
