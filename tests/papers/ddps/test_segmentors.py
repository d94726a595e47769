"""The frozen segmentors: sizes as printed, structure and numbers as in mmsegmentation, one interface."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from ddp_repro.papers.ddp.segmentation import SegmentationBaseline
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.papers.ddps.model import DDPS
from ddp_repro.papers.ddps.segmentors import BaselineSegmentor, Segmentor, TransformersSegmentor, build_segmentor
from ddp_repro.papers.ddps.settings import DDPSConfig
from ddp_repro.settings.errors import ConfigError

from . import golden, tiny

PRINTED = {
    "segformer_b0": (128, 15.07),
    "segformer_b2": (256, 65.57),
    "segformer_b5": (256, 122.82),
    "deeplabv3plus_r50": (128, 54.17),
    "deeplabv3plus_r101": (256, 104.27),
    "deeplabv3plus_mobilenet_v2": (128, 27.97),
}


@pytest.mark.parametrize("name", PRINTED)
def test_parameters_are_the_printed_ones(name: str) -> None:
    dim, printed = PRINTED[name]
    with torch.device("meta"):
        segmentor = build_segmentor(name, 150)
        prior = DDPS(DDPSConfig(segmentor=name, dim=dim, stage="single"), segmentor)
    assert round(prior.released_parameters() / 1e6, 2) == printed


def randomized(module: nn.Module) -> nn.Module:
    """Weights and statistics that let every layer matter."""
    torch.manual_seed(0)
    with torch.no_grad():
        for value in module.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) + 0.5 if value.dim() == 1 else torch.randn_like(value) * 0.05)
    return module.eval()


def mmseg_model(name: str) -> nn.Module:
    pytest.importorskip("mmseg")
    from ddp_repro.interop.mmseg_runtime import prepare

    prepare()
    from mmseg.registry import MODELS
    from mmseg.utils import register_all_modules

    register_all_modules(init_default_scope=True)
    norm, head = {"type": "BN"}, {"dropout_ratio": 0.1, "num_classes": 6, "align_corners": False}
    if name.startswith("segformer"):
        backbone = {
            "type": "MixVisionTransformer", "embed_dims": 32, "num_layers": [2, 2, 2, 2], "num_heads": [1, 2, 5, 8],
            "patch_sizes": [7, 3, 3, 3], "sr_ratios": [8, 4, 2, 1], "mlp_ratio": 4, "qkv_bias": True,
        }  # fmt: skip
        head |= {"type": "SegformerHead", "in_channels": [32, 64, 160, 256], "in_index": [0, 1, 2, 3], "channels": 256}
    else:
        head |= {
            "type": "DepthwiseSeparableASPPHead", "in_index": 3, "channels": 512, "dilations": (1, 12, 24, 36),
            "c1_channels": 48,
        }  # fmt: skip
        if name.endswith("r50"):
            backbone = {
                "type": "ResNetV1c", "depth": 50, "dilations": (1, 1, 2, 4), "strides": (1, 2, 1, 1),
                "contract_dilation": True, "norm_cfg": norm,
            }  # fmt: skip
            head |= {"in_channels": 2048, "c1_in_channels": 256}
        else:
            backbone = {
                "type": "MobileNetV2", "strides": (1, 2, 2, 1, 1, 1, 1), "dilations": (1, 1, 1, 2, 2, 4, 4),
                "out_indices": (1, 2, 4, 6), "norm_cfg": norm,
            }  # fmt: skip
            head |= {"in_channels": 320, "c1_in_channels": 24}
    return MODELS.build({"type": "EncoderDecoder", "backbone": backbone, "decode_head": head | {"norm_cfg": norm}})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["segformer_b0", "deeplabv3plus_r50", "deeplabv3plus_mobilenet_v2"])
def test_structure_and_numbers_are_mmsegmentations(name: str) -> None:
    theirs = randomized(mmseg_model(name))
    ours = build_segmentor(name, 6).eval()
    ours.load_state_dict(theirs.state_dict())  # strict: every name and shape
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs.encode_decode(images, [{"img_shape": (64, 96)}])
        feature = ours.feature(images)
        logits = nn.functional.interpolate(ours.classify(feature), (64, 96), mode="bilinear", align_corners=False)
    assert feature.shape == (1, ours.feature_channels, 16, 24)
    golden.assert_close(logits, expected, 1e-5 * float(expected.abs().max()) + 1e-5)


def project_baseline() -> Segmentor:
    torch.manual_seed(0)
    config = ModelConfig(backbone="efficientnet_lite0", num_classes=4, channels=32, layers=1, heads=4, diffusion=False)
    return BaselineSegmentor(SegmentationBaseline(dataclasses.replace(config, feedforward_channels=32)))


def transformers_segformer() -> Segmentor:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32], "decoder_hidden_size": 24}
    config = transformers.SegformerConfig(**sizes, num_attention_heads=[1, 2, 3, 4], num_labels=4)
    return TransformersSegmentor(transformers.SegformerForSemanticSegmentation(config))


@pytest.mark.parametrize("build", [project_baseline, transformers_segformer, tiny.TinySegmentor])
@pytest.mark.parametrize("size", [(32, 48), (45, 33)])
def test_one_interface(build: type, size: tuple[int, int]) -> None:
    segmentor = build()
    model = DDPS(dataclasses.replace(tiny.CONFIG, stage="multi"), segmentor).eval()
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    features = model.encode_image(images)
    rows, columns = -(-size[0] // 4), -(-size[1] // 4)
    assert features.shape == (2, segmentor.feature_channels, rows, columns) and not features.requires_grad
    assert model.base_prediction(features).shape == (2, 4, rows, columns)
    assert model.sample(features=features, steps=1).shape == (2, 5, rows, columns)
    golden.assert_close(features, torch.cat([model.encode_image(images[i : i + 1]) for i in range(2)]))


def direct_logits(segmentor: Segmentor, images: Tensor) -> Tensor:
    if isinstance(segmentor, BaselineSegmentor):
        return segmentor.model.sample(images)
    return segmentor.model(pixel_values=images).logits


@pytest.mark.parametrize("build", [project_baseline, transformers_segformer])
def test_feature_and_classifier_make_the_segmentors_own_prediction(build: type) -> None:
    segmentor = build().eval()
    images = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        golden.assert_close(segmentor(images), direct_logits(segmentor, images))


def test_a_segmentor_that_does_not_exist() -> None:
    with pytest.raises(ConfigError, match="segformer_b0, .*; got 'unet'"):
        build_segmentor("unet", 4)


def test_a_feature_of_another_stride_is_named() -> None:
    segmentor = tiny.TinySegmentor()
    segmentor.feature = lambda images: torch.zeros(1, 16, 4, 4)
    with pytest.raises(ValueError, match=r"gave \(1, 16, 4, 4\) for images of \(1, 3, 32, 32\); expected 16 channels"):
        DDPS(tiny.CONFIG, segmentor).encode_image(torch.zeros(1, 3, 32, 32))
