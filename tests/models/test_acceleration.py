import copy
import sys
import types
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter

from ddp_repro.networks.acceleration import accelerate, compiled_parts
from ddp_repro.networks.attention.deformable import BACKENDS, attend_reference, attention_by
from ddp_repro.networks.kernels import library as native_library
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.model import DDP
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings.errors import ConfigError

pytestmark = pytest.mark.numerics

TINY = {"channels": 16, "layers": 1, "heads": 2, "feedforward_channels": 32, "num_classes": 3, "drop_path_rate": 0.0}
SINGLE = [(128, 128), (101, 131), (96, 112), (107, 117)]  # few are multiples of the stride; one is square
needs_native = pytest.mark.skipif(native_library.library() is None, reason="no C++ compiler")


def tiny_model(backbone: str = "test_resnet", **settings: object) -> DDP:
    torch.manual_seed(0)
    model = build_model(ModelConfig(backbone=backbone, **{**TINY, **settings})).eval()
    for layer in model.decoder.layers:
        torch.nn.init.normal_(layer.attention.sampling_offsets.weight, std=0.05)
    return model


def images(batch: int, size: tuple[int, int]) -> Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(size[0]))


def sampled(model: DDP, batch: Tensor, **options: object) -> Tensor:
    return model.sample(batch, steps=2, generator=torch.Generator().manual_seed(1), **options)


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Iterator[CompileCounter]:
    """Compilation without code generation: graphs are traced for all sizes as ever, then run as they are."""
    torch._dynamo.reset()
    counter, original = CompileCounter(), torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **options: original(function, backend=counter, **options))
    yield counter
    torch._dynamo.reset()


def test_one_compilation_serves_all_sizes(counter: CompileCounter) -> None:
    plain = tiny_model()
    model = accelerate(copy.deepcopy(plain), compile="default")
    counts = []
    for size in SINGLE:
        picture = images(1, size)
        torch.testing.assert_close(sampled(model, picture), sampled(plain, picture), rtol=1e-4, atol=1e-5)
        counts.append(counter.frame_count)
    assert counts == [2] * len(SINGLE)  # neck, decoder
    # copies and files know nothing of it; switched off and on again, the model is not compiled again
    assert list(model.state_dict()) == list(plain.state_dict())
    picture = images(1, SINGLE[0])
    with torch.compiler.set_stance("fail_on_recompile"):
        for each in (accelerate(model), accelerate(model, compile="default")):
            sampled(each, picture)
    assert all(part._compiled_call_impl is None for part in compiled_parts(copy.deepcopy(model)))
    assert counter.frame_count == 2


@needs_native
def test_graphs_on_a_cpu_contain_the_native_attention() -> None:
    layer, graphs = tiny_model().decoder.layers[0].attention, []

    def collect(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable:
        graphs.append(graph)
        return graph.forward

    lines = torch.zeros(5, 8), torch.zeros(4, 8)
    with torch.no_grad():
        torch.compile(layer, backend=collect)(torch.randn(1, 20, 16), lines, (5, 4))
    assert "ddp_repro.attend_native.default" in [str(node.target) for graph in graphs for node in graph.graph.nodes]


@needs_native
def test_the_native_operator_is_well_formed_and_differentiable() -> None:
    from ddp_repro.networks.kernels.operator import _attend

    generator = torch.Generator().manual_seed(0)
    value = torch.randn(2, 20, 2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    locations = (torch.rand(2, 2, 2, 3, 7, generator=generator, dtype=torch.float64) * 5).requires_grad_()
    weights = torch.rand(2, 2, 3, 7, generator=generator, dtype=torch.float64).requires_grad_()
    torch.library.opcheck(_attend, (value, locations, weights, 4, 5))
    assert torch.autograd.gradcheck(lambda *tensors: _attend(*tensors, 4, 5), (value, locations, weights))


def test_backbones_are_compiled_in_parts_of_simple_shapes() -> None:
    model = tiny_model("swin_tiny_patch4_window7_224")
    kinds = [type(part).__name__ for part in compiled_parts(model)]
    assert kinds == ["WindowAttention", "Mlp"] * 12 + ["Neck", "LabelDecoder"]
    kinds = [type(part).__name__ for part in compiled_parts(tiny_model("convnext_atto"))]
    assert set(kinds[:-2]) == {"ConvNeXtBlock"} and kinds[-2:] == ["Neck", "LabelDecoder"]


@pytest.mark.slow
def test_swin_is_compiled_once_for_sizes_that_windows_do_not_divide(counter: CompileCounter) -> None:
    plain = tiny_model("swin_tiny_patch4_window7_224")
    model = accelerate(copy.deepcopy(plain), compile="default")
    counts = []
    for size in [(256, 288), (275, 301), (333, 290), (301, 411)]:
        picture = images(1, size)
        with attention_by("reference"):  # otherwise a CPU's own compiled code comes first
            torch.testing.assert_close(sampled(model, picture), sampled(plain, picture), rtol=1e-4, atol=1e-5)
        counts.append(counter.frame_count)
    assert counts[0] == 4 * 2 + 4 + 2  # attention with and without a shift, perceptron; neck, decoder
    assert counts[1] <= counts[0] + 1 and counts[1:] == counts[1:2] * 3  # one may not hold for the second size yet


@pytest.mark.slow
def test_a_second_compilation_serves_all_batches(counter: CompileCounter) -> None:
    plain = tiny_model()
    model = accelerate(copy.deepcopy(plain), compile="default")
    for number, size in zip((2, 3, 2, 5), SINGLE, strict=True):
        batch = images(number, size)
        torch.testing.assert_close(sampled(model, batch), sampled(plain, batch), rtol=1e-4, atol=1e-5)
    assert counter.frame_count == 2
    sampled(model, images(1, SINGLE[0]))
    assert counter.frame_count == 4


@pytest.mark.slow
def test_generated_code_computes_the_same() -> None:
    plain = tiny_model()
    model = accelerate(copy.deepcopy(plain), compile="default")
    for size in SINGLE[:2]:
        picture = images(1, size)
        torch.testing.assert_close(sampled(model, picture), sampled(plain, picture), rtol=1e-4, atol=1e-5)


def test_cuda_graphs_need_cuda() -> None:
    with pytest.raises(ConfigError, match="CUDA"):
        accelerate(tiny_model(), compile="cuda_graphs")


def test_channels_last_computes_the_same() -> None:
    plain = tiny_model()
    model = accelerate(copy.deepcopy(plain), channels_last=True)
    assert model.neck.smooth[0][0].weight.is_contiguous(memory_format=torch.channels_last)
    batch = images(2, SINGLE[1])
    torch.testing.assert_close(sampled(model, batch), sampled(plain, batch), rtol=1e-4, atol=1e-4)
    assert all(weight.is_contiguous() for weight in accelerate(model).parameters())


@pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext", "test_efficientnet"])
@pytest.mark.parametrize("diffusion", [True, False])
def test_checkpointed_gradients_are_the_same(backbone: str, diffusion: bool) -> None:
    plain = tiny_model(backbone, diffusion=diffusion).train()
    model = accelerate(copy.deepcopy(plain), gradient_checkpointing=True)
    calls: list[int] = []
    model.decoder.layers[0].register_forward_pre_hook(lambda *_: calls.append(1))
    model.backbone.body.register_forward_pre_hook(lambda *_: calls.append(2))
    batch = {"image": images(2, (64, 64)), "label": torch.zeros(2, 64, 64, dtype=torch.long)}
    for each in (plain, model):
        torch.manual_seed(3)
        each.training_loss(batch)["loss"].backward()
    assert calls.count(1) == 2 and calls.count(2) == 1  # a layer is run again; the body as a whole is not
    for expected, found in zip(plain.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-5, atol=1e-7)


def test_checkpointing_keeps_less_for_the_backward_pass() -> None:
    kept = {}
    for enabled in (False, True):
        model = accelerate(tiny_model("test_convnext"), gradient_checkpointing=enabled).train()
        sizes: list[int] = []
        batch = {"image": images(1, (128, 128)), "label": torch.zeros(1, 128, 128, dtype=torch.long)}
        with torch.autograd.graph.saved_tensors_hooks(lambda t, sizes=sizes: sizes.append(t.numel()) or t, lambda t: t):
            model.training_loss(batch)
        kept[enabled] = sum(sizes)
    assert kept[True] < 0.75 * kept[False]


def fake_mmcv(value: Tensor, shapes: Tensor, starts: Tensor, places: Tensor, shares: Tensor, step: int) -> Tensor:
    """mmcv's operator by its documentation, on one level."""
    assert starts.tolist() == [0] and places.shape[3] == shares.shape[3] == 1 and len(value) % step == 0
    [(height, width)] = shapes.tolist()
    pixels = places[:, :, :, 0] * torch.tensor([width, height]) - 0.5
    locations, weights = pixels.permute(0, 4, 2, 3, 1), shares[:, :, :, 0].permute(0, 2, 3, 1)
    return attend_reference(value, locations, weights, (height, width))


def test_mmcv_is_given_its_own_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    function = types.SimpleNamespace(apply=fake_mmcv)
    operators = types.SimpleNamespace(MultiScaleDeformableAttnFunction=function)
    monkeypatch.setitem(sys.modules, "mmcv.ops", operators)
    monkeypatch.setitem(sys.modules, "mmcv", types.SimpleNamespace(ops=operators))
    value, locations = torch.randn(2, 20, 2, 3), torch.rand(2, 2, 2, 3, 7) * 5
    arguments = value, locations, torch.rand(2, 2, 3, 7).softmax(2), (4, 5)
    torch.testing.assert_close(BACKENDS["mmcv"](*arguments), attend_reference(*arguments))


def test_without_mmcv_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mmcv.ops", None)
    with pytest.raises(ConfigError, match="mmcv"):
        BACKENDS["mmcv"](torch.randn(1, 4, 1, 2), torch.rand(1, 2, 1, 1, 3), torch.ones(1, 1, 1, 3), (2, 2))
