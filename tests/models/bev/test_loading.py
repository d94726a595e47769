"""The released BEV key sets (on the meta device: no weights needed), and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ddp_repro.interop import load_checkpoint
from ddp_repro.papers.ddp.bev import released as official_bev
from ddp_repro.papers.ddp.bev.model import BEVDDP
from ddp_repro.papers.ddp.bev.settings import NUSCENES_CAMERA, NUSCENES_FUSION, BEVConfig
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings.errors import CheckpointError
from tests.golden_recipe_bev import MANIFESTS

CONFIGS = {"camera": NUSCENES_CAMERA, "fusion": NUSCENES_FUSION}
UNREAD_TIME = 1068040  # the time embedding of a checkpoint whose layers ignore it


def meta_model(config: BEVConfig) -> BEVDDP:
    with torch.device("meta"):
        return build_model(config)


def official(manifest: str) -> dict[str, Tensor]:
    return {key: torch.empty(shape, device="meta") for key, shape in MANIFESTS[manifest]["shapes"].items()}


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_every_released_key_set_loads(manifest: str) -> None:
    sensors, variant = manifest.split("_")
    model = meta_model(CONFIGS[sensors])
    report = load_checkpoint(model, official(manifest))
    assert (report.missing, report.unexpected, report.origin) == ((), (), "official")
    assert len(report.used) + len(report.ignored) == len(MANIFESTS[manifest]["shapes"])
    unread = ("relative_position_index", ".dx", ".bx", ".nx", ".frustum")
    left = [key for key in report.ignored if not key.endswith(unread)]
    assert len(left) == (5 if variant == "aspublished" else 0) and all(key.startswith("time_mlp.") for key in left)
    parameters = sum(p.numel() for p in model.parameters()) + (UNREAD_TIME if left else 0)
    assert parameters == MANIFESTS[manifest]["parameters"]
    assert model.config == official_bev.config_of(official(manifest))
    assert model.config.time_conditioned == (variant == "timelayers")


def test_a_model_without_time_layers_is_given_them() -> None:
    model = meta_model(official_bev.config_of(official("camera_aspublished")))
    assert model.time_embedding is None
    assert not load_checkpoint(model, official("camera_timelayers")).missing
    assert model.time_embedding is not None and model.decoder.layers[4].modulation is not None


def test_every_tensor_reaches_its_place() -> None:
    """Equal values for equal shapes would hide a swap: every tensor is filled with a number of its own."""
    model, state = meta_model(NUSCENES_FUSION).to_empty(device="cpu"), {}
    for number, (key, shape) in enumerate(MANIFESTS["fusion_timelayers"]["shapes"].items()):
        if not key.endswith((".dx", ".bx", ".nx", ".frustum")):
            state[key] = torch.full(shape, float(number))
    load_checkpoint(model, state)
    own = model.state_dict()
    for ours, theirs in PLACES.items():
        assert own[ours].flatten()[0] == float(list(MANIFESTS["fusion_timelayers"]["shapes"]).index(theirs)), ours


PLACES = {
    "camera.backbone.body.layers_1.downsample.norm.weight": "encoders.camera.backbone.stages.0.downsample.norm.weight",
    "camera.backbone.norms.2.bias": "encoders.camera.backbone.norm2.bias",
    "camera.neck.smooth.1.1.running_var": "encoders.camera.neck.fpn_convs.1.bn.running_var",
    "camera.view_transform.downsample.7.weight": "encoders.camera.vtransform.downsample.7.weight",
    "lidar.encoder.stages.2.1.bn2.bias": "encoders.lidar.backbone.encoder_layers.encoder_layer3.1.bn2.bias",
    "lidar.encoder.downsamples.0.norm.weight": "encoders.lidar.backbone.encoder_layers.encoder_layer1.2.1.weight",
    "lidar.encoder.output.conv.weight": "encoders.lidar.backbone.conv_out.0.weight",
    "fuser.1.bias": "fuser.1.bias",
    "bev_encoder.blocks.1.15.weight": "decoder.backbone.blocks.1.15.weight",
    "bev_encoder.upsamples.1.0.weight": "decoder.neck.deblocks.1.0.weight",
    "decoder.layers.3.feedforward.2.bias": "heads.map.encoder.layers.3.ffns.0.layers.1.bias",
    "decoder.layers.4.modulation.1.weight": "heads.map.encoder.layers.4.time_mlp.1.weight",
    "decoder.classifier.weight": "heads.map.conv_seg.weight",
    "fusion.weight": "transform.conv.weight",
    "encoding.embedding_table.weight": "embedding_table.weight",
    "time_embedding.frequencies": "time_mlp.0.weights",
}


def test_second_spconv_layout_is_recognised() -> None:
    first = official("fusion_timelayers")
    second = {k: v.permute(4, 0, 1, 2, 3) if v.dim() == 5 else v for k, v in first.items()}
    key = "encoders.lidar.backbone.conv_input.0.weight"
    assert second[key].shape == (16, 3, 3, 3, 5)
    model = meta_model(NUSCENES_FUSION)
    assert not load_checkpoint(model, second).missing
    value = torch.randn(16, 3, 3, 3, 5)
    translated, _ = official_bev.translate(second | {key: value}, model)
    assert torch.equal(translated["lidar.encoder.input.conv.weight"][0, 1, 2, 3, 4], value[4, 0, 1, 2, 3])


def test_another_geometry_is_refused() -> None:
    state = official("camera_aspublished")
    with pytest.raises(CheckpointError, match=r"vtransform\.frustum of the checkpoint differs from the model's"):
        load_checkpoint(meta_model(BEVConfig(image_size=(320, 704))), state)
    model = build_model(BEVConfig(layers=1))
    with pytest.raises(CheckpointError, match=r"vtransform\.dx of the checkpoint differs"):
        load_checkpoint(model, state | {"encoders.camera.vtransform.dx": torch.tensor([0.8, 0.8, 20.0])})


def test_misfits_are_named() -> None:
    with pytest.raises(CheckpointError, match=r"tensor\(s\) missing: lidar\.encoder\.input\.conv\.weight"):
        load_checkpoint(meta_model(NUSCENES_FUSION), official("camera_timelayers"))
    state = official("camera_timelayers")
    with pytest.raises(CheckpointError, match=r"1 tensor\(s\) unexpected: decoder\.surprise"):
        load_checkpoint(meta_model(NUSCENES_CAMERA), state | {"decoder.surprise": torch.empty(1, device="meta")})
    segmentation = build_model(ModelConfig(backbone="resnet10t", drop_path_rate=0.0, channels=32, layers=1))
    with pytest.raises(CheckpointError, match="this is a BEV checkpoint; the model is a SegmentationDDP"):
        load_checkpoint(segmentation, state)
