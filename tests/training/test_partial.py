"""Checkpoints of the trained tensors alone: exact with their sources, refused by name without them."""

import shutil
import signal

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ddp_repro.interop.checkpoints import load_checkpoint, load_part
from ddp_repro.interop.partial import weights_sha256
from ddp_repro.networks.identity import weights_hash
from ddp_repro.settings.errors import CheckpointError, ConfigError
from ddp_repro.training import train
from ddp_repro.training.state import saved_states
from tests.training.processes import exit_codes, start
from tests.training.test_trainer import assert_equal_weights
from tests.training.tiny import tiny_recipe

pytestmark = pytest.mark.numerics


def changes(source, **more):
    return {"train__weights": f"backbone={source}", "train__frozen": "backbone", "train__save": "trainable", **more}


@pytest.fixture(scope="module")
def whole(uninterrupted, images, tmp_path_factory):
    recipe = tiny_recipe(images, **changes(uninterrupted.checkpoint, train__save="all"))
    return train(recipe, tmp_path_factory.mktemp("whole"), progress=False)


@pytest.fixture
def folder(uninterrupted, tmp_path):
    """A folder with the source, which may be spoiled."""
    (tmp_path / "base").mkdir()
    shutil.copy(uninterrupted.checkpoint, tmp_path / "base" / "base.safetensors")
    return tmp_path


@pytest.fixture
def partial(folder, images):
    recipe = tiny_recipe(images, **changes(folder / "base/base.safetensors", train__save="trainable"))
    return train(recipe, folder / "run", progress=False)


def loaded(path):
    model = tiny_recipe("images").model.build()
    load_checkpoint(model, path)
    return model.state_dict()


def test_it_holds_what_was_trained_and_reloads_exactly(partial, whole):
    stored, expected = load_file(partial.checkpoint), load_file(whole.checkpoint)
    assert stored.keys() == {name for name in expected if not name.startswith("backbone.")}
    weights = loaded(partial.checkpoint)
    assert all(torch.equal(weights[name], value) for name, value in expected.items())
    assert weights_sha256(partial.checkpoint) == weights_sha256(whole.checkpoint) == weights_hash(weights)


def test_moving_statistics_of_frozen_parts_are_kept(images, folder):
    recipe = tiny_recipe(
        images, **changes(folder / "base/base.safetensors", train__frozen_mode="training", train__iterations=2)
    )
    stored = load_file(train(recipe, folder / "run", progress=False).checkpoint)
    kept = {name.rpartition(".")[2] for name in stored if name.startswith("backbone.")}
    assert kept == {"running_mean", "running_var", "num_batches_tracked"}


def test_a_second_stage_starts_from_it(partial, images, folder):
    """And its own checkpoint names the first one's, which names the base."""
    recipe = tiny_recipe(
        images, train__initialize_from=str(partial.checkpoint), train__frozen="backbone", train__save="trainable",
        train__iterations=1, train__learning_rate=1e-9, train__weight_decay=0,
    )  # fmt: skip
    second = train(recipe, folder / "second", progress=False)
    assert not any(name.startswith("backbone.") for name in load_file(second.checkpoint))
    one, two = loaded(partial.checkpoint), loaded(second.checkpoint)
    torch.testing.assert_close(dict(two), dict(one), rtol=0.2, atol=0.2)
    assert all(torch.equal(two[name], one[name]) for name in one if name.startswith("backbone."))


def test_a_missing_source_is_named(partial, folder):
    (folder / "base/base.safetensors").rename(folder / "elsewhere.safetensors")
    with pytest.raises(CheckpointError, match=r"weights of its backbone are missing: .*base\.safetensors is not there"):
        loaded(partial.checkpoint)
    shutil.copy(folder / "elsewhere.safetensors", partial.checkpoint.with_name("base.safetensors"))
    loaded(partial.checkpoint)  # beside the checkpoint will do


def test_another_source_is_refused(partial, folder):
    path = folder / "base/base.safetensors"
    save_file({name: value + 1 for name, value in load_file(path).items()}, path)
    with pytest.raises(CheckpointError, match=r"other weights of its backbone than .*base\.safetensors holds"):
        loaded(partial.checkpoint)


@pytest.mark.parametrize("spoil", ["drop", "change"])
def test_a_spoiled_checkpoint_is_refused(partial, spoil):
    with safe_open(partial.checkpoint, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(partial.checkpoint)
    if spoil == "drop":
        del tensors["decoder.classifier.bias"]
    else:
        tensors["decoder.classifier.bias"] += 1
    save_file(tensors, partial.checkpoint, metadata)
    expected = "missing: decoder.classifier.bias" if spoil == "drop" else "does not give the weights that were saved"
    with pytest.raises(CheckpointError, match=expected):
        loaded(partial.checkpoint)
    save_file(tensors, partial.checkpoint, {**metadata, "sources": "[1]"})
    with pytest.raises(CheckpointError, match="its sources is damaged"):
        loaded(partial.checkpoint)


def test_a_part_cannot_be_taken_from_it(partial):
    with pytest.raises(CheckpointError, match=r"holds the trained tensors alone.*train\.save=all"):
        load_part(tiny_recipe("images").model.build(), "backbone", partial.checkpoint)


def test_killed_and_resumed_gives_the_same_weights(images, folder, whole):
    recipe = changes(folder / "base/base.safetensors")
    assert exit_codes(start(images, folder / "run", kill_at="iteration-000000009.pt", **recipe)) == [-signal.SIGKILL]
    state = torch.load(saved_states(folder / "run/state")[-1], weights_only=True)
    assert not any(name.startswith("backbone.") for name in state["model"])
    path, spare = folder / "base/base.safetensors", folder / "spare.safetensors"
    path.rename(spare)
    save_file({name: value + 1 for name, value in load_file(spare).items()}, path)
    with pytest.raises(CheckpointError, match="leaves out what came from other files; of backbone"):
        train(tiny_recipe(images, **recipe), folder / "run", progress=False)
    spare.replace(path)
    resumed = train(tiny_recipe(images, **recipe), folder / "run", progress=False)
    weights, expected = loaded(resumed.checkpoint), load_file(whole.checkpoint)
    assert all(torch.equal(weights[name], value) for name, value in expected.items())


def test_saving_all_or_part_is_the_same_training(images, partial, folder):
    recipe = tiny_recipe(images, **changes(folder / "base/base.safetensors", train__save="all"))
    assert_equal_weights(train(recipe, folder / "run", progress=False).checkpoint, partial.checkpoint)


def test_there_must_be_something_to_leave_out():
    with pytest.raises(ConfigError, match=r"train\.save=trainable needs train\.weights or train\.initialize_from"):
        tiny_recipe("images", train__save="trainable")
