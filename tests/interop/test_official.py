"""Official key sets (no weights needed: the models and the state dicts live on the meta device)."""

import dataclasses
import gzip
import json
from pathlib import Path

import pytest
import torch

from ddp_repro.interop.checkpoints import load_checkpoint, read_state_dict
from ddp_repro.interop.convert import convert
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings.errors import CheckpointError
from ddp_repro.settings.recipe import Recipe
from ddp_repro.workbook.catalogue import recipe

MANIFESTS = json.loads(
    gzip.decompress((Path(__file__).parents[1] / "golden/manifests/segmentation.json.gz").read_bytes())
)


def find_recipe(manifest):
    return recipe(manifest.replace("ade_", "ade20k_").replace("city_", "cityscapes_"), "paper")


def meta_model(config):
    with torch.device("meta"):
        return build_model(config)


def official_state_dict(manifest):
    return {k: torch.empty(shape, device="meta") for k, shape in MANIFESTS[manifest]["shapes"].items()}


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_every_released_key_set_loads(manifest):
    model = meta_model(find_recipe(manifest).model)
    report = load_checkpoint(model, official_state_dict(manifest))
    assert (report.missing, report.unexpected, report.origin) == ((), (), "official")
    assert len(report.used) + len(report.ignored) == len(MANIFESTS[manifest]["shapes"])
    assert all(key.endswith("relative_position_index") for key in report.ignored)
    assert sum(p.numel() for p in model.parameters()) == MANIFESTS[manifest]["parameters"]


def test_window_size_follows_the_weights():
    model = meta_model(dataclasses.replace(find_recipe("ade_swin_b").model, window_size=7))
    load_checkpoint(model, official_state_dict("ade_swin_b"))
    assert model.backbone.window_size == 12


def test_missing_official_tensor_is_named():
    state_dict = official_state_dict("city_convnext_t")
    del state_dict["decode_head.encoder.layers.3.attentions.0.value_proj.bias"]
    with pytest.raises(CheckpointError, match=r"1 tensor.s. missing: decoder\.layers\.3\.attention\.value_proj\.bias"):
        load_checkpoint(meta_model(find_recipe("city_convnext_t").model), state_dict)


def test_extra_official_tensor_is_named():
    state_dict = official_state_dict("city_convnext_t") | {"decode_head.surprise.weight": torch.empty(1, device="meta")}
    with pytest.raises(CheckpointError, match=r"unexpected: decode_head\.surprise\.weight"):
        load_checkpoint(meta_model(find_recipe("city_convnext_t").model), state_dict)


def test_official_checkpoint_of_another_dataset():
    with pytest.raises(CheckpointError, match="checkpoint has 19 classes, model 150"):
        load_checkpoint(meta_model(find_recipe("ade_swin_t").model), official_state_dict("city_swin_t"))


def test_official_checkpoint_of_another_backbone():
    with pytest.raises(CheckpointError, match=r"tensor.s. missing: .*\d+ more"):
        load_checkpoint(meta_model(find_recipe("city_swin_t").model), official_state_dict("city_convnext_t"))


def test_convert_writes_the_recipe_inside(tmp_path):
    small = ModelConfig(backbone="resnet10t", drop_path_rate=0.0, num_classes=5, channels=32, layers=1, heads=4,
                        feedforward_channels=32)  # fmt: skip
    model = build_model(small)
    torch.save({"state_dict": model.state_dict(), "meta": {"epoch": 1}}, tmp_path / "theirs.pth")
    report = convert(tmp_path / "theirs.pth", tmp_path / "ours.safetensors", Recipe(name="small", model=small))
    assert len(report.used) == len(model.state_dict())
    state_dict, metadata = read_state_dict(tmp_path / "ours.safetensors")
    assert json.loads(metadata["recipe"])["name"] == "small" and metadata["converted_from"] == "theirs.pth"
    assert torch.equal(state_dict["fusion.weight"], model.fusion.weight)


def test_refused_conversion_writes_nothing(tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    small = ModelConfig(backbone="resnet10t", drop_path_rate=0.0, channels=32, layers=1, heads=4)
    with pytest.raises(CheckpointError, match=r"other\.pth does not fit"):
        convert(tmp_path / "other.pth", tmp_path / "ours.safetensors", Recipe(name="small", model=small))
    assert not (tmp_path / "ours.safetensors").exists()
