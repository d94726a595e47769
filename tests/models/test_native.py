"""The compiled code computes what PyTorch's operations do."""

from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ddp_repro.networks.attention.backend import attention_by
from ddp_repro.networks.backbones import Backbone
from ddp_repro.networks.kernels import decoder as native_decoder
from ddp_repro.networks.kernels import layers as native_layers
from ddp_repro.networks.kernels import neck as native_neck
from ddp_repro.networks.kernels import resize as native_resize
from ddp_repro.networks.kernels import swin as native_swin
from ddp_repro.networks.kernels.library import available, library
from ddp_repro.networks.neck import Neck
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.tasks.segmentation.loss import segmentation_loss

pytestmark = [pytest.mark.numerics, pytest.mark.skipif(library() is None, reason="no C++ compiler, or switched off")]


@pytest.fixture(autouse=True, params=[1, 3])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(native_layers, "BLOCK_TOKENS", 40)
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@torch.no_grad()
def test_gelu_of_any_number() -> None:
    numbers = torch.cat([torch.linspace(-12, 12, 4001), torch.tensor([0.0, -1e30, 1e30, 1e-30])])
    bias = torch.tensor([0.0, 0.5, -2.0])
    hidden = numbers[:, None].repeat(1, 3)
    expected = F.gelu((hidden + bias).double())
    torch.testing.assert_close(native_layers.bias_gelu_(hidden, bias).double(), expected, atol=3e-6, rtol=3e-7)
    assert native_layers.bias_gelu_(torch.tensor([[float("nan")]]), torch.zeros(1)).isnan()


def test_memory_that_is_not_in_one_piece_is_refused() -> None:
    with pytest.raises(ValueError, match="contiguous"):
        native_layers.bias_gelu_(torch.zeros(4, 6).t(), torch.zeros(4))


@pytest.mark.parametrize("width", [3, 16, 96])
@torch.no_grad()
def test_add_norm(width: int) -> None:
    torch.manual_seed(0)
    product, residual = torch.randn(7, width) * 4 + 9, torch.randn(7, width)
    bias, gain, shift = torch.randn(3, width)
    total = product + bias + residual
    output = native_layers.add_norm(product, bias, residual, gain, shift, 1e-5, torch.empty_like(product))
    torch.testing.assert_close(output, F.layer_norm(total, (width,), gain, shift, 1e-5), atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(product, total)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_add_resized(dtype: torch.dtype, layout: torch.memory_format, mode: Literal["nearest", "bilinear"]) -> None:
    corners = {} if mode == "nearest" else {"align_corners": False}
    near = dict(atol=1e-5, rtol=1e-5) if dtype == torch.float32 else dict(atol=0.03, rtol=0.01)
    for batch, channels, size, other_size in (
        (1, 4, (8, 8), (4, 4)), (2, 3, (13, 17), (7, 9)), (1, 5, (11, 6), (3, 1)), (1, 2, (5, 7), (5, 7)),
        (1, 1, (4, 4), (9, 10)), (2, 40, (64, 96), (16, 12)), (1, 3, (1, 1), (2, 3)),
    ):  # fmt: skip
        result = torch.randn(batch, channels, *size).to(dtype).contiguous(memory_format=layout)
        other = torch.randn(batch, channels, *other_size).to(dtype)
        expected = result.float() + F.interpolate(other.float(), size=size, mode=mode, **corners)
        assert native_neck.can_add_resized(result, other)
        assert native_neck.add_resized(result, other, mode) is result
        torch.testing.assert_close(result.float(), expected, **near)


def test_maps_that_cannot_be_added() -> None:
    result, other = torch.zeros(1, 4, 6, 6), torch.zeros(1, 4, 3, 3)
    assert not native_neck.can_add_resized(result, other)  # gradients are recorded
    with torch.no_grad():
        assert not native_neck.can_add_resized(result, other.double())
        assert not native_neck.can_add_resized(result[..., ::2], other)
        with torch.autocast("cpu", torch.bfloat16):
            assert not native_neck.can_add_resized(result, other)
        for wrong in (torch.zeros(1, 3, 3, 3), torch.zeros(2, 4, 3, 3)):
            with pytest.raises(ValueError, match="can't be added"):
                native_neck.add_resized(result, wrong, "nearest")


@pytest.mark.parametrize("size", [(32, 48), (37, 51)])
def test_neck_with_and_without_gradients(size: tuple[int, int]) -> None:
    neck = Neck((8, 12, 16, 20), 16)
    for parameter in neck.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    maps = [torch.randn(2, c, -(-size[0] // 2**i), -(-size[1] // 2**i)) for i, c in enumerate((8, 12, 16, 20))]
    with_gradients = neck(maps)
    with torch.no_grad():
        torch.testing.assert_close(neck(maps), with_gradients.detach(), atol=3e-5, rtol=1e-5)
    with_gradients.square().mean().backward()
    with attention_by("reference"):
        gradients = torch.autograd.grad(neck(maps).square().mean(), list(neck.parameters()))
    for parameter, gradient in zip(neck.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("time_conditioned", [True, False])
@torch.no_grad()
def test_decoder_layers(time_conditioned: bool) -> None:
    torch.manual_seed(0)
    config = ModelConfig(
        backbone="resnet10t", drop_path_rate=0.0, channels=16, layers=3, heads=2, feedforward_channels=32,
        num_classes=5, time_conditioned=time_conditioned,
    )  # fmt: skip
    decoder = build_model(config).eval().decoder
    for layer in decoder.layers:
        torch.nn.init.normal_(layer.attention.sampling_offsets.weight, std=0.3)
        torch.nn.init.normal_(layer.attention.attention_weights.weight, std=0.3)
        for parameter in (*layer.norms.parameters(), *layer.attention.output_proj.parameters()):
            torch.nn.init.normal_(parameter)
    tokens = torch.randn(2, 16, 7 * 9).transpose(1, 2)  # as a map's are
    time = torch.randn(2, 64) if time_conditioned else None
    before = tokens.clone()
    assert native_decoder.can_run(decoder.layers, tokens)
    ours = decoder(tokens, (7, 9), time)
    assert torch.equal(tokens, before)
    with attention_by("reference"):
        torch.testing.assert_close(ours, decoder(tokens, (7, 9), time), atol=2e-5, rtol=1e-5)
    seen: list[Tensor] = []
    decoder.layers[1].norms[0].register_forward_hook(lambda *call: seen.append(call[2]))
    torch.testing.assert_close(ours, decoder(tokens, (7, 9), time), atol=2e-5, rtol=1e-5)
    assert len(seen) == 1


@pytest.mark.parametrize(("size", "window"), [((64, 96), 7), ((77, 101), 7), ((50, 130), 12)])
@torch.no_grad()
def test_swin_blocks(size: tuple[int, int], window: int) -> None:
    torch.manual_seed(0)
    backbone = Backbone("swin_tiny_patch4_window7_224", window_size=window).eval()
    for name, parameter in backbone.named_parameters():
        if name.endswith(("bias", "bias_table")):  # so that padding and places count
            torch.nn.init.normal_(parameter, std=0.5)
    images = torch.randn(2, 3, *size)
    ours = backbone(images)
    with attention_by("reference"):
        for mine, plain in zip(ours, backbone(images), strict=True):
            torch.testing.assert_close(mine, plain, atol=2e-5, rtol=1e-5)


def test_swin_blocks_that_train_are_plain() -> None:
    block = next(m for m in Backbone("swin_tiny_patch4_window7_224").modules() if hasattr(m, "mlp"))
    maps = torch.randn(1, 7, 7, 96)
    assert not native_swin.can_run(block.eval(), maps)
    with torch.no_grad():
        assert native_swin.can_run(block, maps) and not native_swin.can_run(block, maps.double())
        assert not native_swin.can_run(block.train(), maps)  # it drops paths
        with torch.autocast("cpu", torch.float16):
            assert not native_swin.can_run(block.eval(), maps)


@pytest.mark.parametrize("sizes", [((7, 9), (25, 33)), ((9, 5), (4, 2)), ((1, 1), (3, 3)), ((2, 8), (2, 8))])
def test_cross_entropy_and_its_gradient(sizes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    torch.manual_seed(0)
    label = torch.randint(0, 19, (2, *sizes[1]))
    label[torch.rand(label.shape) < 0.3] = 255
    scores = (torch.randn(2, 19, *sizes[0]) * 5).requires_grad_()
    assert native_resize.can_run(scores)

    def loss_and_gradient() -> tuple[Tensor, Tensor]:
        loss = segmentation_loss(scores, label)
        return loss.detach(), torch.autograd.grad(3 * loss, scores)[0]

    ours = loss_and_gradient()
    with attention_by("reference"):
        torch.testing.assert_close(ours, loss_and_gradient(), atol=1e-7, rtol=1e-5)


def test_labels_of_another_type_are_converted() -> None:
    torch.manual_seed(0)
    scores, label = torch.randn(1, 3, 4, 4), torch.randint(0, 3, (1, 8, 8))
    assert segmentation_loss(scores, label.int()) == segmentation_loss(scores, label)
    assert segmentation_loss(scores, label.transpose(1, 2)) == segmentation_loss(scores, label.mT.contiguous())


def test_cross_entropy_of_nothing_but_ignored_pixels_is_zero() -> None:
    scores = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = segmentation_loss(scores, torch.full((1, 8, 8), 255))
    assert loss == 0 and torch.autograd.grad(loss, scores)[0].abs().max() == 0


@pytest.mark.parametrize("wrong", [3, -1])
def test_a_label_beyond_the_classes_is_an_error(wrong: int) -> None:
    with pytest.raises(IndexError, match=r"of 3 classes"):
        segmentation_loss(torch.randn(1, 3, 2, 2), torch.full((1, 8, 8), wrong))


def test_the_compiler_takes_whether_there_is_compiled_code_as_a_constant() -> None:
    """Marked by hand, since PyTorch's decorator imports its compiler; it must stay what that decorator does."""

    def marked() -> None: ...

    torch.compiler.assume_constant_result(marked)
    assert vars(marked) == vars(available)
