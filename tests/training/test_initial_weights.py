"""Parts of a model from several sources: strict, each by itself, and known by their tensors afterwards."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from ddp_repro.networks.identity import weights_hash
from ddp_repro.settings.errors import CheckpointError, ConfigError
from ddp_repro.settings.recipe import TrainConfig
from ddp_repro.settings.sources import WeightSource, weight_sources
from ddp_repro.training import initial_identities, load_initial_weights
from tests.training.tiny import tiny_recipe


@pytest.fixture
def model():
    torch.manual_seed(1)
    return tiny_recipe("images").model.build()


def tensors_of(model, part):
    return {name: value.clone() for name, value in model.state_dict().items() if name.startswith(f"{part}.")}


def config(*weights, **changes):
    return TrainConfig(backbone_weights=None, weights=weights, **changes)


def test_encoder_from_one_head_from_another_the_rest_from_scratch(model, uninterrupted, tmp_path):
    trained = load_file(uninterrupted.checkpoint)
    head = {f"decoder.{name}": torch.full_like(value, 0.25) for name, value in model.decoder.state_dict().items()}
    save_file(head, tmp_path / "head.safetensors")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sources = config(f"backbone={uninterrupted.checkpoint}", f"decoder={tmp_path / 'head.safetensors'}")
    load_initial_weights(model, sources)
    for name, value in model.state_dict().items():
        part = name.partition(".")[0]
        expected = {"backbone": trained, "decoder": head}.get(part, before)[name]
        assert torch.equal(value, expected), name


def test_a_file_may_hold_the_part_alone(model, uninterrupted, tmp_path):
    trained = load_file(uninterrupted.checkpoint)
    part = {name.removeprefix("backbone."): value for name, value in trained.items() if name.startswith("backbone.")}
    save_file(part, tmp_path / "encoder.safetensors")
    load_initial_weights(model, config(f"backbone={tmp_path / 'encoder.safetensors'}"))
    assert all(torch.equal(value, part[name]) for name, value in model.backbone.state_dict().items())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda part: part.pop("decoder.classifier.bias"), r"1 tensor\(s\) missing: classifier\.bias"),
        (lambda part: part.update({"decoder.more": torch.ones(1)}), r"1 tensor\(s\) unexpected: more"),
        (lambda part: part.update({"decoder.classifier.bias": torch.ones(7)}),
         r"of another shape: classifier\.bias \(checkpoint \(7,\), model \(3,\)\)"),
        (lambda part: part.update({"decoder.classifier.bias": torch.full((3,), torch.nan)}), "not finite"),
    ],
)  # fmt: skip
def test_a_source_that_does_not_fit_is_refused_and_nothing_changed(model, tmp_path, spoil, message):
    part = tensors_of(model, "decoder")
    spoil(part)
    save_file(part, tmp_path / "head.safetensors")
    before = tensors_of(model, "decoder")
    with pytest.raises(CheckpointError, match=message) as raised:
        load_initial_weights(model, config(f"decoder={tmp_path / 'head.safetensors'}"))
    assert "head.safetensors" in str(raised.value)
    assert all(torch.equal(value, before[name]) for name, value in tensors_of(model, "decoder").items())


def test_a_part_that_does_not_exist_is_named(model, uninterrupted):
    with pytest.raises(
        ConfigError, match=r"a SegmentationDDP has no module 'segmentor'; its parts are backbone, neck, decoder"
    ):
        load_initial_weights(model, config(f"segmentor={uninterrupted.checkpoint}"))


def test_a_missing_file_is_named(model):
    with pytest.raises(CheckpointError, match=r"nowhere\.safetensors: no such file"):
        load_initial_weights(model, config("decoder=nowhere.safetensors"))


def test_a_model_without_backbone_says_so():
    model = torch.nn.ModuleDict({"head": torch.nn.Linear(2, 2)})
    with pytest.raises(ConfigError, match=r"train\.backbone_weights=timm: a ModuleDict has no backbone"):
        load_initial_weights(model, TrainConfig())


@pytest.mark.parametrize("entry", ["decoder", "=path", "decoder=", "decoder=recipe:"])
def test_an_entry_of_another_form_is_refused(entry):
    with pytest.raises(ConfigError, match=r"train\.weights takes part=recipe:NAME or part=path"):
        config(entry)


@pytest.mark.parametrize("pair", [("decoder=a", "decoder=b"), ("decoder=a", "decoder.classifier=b"), ("a.b=x", "a=y")])
def test_two_sources_of_one_tensor_are_refused(pair):
    with pytest.raises(ConfigError, match="two sources"):
        config(*pair)


def test_similar_names_are_different_parts():
    assert len(weight_sources(("decode=a", "decoder=b"))) == 2


def test_whole_and_parts_exclude_each_other():
    with pytest.raises(ConfigError, match=r"train\.initialize_from fills the whole model"):
        config("decoder=a", initialize_from="b")


def test_a_source_says_which_recipe_it_is():
    assert WeightSource("segmentor", "recipe:base").recipe == "base"
    assert WeightSource("segmentor", "folder/base.safetensors").recipe is None


def test_identities_are_those_of_the_tensors(uninterrupted, tmp_path):
    trained = load_file(uninterrupted.checkpoint)
    save_file(trained, tmp_path / "copy.safetensors", metadata={"more": "words"})
    identities = initial_identities(config(f"backbone={tmp_path / 'copy.safetensors'}", "decoder=nowhere.safetensors"))
    assert identities == {"backbone": weights_hash(trained), "decoder": "missing"}
    assert initial_identities(TrainConfig(initialize_from=str(uninterrupted.checkpoint))) == {
        "model": weights_hash(trained)
    }
    assert initial_identities(TrainConfig()) == {}
