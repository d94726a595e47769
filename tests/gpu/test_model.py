"""A whole model on a GPU: compiled, replayed as CUDA graphs, in half precision, with pinned copies."""

import copy
import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ddp_repro.evaluation import views
from ddp_repro.evaluation.evaluate import evaluate_model
from ddp_repro.evaluation.predict import predict
from ddp_repro.networks.acceleration import accelerate
from ddp_repro.networks.attention.deformable import attention_by
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.model import DDP
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import EvalConfig
from tests.evaluation.conftest import tiny_dataset, write_dataset
from tests.evaluation.conftest import tiny_model as scored_model
from tests.gpu.conftest import ON_GPU

pytestmark = pytest.mark.numerics

OTHER = {"cpu": "cpu", "cuda": "triton"}  # attention beside the reference
HALF = {"cpu": "bf16", "cuda": "fp16"}
slow_on_a_cpu = pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=ON_GPU)], indirect=True
)


def tiny_model(device: torch.device) -> DDP:
    torch.manual_seed(0)
    config = ModelConfig(
        backbone="test_resnet",
        channels=32,
        layers=2,
        heads=4,
        feedforward_channels=64,
        num_classes=5,
        drop_path_rate=0.0,
    )
    model = build_model(config).eval()
    for layer in model.decoder.layers:
        torch.nn.init.normal_(layer.attention.sampling_offsets.weight, std=0.05)
    return model.to(device)


@pytest.fixture
def model(device: torch.device) -> DDP:
    if device.type == "cuda":
        pytest.importorskip("triton", reason="Triton is not installed")
    return tiny_model(device)


@pytest.fixture
def compiler(device: torch.device, monkeypatch: pytest.MonkeyPatch):
    """A CPU traces graphs and runs them as they are; tests/models/test_acceleration.py has code generated, too."""
    torch._dynamo.reset()
    if device.type == "cpu":
        monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    yield
    torch._dynamo.reset()


def picture(seed: int, height: int = 64, width: int = 96) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def sampled(model: DDP, device: torch.device, seed: int) -> Tensor:
    images = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(seed)).to(device)
    noise = torch.randn(2, 32, 24, 32, generator=torch.Generator().manual_seed(seed)).to(device)
    with torch.no_grad():
        return model.sample(images, steps=3, noise=noise)


def gradients(model: DDP, device: torch.device) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    batch = {
        "image": torch.randn(2, 3, 64, 64, generator=generator).to(device),
        "label": torch.randint(0, 5, (2, 64, 64), generator=generator).to(device),
    }
    noise = torch.randn(2, 32, 16, 16, generator=generator).to(device)
    model.zero_grad()  # in evaluation mode: compiled code draws dropout otherwise
    model.training_loss(batch, torch.full((2,), 0.5, device=device), noise)["loss"].backward()
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


@slow_on_a_cpu
@pytest.mark.parametrize("other", [False, True], ids=["reference", "other attention"])
@pytest.mark.usefixtures("compiler")
def test_compiled_parts_compute_the_same(model: DDP, device: torch.device, other: bool) -> None:
    compiled = accelerate(copy.deepcopy(model), compile="default")
    with attention_by(OTHER[device.type] if other else "reference"):
        for seed in (0, 1):
            expected = sampled(model, device, seed)
            torch.testing.assert_close(sampled(compiled, device, seed), expected, rtol=1e-3, atol=1e-3)


@slow_on_a_cpu
@pytest.mark.usefixtures("compiler")
def test_compiled_training_has_the_same_gradients(model: DDP, device: torch.device) -> None:
    compiled = accelerate(copy.deepcopy(model), compile="default")
    expected = gradients(model, device)
    assert len(expected) > 20
    for found, exact in zip(gradients(compiled, device), expected, strict=True):
        torch.testing.assert_close(found, exact, rtol=1e-2, atol=1e-3 * exact.abs().max().item() + 1e-6)


@pytest.mark.usefixtures("compiler")
def test_cuda_graphs_compute_what_eager_execution_does(model: DDP, device: torch.device) -> None:
    if device.type == "cpu":
        with pytest.raises(ConfigError, match="CUDA"):
            accelerate(copy.deepcopy(model), compile="cuda_graphs")
        return
    graphed = accelerate(copy.deepcopy(model), compile="cuda_graphs")
    expected = [sampled(model, device, seed) for seed in range(4)]
    found = [sampled(graphed, device, seed) for seed in range(4)]  # recorded, then replayed: none may be overwritten
    for ours, exact in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-3, atol=1e-3)


def test_gradients_do_not_hang_on_the_attention(model: DDP, device: torch.device) -> None:
    with attention_by("reference"):
        expected = gradients(model, device)
    with attention_by(OTHER[device.type]):
        found = gradients(model, device)
    for ours, exact in zip(found, expected, strict=True):
        # As a whole: the gradient of a place jumps between pixels, so that rounding may move single values a lot.
        assert (ours - exact).norm() <= 0.02 * exact.norm() + 1e-6


def test_half_precision_gives_nearly_all_pixels_the_same_label(model: DDP, device: torch.device) -> None:
    expected = predict(model, picture(0))
    found = predict(model, picture(0), precision=HALF[device.type])
    assert (found.labels != expected.labels).mean() < 0.05
    assert np.isfinite(found.uncertainty).all() and (found.probabilities != expected.probabilities).any()


def test_an_overflow_is_noticed(model: DDP, device: torch.device) -> None:
    """In fp16 of numbers that float32 holds; a CPU, which has no fp16 here, overflows float32 itself."""
    precision, size = ("fp16", 1e6) if device.type == "cuda" else ("float32", 3e38)
    with torch.no_grad():
        first, *_, last = (part for part in model.decoder.layers[0].feedforward if hasattr(part, "weight"))
        first.weight.mul_(size)
        first.bias.fill_(size)
        last.weight.div_(1e6)
    if device.type == "cuda":
        assert np.isfinite(predict(model, picture(0)).probabilities).all()
    with pytest.raises(RuntimeError, match="not finite"):
        predict(model, picture(0), precision=precision)


def test_pinned_copies_give_the_same_scores(
    device: torch.device, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of several batches in a row, whose copies overlap with the work on those before."""
    torch.manual_seed(0)
    model, dataset = scored_model().to(device), tiny_dataset(write_dataset(tmp_path))
    settings = EvalConfig(steps=(1, 3), seeds=(0, 1), batch_size=2)

    def counts() -> np.ndarray:
        tallies = evaluate_model(model, dataset, settings, progress=False).tallies
        return np.array([tallies[key].counts.tolist() for key in sorted(tallies)])

    found, copies = counts(), []
    monkeypatch.setattr(views, "_moved", lambda batch, where: copies.append(1) or batch.to(where))
    expected = counts()
    assert len(copies) >= 3
    assert np.abs(found - expected).sum() <= 0.002 * expected.sum()  # atomic additions may round otherwise
