import json

import pytest
import torch
from torch import nn

from ddp_repro.interop.checkpoints import load_checkpoint, save_weights, window_size_of
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings.errors import CheckpointError
from ddp_repro.settings.overrides import to_dict
from ddp_repro.settings.recipe import Recipe


class Small(nn.Module):
    def __init__(self, classes=4, width=8, **config):
        super().__init__()
        self.config = ModelConfig(num_classes=classes, **config)
        self.decoder = nn.ModuleDict({"classifier": nn.Linear(width, classes)})
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(4))


def recipe_metadata(**config):
    return {"recipe": json.dumps(to_dict(Recipe(name="x", model=ModelConfig(**config))))}


def test_round_trip_reports_what_was_used(tmp_path):
    torch.manual_seed(1)
    source, target = Small(), Small()
    save_weights(source, tmp_path / "m.safetensors", recipe_metadata(num_classes=4))
    report = load_checkpoint(target, tmp_path / "m.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))
    assert str(report) == "ddp_repro checkpoint: used 10 tensors, ignored 0, missing 0, unexpected 0"
    assert (len(report.used), report.missing, report.unexpected, report.origin) == (10, (), (), "ddp_repro")


def test_state_dict_as_source():
    source, target = Small(), Small()
    load_checkpoint(target, source.state_dict())
    assert torch.equal(source.blocks[0].weight, target.blocks[0].weight)


def test_missing_and_unexpected_tensors_are_named_and_counted():
    model = Small()
    before = model.blocks[3].weight.clone()
    state_dict = Small().state_dict()
    kept = {key: value for key, value in state_dict.items() if not key.startswith(("blocks.0", "blocks.1", "blocks.2"))}
    kept["extra.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(model, kept)
    message = str(caught.value)
    assert "6 tensor(s) missing: blocks.0.weight, blocks.0.bias" in message and "(1 more)" in message
    assert "1 tensor(s) unexpected: extra.weight" in message
    assert torch.equal(model.blocks[3].weight, before), "a refused checkpoint must not touch the model"


def test_misshaped_tensor_names_both_shapes():
    state_dict = Small().state_dict() | {"blocks.2.bias": torch.zeros(9)}
    with pytest.raises(
        CheckpointError, match=r"1 tensor.s. of another shape: blocks\.2\.bias .checkpoint .9,., model .8,"
    ):
        load_checkpoint(Small(), state_dict)


def test_checkpoint_of_another_dataset_says_the_class_counts(tmp_path):
    save_weights(Small(classes=19), tmp_path / "city.safetensors")
    with pytest.raises(CheckpointError, match=r"city\.safetensors.*checkpoint has 19 classes, model 4"):
        load_checkpoint(Small(), tmp_path / "city.safetensors")


def test_checkpoint_of_another_model():
    with pytest.raises(CheckpointError, match=r"no tensor has a name of this model.*10 tensor.s. missing"):
        load_checkpoint(Small(), {"conv1.weight": torch.zeros(1)})


def test_settings_of_training_are_compared(tmp_path):
    save_weights(Small(), tmp_path / "m.safetensors", recipe_metadata(num_classes=4, schedule="linear", scale=0.1))
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(Small(), tmp_path / "m.safetensors")
    assert "model.schedule is 'linear' in the checkpoint, 'cosine' in the model" in str(caught.value)
    assert "model.scale is 0.1 in the checkpoint, 0.01 in the model" in str(caught.value)


def test_settings_of_sampling_may_differ(tmp_path):
    save_weights(
        Small(), tmp_path / "m.safetensors", recipe_metadata(num_classes=4, sampler="ddpm", drop_path_rate=0.0)
    )
    load_checkpoint(Small(average_steps=True), tmp_path / "m.safetensors")


def test_damaged_recipe_inside_a_checkpoint(tmp_path):
    save_weights(Small(), tmp_path / "m.safetensors", {"recipe": "{"})
    with pytest.raises(CheckpointError, match="recipe inside the checkpoint is damaged"):
        load_checkpoint(Small(), tmp_path / "m.safetensors")


@pytest.mark.parametrize("window", [7, 12])
def test_window_size_is_read_from_the_tables(window):
    table = torch.zeros((2 * window - 1) ** 2, 3)
    assert window_size_of({"backbone.stages.0.blocks.0.attn.w_msa.relative_position_bias_table": table}) == window
    assert window_size_of({"weight": table}) is None
