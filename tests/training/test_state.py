"""States on disk: complete or absent, safe to read, and only for the run that wrote them."""

import errno
import json
import os
import pickle
import resource

import pytest
import torch

from ddp_repro.settings.errors import CheckpointError, ConfigError
from ddp_repro.training.state import TrainingState, load_state, provenance, save_state, saved_states
from tests.training.tiny import tiny_recipe

RECIPE = tiny_recipe("images")
ORIGIN = provenance(RECIPE, "fingerprint")


def state(iteration, size=4):
    return TrainingState(iteration=iteration, seconds=1.5, model={"weight": torch.full((size,), float(iteration))})


def with_recipe(**changes):
    return provenance(tiny_recipe("images", **changes), "fingerprint")


def test_round_trip(tmp_path):
    path = save_state(state(7), ORIGIN, tmp_path)
    loaded = load_state(path, ORIGIN)
    assert (loaded.iteration, loaded.seconds, loaded.model["weight"].tolist()) == (7, 1.5, [7.0] * 4)


def test_the_last_two_are_kept(tmp_path):
    for iteration in (1, 2, 10, 200):
        save_state(state(iteration), ORIGIN, tmp_path)
    assert [load_state(path, ORIGIN).iteration for path in saved_states(tmp_path)] == [10, 200]
    assert sorted(os.listdir(tmp_path)) == [path.name for path in saved_states(tmp_path)]


def test_a_failed_rename_leaves_the_earlier_states(tmp_path, monkeypatch):
    save_state(state(1), ORIGIN, tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=r"cannot write .*iteration-000000002\.pt: .*No space left"):
        save_state(state(2), ORIGIN, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["iteration-000000001.pt"]


def test_a_full_disk_leaves_the_earlier_states(tmp_path):
    save_state(state(1), ORIGIN, tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # writing beyond fails as it does on a full disk
    try:
        with pytest.raises(OSError, match=r"cannot write .*iteration-000000002\.pt"):
            save_state(state(2, size=1_000_000), ORIGIN, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["iteration-000000001.pt"]
    assert load_state(saved_states(tmp_path)[-1], ORIGIN).iteration == 1


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.95])
def test_a_truncated_state_is_named(tmp_path, kept):
    path = save_state(state(3, size=1000), ORIGIN, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(CheckpointError, match=r"iteration-000000003\.pt: not a readable training state.*delete it"):
        load_state(path, ORIGIN)


class Malicious:
    def __reduce__(self):
        return os.system, ("touch /tmp/ddp_repro_was_here",)


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_code_in_a_state_is_not_run(tmp_path, write, monkeypatch):
    ran = []
    monkeypatch.setattr(os, "system", ran.append)
    path = tmp_path / "iteration-000000003.pt"
    write({"model": Malicious()}, path)
    with pytest.raises(CheckpointError, match="not a readable training state"):
        load_state(path, ORIGIN)
    assert not ran


@pytest.mark.parametrize("content", [{}, [1, 2], {"iteration": 3}])
def test_another_kind_of_file_is_refused(tmp_path, content):
    path = tmp_path / "iteration-000000003.pt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="not a training state"):
        load_state(path, ORIGIN)


def test_another_recipe_is_refused_with_the_fields_that_differ(tmp_path):
    path = save_state(state(3), ORIGIN, tmp_path)
    other = with_recipe(train__learning_rate="2e-3", model__layers=2)
    expected = r"another recipe: model\.layers was 1, is 2; train\.learning_rate was 0\.001, is 0\.002"
    with pytest.raises(ConfigError, match=expected):
        load_state(path, other)


@pytest.mark.parametrize(
    "change",
    [{"train__workers": 3}, {"train__log_every": 1}, {"train__checkpoint_every": 1}, {"data__root": "elsewhere"},
     {"table": "ddp_table2"},
     {"evaluation__steps": "1,3"}],
)  # fmt: skip
def test_settings_that_do_not_change_the_weights_may_differ(tmp_path, change):
    path = save_state(state(3), ORIGIN, tmp_path)
    assert load_state(path, with_recipe(**change)).iteration == 3


def test_evaluation_settings_count_when_they_choose_the_best_weights(tmp_path):
    path = save_state(state(3), with_recipe(train__validate_every=5), tmp_path)
    with pytest.raises(ConfigError, match=r"evaluation\.steps"):
        load_state(path, with_recipe(train__validate_every=5, evaluation__steps="1,3"))


def test_a_setting_added_since_had_its_default(tmp_path):
    recipe = json.loads(ORIGIN["recipe"])
    del recipe["train"]["power"]
    path = save_state(state(3), {**ORIGIN, "recipe": json.dumps(recipe)}, tmp_path)
    assert load_state(path, ORIGIN).iteration == 3
    with pytest.raises(ConfigError, match=r"train\.power was 1\.0, is 2\.0"):
        load_state(path, with_recipe(train__power=2.0))


def test_other_images_are_refused(tmp_path):
    path = save_state(state(3), ORIGIN, tmp_path)
    with pytest.raises(ConfigError, match="trained on other images than images holds now"):
        load_state(path, {**ORIGIN, "data": "another fingerprint"})


def test_fast_paths_are_not_another_training(tmp_path):
    path = save_state(state(3), ORIGIN, tmp_path)
    switched = with_recipe(train__compile="default", train__gradient_checkpointing=True)
    assert load_state(path, switched).iteration == 3
    with pytest.raises(ConfigError, match="mixed_precision"):
        load_state(path, with_recipe(train__mixed_precision="bf16"))
