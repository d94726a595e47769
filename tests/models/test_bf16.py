"""Layers in bf16 on a CPU: the compiled code, the weights that are kept in it, and where it is not used."""

import gc
import warnings
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddp_repro.evaluation.views import inference_mode
from ddp_repro.networks.attention.backend import attention_by
from ddp_repro.networks.backbones import Backbone
from ddp_repro.networks.kernels import attention as native_attention
from ddp_repro.networks.kernels import bf16
from ddp_repro.networks.kernels import decoder as native_decoder
from ddp_repro.networks.kernels import layers as native_layers
from ddp_repro.networks.kernels import neck as native_neck
from ddp_repro.networks.kernels import swin as native_swin
from ddp_repro.networks.kernels.library import library
from ddp_repro.networks.neck import Neck
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.settings import ModelConfig
from tests.evaluation.conftest import tiny_model

HALF_A_DIGIT = 2.0**-8  # of bf16, relative: what rounding moves a number by is at most half of it

compiled = pytest.mark.skipif(library() is None, reason="no C++ compiler, or switched off")


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any processor computes in bf16, if slowly."""
    monkeypatch.setattr(bf16, "has_products", lambda: True)


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(native_layers, "BLOCK_TOKENS", 40)
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def rounded(*shape: int, scale: float = 1.0) -> Tensor:
    return (torch.randn(*shape) * scale).bfloat16()


def assert_rounded(found: Tensor, exact: Tensor, digits: float = 1.0) -> None:
    """Equal but for rounding to bf16, once or a few times."""
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), exact.double(), rtol=digits * HALF_A_DIGIT, atol=digits * 1e-3)


def error(found: list[Tensor], exact: list[Tensor]) -> float:
    difference = sum(float((f.float() - e).square().sum()) for f, e in zip(found, exact, strict=True))
    return (difference / sum(float(e.square().sum()) for e in exact)) ** 0.5


@compiled
@pytest.mark.numerics
def test_gelu_and_norm_round_once(threads) -> None:
    torch.manual_seed(0)
    hidden, bias = rounded(9, 48, scale=3), torch.randn(48)
    assert_rounded(native_layers.bias_gelu_(hidden.clone(), bias), F.gelu(hidden.double() + bias))
    product, residual, (gain, shift) = rounded(7, 96, scale=4), rounded(7, 96), torch.randn(2, 96)
    bias = torch.randn(96)
    total = product.double() + bias + residual.double()
    output = native_layers.add_norm(product, bias, residual, gain, shift, 1e-5, torch.empty_like(product))
    assert_rounded(product, total)
    assert_rounded(output, F.layer_norm(product.double(), (96,), gain.double(), shift.double(), 1e-5), digits=2)


@compiled
@pytest.mark.numerics
def test_what_is_no_number_stays_none() -> None:
    for bits in (0x7FC0, 0xFFC0, 0x7FFF, 0x7F81):  # quiet and signalling, of both signs
        hidden = torch.tensor([[bits - (1 << 16 if bits >> 15 else 0)]], dtype=torch.int16).view(torch.bfloat16)
        assert native_layers.bias_gelu_(hidden.repeat(1, 8), torch.zeros(8)).isnan().all()
    infinite = torch.full((1, 8), float("inf"), dtype=torch.bfloat16)
    assert native_layers.bias_gelu_(infinite, torch.zeros(8)).isinf().all()


@compiled
@pytest.mark.numerics
@pytest.mark.parametrize("channels", [32, 5, 64])
def test_attention_of_rows(threads, channels: int) -> None:
    torch.manual_seed(0)
    shape, heads, points = (5, 70), 3, 4
    value, query = rounded(350, heads, channels), rounded(3, heads, points, 140, scale=2)
    rows, columns = torch.randn(3, heads, points, 5) + 2, torch.randn(3, heads, points, 70) * 20
    part = slice(1, 3)
    ours = native_attention.attend_rows(value, query, rows, columns, part, shape)
    exact = native_attention.attend_rows(value.float(), query.float(), rows, columns, part, shape)
    assert_rounded(ours, exact)


@compiled
@pytest.mark.numerics
@pytest.mark.parametrize("time_conditioned", [True, False])
@torch.no_grad()
def test_decoder_rounds_no_more_than_autocast(everywhere, threads, time_conditioned: bool) -> None:
    torch.manual_seed(0)
    config = ModelConfig(
        backbone="resnet10t", drop_path_rate=0.0, channels=32, layers=3, heads=2, feedforward_channels=64,
        num_classes=5, time_conditioned=time_conditioned,
    )  # fmt: skip
    decoder = build_model(config).eval().decoder
    for layer in decoder.layers:
        nn.init.normal_(layer.attention.sampling_offsets.weight, std=0.1)
    tokens, time = torch.randn(2, 63, 32), torch.randn(2, 128) if time_conditioned else None
    exact = decoder(tokens, (7, 9), time)
    with torch.autocast("cpu", torch.bfloat16):
        assert native_decoder.can_run(decoder.layers, tokens)
        ours = decoder(tokens, (7, 9), time)
        narrow = decoder(tokens.bfloat16(), (7, 9), None if time is None else time.bfloat16())  # of a caller's layers
        with attention_by("reference"):
            usual = decoder(tokens, (7, 9), time)
    assert error([narrow], [exact]) < 0.05
    assert 0 < error([ours], [exact]) < 1.3 * error([usual], [exact]) < 0.05


@compiled
@pytest.mark.numerics
@pytest.mark.parametrize(("size", "window"), [((64, 96), 7), ((50, 130), 12)])
@torch.no_grad()
def test_swin_and_neck_round_no_more_than_autocast(everywhere, threads, size: tuple[int, int], window: int) -> None:
    torch.manual_seed(0)
    backbone = Backbone("swin_tiny_patch4_window7_224", window_size=window).eval()
    for name, parameter in backbone.named_parameters():
        if name.endswith(("bias", "bias_table")):  # so that padding and places count
            nn.init.normal_(parameter, std=0.2)
    neck, images = Neck(backbone.channels, 64).eval(), torch.randn(2, 3, *size)
    exact = backbone(images)
    with torch.autocast("cpu", torch.bfloat16):
        ours = backbone(images)
        with attention_by("reference"):
            usual = backbone(images)
        assert {maps.dtype for maps in ours} == {torch.bfloat16}
        assert native_neck.can_run(neck, ours)
        feature = neck(ours)
        with attention_by("reference"):
            usual_feature = neck(usual)
    assert 0 < error(ours, exact) < 1.3 * error(usual, exact) < 0.1
    assert feature.dtype == torch.bfloat16
    assert 0 < error([feature], [neck(exact)]) < 1.3 * error([usual_feature], [neck(exact)]) < 0.1


def test_kept_weights_follow_their_parameter() -> None:
    layer = nn.Linear(8, 8)
    first = bf16.weight_in(torch.bfloat16, layer.weight)
    assert bf16.weight_in(torch.bfloat16, layer.weight) is first and not first.requires_grad
    assert bf16.weight_in(torch.float32, layer.weight) is layer.weight
    layer.weight.grad = torch.ones(8, 8)
    for change in (
        lambda given: given.load_state_dict(nn.Linear(8, 8).state_dict()),
        lambda given: torch.optim.SGD([given.weight], 1.0).step(),
        lambda given: setattr(given.weight, "data", torch.randn(8, 8)),
    ):
        change(layer)
        torch.testing.assert_close(bf16.weight_in(torch.bfloat16, layer.weight), layer.weight.detach().bfloat16())
    kept = weakref.ref(bf16.weight_in(torch.bfloat16, layer.weight))
    del layer, first
    gc.collect()
    assert kept() is None  # a model that is gone takes them along


@torch.inference_mode()
def test_a_model_made_for_inference_alone_has_kept_weights() -> None:
    weight = nn.Linear(8, 8).weight
    assert bf16.weight_in(torch.bfloat16, weight) is bf16.weight_in(torch.bfloat16, weight)


@compiled
def test_gradients_hooks_and_other_processors_take_the_usual_path(everywhere, monkeypatch) -> None:
    block = next(m for m in Backbone("swin_tiny_patch4_window7_224").eval().modules() if hasattr(m, "mlp"))
    maps = torch.randn(1, 7, 7, 96)
    with torch.autocast("cpu", torch.bfloat16):
        assert not native_swin.can_run(block, maps)  # gradients are wanted
        with torch.no_grad():
            assert native_swin.can_run(block, maps) and native_swin.can_run(block, maps.bfloat16())
            hook = block.mlp.register_forward_hook(lambda *_: None)
            assert not native_swin.can_run(block, maps)
            hook.remove()
            monkeypatch.setattr(bf16, "has_products", lambda: False)
            assert not native_swin.can_run(block, maps)
    with torch.no_grad():
        assert not native_swin.can_run(block.bfloat16(), maps.bfloat16())  # biases in bf16, too


@compiled
@torch.no_grad()
def test_wide_heads_stay_in_float32(everywhere) -> None:
    config = ModelConfig(backbone="resnet10t", channels=160, layers=1, heads=2, feedforward_channels=32, num_classes=5)
    layers, tokens = build_model(config).eval().decoder.layers, torch.randn(1, 6, 160)
    assert native_decoder.can_run(layers, tokens)
    with torch.autocast("cpu", torch.bfloat16):
        assert not native_decoder.can_run(layers, tokens)


def test_training_under_autocast_is_as_before(everywhere) -> None:
    model = tiny_model()
    batch = {"image": torch.randn(2, 3, 32, 32), "label": torch.randint(0, 3, (2, 32, 32))}
    with torch.autocast("cpu", torch.bfloat16):
        model.training_loss(batch)["loss"].backward()
    missing = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert missing == []


def test_a_processor_without_products_says_so(monkeypatch) -> None:
    model = tiny_model()
    monkeypatch.setattr(bf16, "has_products", lambda: False)
    with pytest.warns(UserWarning, match="no bf16 products"), inference_mode(model, "bf16"):
        pass
    monkeypatch.setattr(bf16, "has_products", lambda: True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with inference_mode(model, "bf16"):
            pass


def test_instructions_that_are_hidden_are_not_counted_on(monkeypatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    answers = {}
    for name in ("AVX2", "avx512_core", "AVX512_CORE_BF16", "", "DEFAULT"):
        bf16.has_products.cache_clear()
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", name)
        answers[name] = bf16.has_products()
    bf16.has_products.cache_clear()
    assert answers == {"AVX2": False, "avx512_core": False, "AVX512_CORE_BF16": True, "": True, "DEFAULT": True}
