import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from papers.genpercept.conftest import CHANNELS, tiny_unet, tiny_vae
from safetensors.torch import load_file, save_file
from torch import Tensor

from ddp_repro.papers.genpercept.dpt_head import DPTHead
from ddp_repro.papers.genpercept.lora import add_lora, count_lora, merge_lora
from ddp_repro.papers.genpercept.model import GenPercept
from ddp_repro.papers.genpercept.settings import GenPerceptConfig
from ddp_repro.papers.genpercept.weights import loading
from ddp_repro.papers.genpercept.weights.hub_files import embed_prompt
from ddp_repro.settings.errors import ConfigError

Build = Callable[..., GenPercept]
TEXT = torch.ones(1, 2, 32)
HEADS = [
    {"decoder": "dpt", "task": "affine_depth", "space": "disparity", "loss": "image", "head_activation": "relu"},
    {"decoder": "upernet", "task": "segmentation", "loss": "cross_entropy", "num_classes": 5},
]


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """The layout of the authors' repositories, with tiny weights: one U-Net whole, one without its output layers."""
    torch.manual_seed(0)
    unet = tiny_unet()
    unet.save_pretrained(tmp_path / "unet_depth_v2")
    unet.save_pretrained(tmp_path / "unet_disparity_dpt_head_v2")
    weights = tmp_path / "unet_disparity_dpt_head_v2" / "diffusion_pytorch_model.safetensors"
    state = {name: value for name, value in load_file(weights).items() if not name.startswith(loading.OUTPUT_LAYERS)}
    save_file(state, weights, metadata={"format": "pt"})
    tiny_vae().save_pretrained(tmp_path / "vae")
    (tmp_path / "dpt_head_identity").mkdir()
    save_file(DPTHead(CHANNELS).state_dict(), tmp_path / "dpt_head_identity" / "model.safetensors")
    return tmp_path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base model's folder: U-Net, VAE, text encoder, tokenizer."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    tiny_unet().save_pretrained(tmp_path / "base" / "unet")
    tiny_vae().save_pretrained(tmp_path / "base" / "vae")
    config = transformers.CLIPTextConfig(
        vocab_size=5, hidden_size=32, intermediate_size=37, num_hidden_layers=1, num_attention_heads=4
    )
    transformers.CLIPTextModel(config).save_pretrained(tmp_path / "base" / "text_encoder")
    vocabulary = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "b</w>": 3, "a": 4}
    folder = tmp_path / "base" / "tokenizer"
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 77}))
    return tmp_path / "base"


def assert_same(model: GenPercept, other: GenPercept, images: Tensor) -> None:
    """Weights are the same bit for bit; predictions but for rounding, which may hang on where weights lie in memory."""
    ours, theirs = model.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())
    torch.testing.assert_close(model.predict(images), other.predict(images), rtol=0, atol=5e-4)


def test_released_depth(hub: Path, images: Tensor) -> None:
    model = loading.load_released("depth", source=hub, text_embedding=TEXT)
    assert model.config == GenPerceptConfig("affine_depth") and not model.training
    torch.manual_seed(0)
    expected = GenPercept(tiny_unet(), tiny_vae(), TEXT)
    expected.vae.load_state_dict(model.vae.state_dict())
    assert_same(model, expected, images)


def test_released_head_model_has_nothing_left_on_meta(hub: Path, images: Tensor) -> None:
    model = loading.load_released("disparity-dpt", source=hub, text_embedding=TEXT, dtype=torch.bfloat16)
    assert not [name for name, p in model.named_parameters() if p.is_meta or p.dtype != torch.bfloat16]
    assert model.predict(images).isfinite().all()


def test_a_head_models_unet_is_refused_where_no_head_reads_it(hub: Path) -> None:
    with pytest.raises(ConfigError, match="lacks 4 weights.*head model"):
        loading.load_unet(str(hub), "unet_disparity_dpt_head_v2")


def test_incomplete_files_are_refused(hub: Path) -> None:
    weights = hub / "vae" / "diffusion_pytorch_model.safetensors"
    state = load_file(weights)
    state.pop("decoder.conv_in.weight")
    save_file(state, weights, metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"lacks 1 weights.*decoder.conv_in.weight"):
        loading.load_released("depth", source=hub, text_embedding=TEXT)
    head = hub / "dpt_head_identity" / "model.safetensors"
    save_file({"strange": torch.zeros(1)}, head)
    tiny_vae().save_pretrained(hub / "vae")
    with pytest.raises(ConfigError, match="strange"):
        loading.load_released("disparity-dpt", source=hub, text_embedding=TEXT)


def test_every_released_task_is_named() -> None:
    tasks = {released.task for released in loading.RELEASED.values()}
    assert tasks == {"affine_depth", "normals", "dichotomous", "matting", "segmentation"}
    assert all(released.config.one_step for released in loading.RELEASED.values())
    with pytest.raises(ConfigError, match="no released model"):
        loading.load_released("pose")


@pytest.mark.parametrize("fields", [{}, {"task": "normals", "beta_start": 0.5, "steps": 3}, *HEADS])
def test_save_and_load(fields: dict, build: Build, images: Tensor, tmp_path: Path) -> None:
    model = build(**fields).eval()
    loading.save_pretrained(model, tmp_path)
    loaded = loading.load_pretrained(tmp_path)
    assert loaded.config == model.config
    assert_same(loaded, model, images)


def test_saved_parts_are_stock(build: Build, tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    loading.save_pretrained(build(), tmp_path)
    unet, info = diffusers.UNet2DConditionModel.from_pretrained(tmp_path, subfolder="unet", output_loading_info=True)
    assert not info["missing_keys"] and unet.config["in_channels"] == 4
    assert json.loads((tmp_path / "model_index.json").read_text())["_class_name"] == "GenPerceptPipeline"


def test_tiling_slicing_and_type(build: Build, images: Tensor, tmp_path: Path) -> None:
    loading.save_pretrained(build(), tmp_path)
    model = loading.load_pretrained(tmp_path, dtype=torch.bfloat16, tiling=True, slicing=True)
    assert model.vae.use_tiling and model.vae.use_slicing and model.dtype == torch.bfloat16
    assert model.predict(images).dtype == torch.float32


def test_lora_is_merged_before_it_is_saved(base: Path, images: Tensor, tmp_path: Path) -> None:
    model = loading.load_base(GenPerceptConfig(unet="lora", lora_rank=2), base, text_embedding=TEXT)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == count_lora(model.unet) > 0
    with pytest.raises(ConfigError, match="merge"):
        loading.save_pretrained(model, tmp_path / "saved")
    merge_lora(model.unet)
    loading.save_pretrained(model, tmp_path / "saved")
    loaded = loading.load_pretrained(tmp_path / "saved")
    torch.testing.assert_close(loaded.predict(images), model.predict(images), atol=1e-5, rtol=0)


def test_prompt_is_embedded_once_without_padding(base: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    empty = embed_prompt("", base, cache=cache, local_files_only=True)
    assert empty.shape == (1, 2, 32)
    assert embed_prompt("a b", base, cache=cache, local_files_only=True).shape == (1, 4, 32)
    shutil.rmtree(base)
    assert torch.equal(embed_prompt("", base, cache=cache, local_files_only=True), empty)
    with pytest.raises(ConfigError, match=r"prompt 'b'.*cannot be had"):
        embed_prompt("b", base, cache=cache, local_files_only=True)


def test_missing_files_say_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nobody/nothing/unet.*cannot be had \(no network was asked for\)"):
        loading.load_unet("nobody/nothing", "unet", local_files_only=True)
    with pytest.raises(ConfigError, match=r"nobody/nothing/genpercept.json cannot be had"):
        loading.load_pretrained("nobody/nothing", local_files_only=True)
    with pytest.raises(ConfigError, match=r"genpercept.json is missing"):
        loading.load_pretrained(tmp_path)


def test_widened_input_sees_the_same_twice(base: Path) -> None:
    unet = loading.load_unet(str(base), "unet")
    latent, text = torch.randn(1, 4, 4, 4), TEXT
    with torch.no_grad():
        before = unet(latent, 1, text).sample
        loading.widen_input(unet)
        torch.testing.assert_close(unet(torch.cat([latent, latent], 1), 1, text).sample, before, atol=1e-5, rtol=1e-5)
    assert unet.config["in_channels"] == 8
    with pytest.raises(ConfigError, match="4 channels"):
        loading.widen_input(unet)


def test_base_models_start_as_the_settings_ask(base: Path) -> None:
    pretrained = loading.load_base(GenPerceptConfig(), base, text_embedding=TEXT)
    scratch = loading.load_base(GenPerceptConfig(unet="scratch"), base, text_embedding=TEXT)
    weight = "mid_block.resnets.0.conv1.weight"
    assert torch.equal(
        pretrained.unet.state_dict()[weight], load_file(next((base / "unet").glob("*.safetensors")))[weight]
    )
    assert not torch.equal(scratch.unet.state_dict()[weight], pretrained.unet.state_dict()[weight])
    wide = GenPerceptConfig(noise="gaussian", input="concatenated")
    assert loading.load_base(wide, base, text_embedding=TEXT).unet.conv_in.in_channels == 8
    decoder = loading.load_base(GenPerceptConfig(loss="image", decoder_from_scratch=True), base, text_embedding=TEXT)
    for name in ("decoder.conv_in.weight", "encoder.conv_in.weight"):
        same = torch.equal(decoder.vae.state_dict()[name], pretrained.vae.state_dict()[name])
        assert same == name.startswith("encoder")


def test_lora_names_stay_out_of_a_stock_unet() -> None:
    unet = tiny_unet()
    add_lora(unet, 2)
    assert getattr(unet, "peft_config", None)
    merge_lora(unet)
    assert not getattr(unet, "peft_config", None)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    unet = tiny_unet()
    with torch.no_grad():
        unet.conv_in.bias[0] = torch.nan  # type: ignore[index, union-attr]
    unet.save_pretrained(tmp_path / "unet")
    with pytest.raises(ConfigError, match=r"1 tensors are not finite, such as conv_in.bias"):
        loading.load_unet(str(tmp_path), "unet")
