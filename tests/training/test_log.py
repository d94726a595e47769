"""The log holds every iteration once, whatever happened to the run."""

import math

import pytest

from ddp_repro.training.log import TrainingLog, read_log


def test_averages_over_the_iterations_since_the_last_line(tmp_path):
    log = TrainingLog(tmp_path / "log.jsonl")
    for loss in (1.0, 3.0):
        log.add({"loss": loss})
    log.write(iteration=2, **log.take_averages())
    log.add({"loss": 7.0})
    log.write(iteration=3, **log.take_averages())
    assert read_log(log.path) == [{"iteration": 2, "loss": 2.0}, {"iteration": 3, "loss": 7.0}]


def test_resuming_drops_later_and_unfinished_lines(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"iteration": 2}\n{"iteration": 4}\n{"iteration": 6}\n{"itera')
    log = TrainingLog(path, iteration=4, pending={"loss": 5.0, "count": 1})
    log.add({"loss": 7.0})
    log.write(iteration=6, **log.take_averages())
    assert read_log(path) == [{"iteration": 2}, {"iteration": 4}, {"iteration": 6, "loss": 6.0}]


def test_what_json_cannot_say_becomes_null(tmp_path):
    log = TrainingLog(tmp_path / "log.jsonl")
    log.write(iteration=1, grad_norm=math.inf)
    assert read_log(log.path) == [{"iteration": 1, "grad_norm": None}]


@pytest.mark.parametrize("line", ["not json", "[1]", '{"loss": 1}'])
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "log.jsonl"
    path.write_text(f'{line}\n{{"iteration": 2}}\n')
    with pytest.raises(ValueError, match=r"log\.jsonl: damaged training log"):
        TrainingLog(path)
