import pytest
import torch
from papers.genpercept.conftest import tiny_unet

from ddp_repro.papers.genpercept.costs.counts import count, flops, parameters, sd21_unet
from ddp_repro.papers.genpercept.lora import add_lora, count_lora, merge_lora
from ddp_repro.papers.genpercept.settings import GenPerceptConfig
from ddp_repro.settings.errors import ConfigError

pytest.importorskip("diffusers")
STOCHASTIC = {"noise": "gaussian", "input": "concatenated", "steps": 10}


def test_parameters_of_full_size() -> None:
    counted = parameters()
    assert round(counted.unet / 1e6, 3) == 865.911
    assert round(counted.vae / 1e6, 3) == 83.654
    assert round(counted.dpt / 1e6, 3) == 18.475
    assert round(counted.decoder / 1e6, 2) == 49.49


def test_operations_at_768() -> None:
    one = flops(GenPerceptConfig())
    for value, expected in ((one.encode, 2.609), (one.unet, 2.137), (one.decode, 5.754), (one.total, 10.50)):
        assert value / 1e12 == pytest.approx(expected, rel=0.01)
    assert flops(GenPerceptConfig(steps=10)).total / one.total == pytest.approx(2.83, rel=0.01)
    with_ensemble = flops(GenPerceptConfig(**STOCHASTIC, ensemble=10)).total
    # Ten members one by one would encode the image ten times: 28.3 times the cost; it is encoded once here.
    assert (with_ensemble + 9 * one.encode) / one.total == pytest.approx(28.3, rel=0.01)


def test_operations_at_480x640() -> None:
    one = flops(GenPerceptConfig(), 480, 640)
    assert one.total / 1e12 == pytest.approx(5.231, rel=0.01)
    assert flops(GenPerceptConfig(steps=10), 480, 640).total / one.total == pytest.approx(2.65, rel=0.01)


def test_heads_replace_the_decoder() -> None:
    one = flops(GenPerceptConfig())
    dpt = flops(GenPerceptConfig("affine_depth", space="disparity", decoder="dpt", loss="image"))
    upernet = flops(GenPerceptConfig("segmentation", decoder="upernet", loss="cross_entropy"))
    assert dpt.encode == one.encode and 0 < one.unet - dpt.unet < 1e-3 * one.unet  # without its last convolution
    assert dpt.decode < one.decode and 0 < upernet.decode < one.decode


def test_sizes_must_be_multiples() -> None:
    with pytest.raises(ConfigError, match="multiples of 8"):
        flops(GenPerceptConfig(), 100, 64)
    with pytest.raises(ConfigError, match="multiples of 32"):
        flops(GenPerceptConfig("affine_depth", space="disparity", decoder="dpt", loss="image"), 64, 72)


@pytest.mark.parametrize(("rank", "millions"), [(4, 0.830), (16, 3.320), (64, 13.279), (256, 53.117), (1024, 212.468)])
def test_lora_parameters_of_full_size(rank: int, millions: float) -> None:
    with torch.device("meta"):
        unet = sd21_unet()
        before = count(unet)
        add_lora(unet, rank)
    assert round(count_lora(unet) / 1e6, 3) == millions
    assert count(unet) - count_lora(unet) == before
    assert sum(p.numel() for p in unet.parameters() if p.requires_grad) == count_lora(unet)


def test_lora_starts_as_the_unet_and_merges_into_it() -> None:
    torch.manual_seed(0)
    unet = tiny_unet()
    inputs = torch.randn(1, 4, 4, 4), 1, torch.randn(1, 2, 32)
    names = set(unet.state_dict())
    with torch.no_grad():
        before = unet(*inputs).sample
        add_lora(unet, 4)
        torch.testing.assert_close(unet(*inputs).sample, before)
        for name, parameter in unet.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
        changed = unet(*inputs).sample
        assert not torch.allclose(changed, before, atol=1e-3)
        merge_lora(unet)
        torch.testing.assert_close(unet(*inputs).sample, changed, atol=1e-4, rtol=1e-4)
    assert set(unet.state_dict()) == names


def test_bad_lora_is_refused() -> None:
    unet = tiny_unet()
    with pytest.raises(ConfigError, match="no LoRA"):
        merge_lora(unet)
    with pytest.raises(ConfigError, match="rank 0"):
        add_lora(unet, 0)
    add_lora(unet, 2)
    with pytest.raises(ConfigError, match="already"):
        add_lora(unet, 2)
