"""The fast path computes what is published: outputs and gradients of both are compared."""

import pytest
import torch
from torch import Tensor

from ddp_repro.networks.kernels import layers as native_layers
from ddp_repro.papers.ddp import as_published as bench_published
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.model import DDP
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings.overrides import override

pytestmark = pytest.mark.numerics

TINY = ModelConfig(
    backbone="resnet10t", drop_path_rate=0.0, channels=16, layers=2, heads=2, feedforward_channels=32, num_classes=5
)
DEPTH = {"task": "depth", "schedule": "gamma", "scale": 0.1}
CASES = {
    "embedding": {}, "onehot": {"encoding": "onehot"}, "bits": {"encoding": "analog_bits"},
    "linear": {"schedule": "linear"}, "ddpm": {"sampler": "ddpm"}, "td0": {"time_difference": 0}, "depth": DEPTH,
    "depth as released": DEPTH | {"time_conditioned": False},
}  # fmt: skip
# Both sum the same products in another order: relative to the largest score, as one near zero is a difference of large
# numbers.  The largest on the emulated processors was 3.2e-6; a term left out changes the first digits.
SCORES = 2e-5


def tiny(**changes: object) -> DDP:
    torch.manual_seed(0)
    model = build_model(override(TINY, {"scale": 1.0} | changes)).eval()
    for module in model.modules():  # fresh attention looks at whole pixels and ignores the query
        if hasattr(module, "sampling_offsets"):
            for layer in (module.sampling_offsets, module.attention_weights):
                torch.nn.init.normal_(layer.weight, std=0.3)
    return model


def noises(model: DDP, images: Tensor, count: int) -> list[Tensor]:
    shape = model.noise_shape(model.encode_image(images))
    return [torch.randn(len(images), *shape) for _ in range(count)]


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("case", CASES)
def test_sampling_equals_the_published_one(
    case: str, steps: int, average: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_layers, "BLOCK_TOKENS", 45)  # three rows of 14 tokens: the last block is shorter
    model, images = tiny(**CASES[case]), torch.randn(2, 3, 40, 56)
    start, *between = noises(model, images, 5)
    ours = model.sample(images, steps, noise=start, average_steps=average, step_noise=between)
    theirs = bench_published.sample(model, images, steps, start, average, between)
    assert (ours - theirs).abs().max() <= SCORES * theirs.abs().max()


@pytest.mark.parametrize("case", ["embedding", "depth"])
def test_training_equals_the_published_one(case: str) -> None:
    model, images = tiny(**CASES[case]), torch.randn(2, 3, 40, 56)
    label = torch.randint(0, 5, (2, 40, 56))
    batch = {"image": images, "label": label, "depth": label + 0.5}
    [noise], t, gradients = noises(model, images, 1), torch.tensor([0.3, 0.8]), []
    for loss in (model.training_loss(batch, t, noise), bench_published.training_loss(model, batch, t, noise)):
        model.zero_grad()
        loss["loss"].backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert any(g.abs().max() > 1e-4 for n, g in gradients[0].items() if "sampling_offsets" in n)
    for name, ours in gradients[0].items():
        torch.testing.assert_close(ours, gradients[1][name], atol=2e-5, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}")
    assert gradients[0].keys() == gradients[1].keys()
