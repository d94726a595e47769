"""A training with gradient checkpointing is the training without it, batch norm's running statistics included."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ddp_repro.training import train
from tests.training.tiny import tiny_recipe

pytestmark = pytest.mark.numerics


def test_checkpointed_training_leaves_the_same_weights_and_statistics(images: Path, tmp_path: Path) -> None:
    found = []
    for enabled in (False, True):
        recipe = tiny_recipe(
            images, train__iterations=4, train__gradient_checkpointing=enabled, train__validate_every=2,
            model__drop_path_rate=0.0,
        )  # fmt: skip
        train(recipe, tmp_path / str(enabled), progress=False)
        found.append(load_file(tmp_path / str(enabled) / "model.safetensors"))
    plain, checkpointed = found
    assert plain.keys() == checkpointed.keys() and any("running_var" in name for name in plain)
    for name, value in plain.items():
        torch.testing.assert_close(checkpointed[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_it_is_switched_on_during_training_and_again_after_validation(
    images: Path, tmp_path: Path, monkeypatch
) -> None:
    from ddp_repro.training import step

    states = []
    original = step.Step.__call__

    def observed(self: step.Step, *arguments: object) -> dict[str, float]:
        states.append(self.model.decoder.checkpointing)
        return original(self, *arguments)

    monkeypatch.setattr(step.Step, "__call__", observed)
    recipe = tiny_recipe(images, train__iterations=3, train__gradient_checkpointing=True, train__validate_every=1)
    train(recipe, tmp_path, progress=False)
    assert states == [True] * 3
