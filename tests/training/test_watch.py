"""A training is watched without being changed: the log says whether the map is read."""

import json

import torch
from training.tiny import tiny_recipe, write_images

from ddp_repro.interop.weight_files import read_state_dict
from ddp_repro.papers.ddp.paper import PAPER
from ddp_repro.training import train

LOSSES = {"map_true", "map_other", "map_zero", "map_noise", "map_effect"}


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def test_watching_changes_nothing_but_the_log(tmp_path):
    recipe = tiny_recipe(write_images(tmp_path / "data"), train__iterations=4)
    results = [
        train(recipe, tmp_path / name, progress=False, watch=watch) for name, watch in (("a", None), ("b", PAPER.watch))
    ]
    first, second = (read_state_dict(result.checkpoint)[0] for result in results)
    assert all(torch.equal(first[name], second[name]) for name in first)
    unwatched, watched = log_of(tmp_path / "a"), log_of(tmp_path / "b")
    assert [line["iteration"] for line in watched] == [2, 4]
    for before, line in zip(unwatched, watched, strict=True):
        assert set(line) - set(before) == LOSSES
        assert before["loss"] == line["loss"]
        assert line["map_effect"] == line["map_other"] - line["map_true"]


def test_a_baseline_has_no_map_to_watch(tmp_path):
    recipe = tiny_recipe(write_images(tmp_path / "data"), train__iterations=2, model__diffusion=False)
    train(recipe, tmp_path / "run", progress=False, watch=PAPER.watch)
    assert not LOSSES & set(log_of(tmp_path / "run")[0])
