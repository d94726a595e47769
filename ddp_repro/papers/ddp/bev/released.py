"""The authors' BEV checkpoints: names and layouts, translated to ours.

Swin, map decoder and diffusion have the names of the segmentation checkpoints under other prefixes, and are left to
:mod:`ddp_repro.papers.ddp.released`; the rules here are for what only BEV has.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from ddp_repro.papers.ddp import released as official
from ddp_repro.papers.ddp.bev.settings import NUSCENES_CAMERA, NUSCENES_FUSION, BEVConfig
from ddp_repro.settings.errors import CheckpointError

_SHARED = {"encoders.camera.backbone.": "backbone.", "heads.map.": "decode_head."}
_SHARED_AS_IS = ("embedding_table.", "transform.conv.", "time_mlp.")
_TIME_LAYER = re.compile(r"heads\.map\.encoder\.layers\.\d+\.time_mlp\.")
_VIEW, _LIDAR = r"encoders\.camera\.vtransform\.", r"encoders\.lidar\.backbone\."
_CONSTANT = re.compile(_VIEW + r"(dx|bx|nx|frustum)$")
_FIRST_SPARSE = "encoders.lidar.backbone.conv_input.0.weight"

RULES: list[tuple[str, str]] = [
    (r"encoders\.camera\.neck\.lateral_convs\.(\d)\.conv\.", r"camera.neck.lateral.\1.0."),
    (r"encoders\.camera\.neck\.lateral_convs\.(\d)\.bn\.", r"camera.neck.lateral.\1.1."),
    (r"encoders\.camera\.neck\.fpn_convs\.(\d)\.conv\.", r"camera.neck.smooth.\1.0."),
    (r"encoders\.camera\.neck\.fpn_convs\.(\d)\.bn\.", r"camera.neck.smooth.\1.1."),
    (_VIEW + r"depthnet\.", r"camera.view_transform.depth_net."),
    (_VIEW + r"downsample\.", r"camera.view_transform.downsample."),
    # LiDAR; official stages are counted from 1, see _rename
    (_LIDAR + r"conv_input\.0\.", r"lidar.encoder.input.conv."),
    (_LIDAR + r"conv_input\.1\.", r"lidar.encoder.input.norm."),
    (_LIDAR + r"conv_out\.0\.", r"lidar.encoder.output.conv."),
    (_LIDAR + r"conv_out\.1\.", r"lidar.encoder.output.norm."),
    (r"fuser\.", r"fuser."),
    # BEV encoder: camera only
    (r"decoder\.backbone\.(\d)\.(\d)\.", r"bev_encoder.stages.\1.\2."),
    (r"decoder\.neck\.fuse\.", r"bev_encoder.merge."),
    (r"decoder\.neck\.upsample\.1\.", r"bev_encoder.upsampled.0."),
    (r"decoder\.neck\.upsample\.2\.", r"bev_encoder.upsampled.1."),
    # BEV encoder: fusion
    (r"decoder\.backbone\.blocks\.", r"bev_encoder.blocks."),
    (r"decoder\.neck\.deblocks\.", r"bev_encoder.upsamples."),
]
_COMPILED = [(re.compile(pattern), replacement) for pattern, replacement in RULES]
_SPARSE_STAGE = re.compile(_LIDAR + r"encoder_layers\.encoder_layer(\d)\.(\d)\.(.+)$")
_DOWNSAMPLE = {"0": "conv", "1": "norm"}


def is_official(keys: Iterable[str]) -> bool:
    """Whether the keys are those of the released BEV code."""
    return any(key.startswith(official.BEV_KEYS) for key in keys)


def config_of(keys: Iterable[str]) -> BEVConfig:
    """Return the published configuration that a checkpoint with these keys belongs to, with or without time layers."""
    keys = list(keys)
    published = NUSCENES_FUSION if any(key.startswith("encoders.lidar.") for key in keys) else NUSCENES_CAMERA
    return dataclasses.replace(published, time_conditioned=_has_time_layers(keys))


def translate(state_dict: Mapping[str, Tensor], model: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """Official tensors under our names and in our layouts.

    The model's decoder layers are given a time modulation, or lose it, as the checkpoint has one or not.  The constants
    of the view transform are compared with ours and not loaded; so is a time embedding that nothing reads.

    Returns:
        our tensors (a key without a counterpart keeps its own name, so that strict loading reports it), and the keys
        that are rightly not loaded.

    Raises:
        CheckpointError: the view transform was built for another geometry.
    """
    cast(Any, model).set_time_conditioned(_has_time_layers(state_dict))
    constants = [key for key in state_dict if _CONSTANT.match(key)]
    _check_constants({key: state_dict[key] for key in constants}, model)
    second_layout = _is_second_layout(state_dict)
    names, shared, own = {}, {}, {}
    for key, value in state_dict.items():
        if alias := _segmentation_name(key):
            names[alias], shared[alias] = key, value
        elif key not in constants:
            own[_rename(key) or key] = _first_layout(value) if second_layout and value.dim() == 5 else value
    translated, ignored = official.translate(shared, model)
    camera = {f"camera.{k}" if k.startswith("backbone.") else k: value for k, value in translated.items()}
    return camera | own, [names[key] for key in ignored] + constants


def _has_time_layers(keys: Iterable[str]) -> bool:
    return any(_TIME_LAYER.match(key) for key in keys)


def _segmentation_name(key: str) -> str | None:
    """Return the name that a tensor shared with the segmentation models has there."""
    if key.startswith(_SHARED_AS_IS):
        return key
    return next((new + key.removeprefix(old) for old, new in _SHARED.items() if key.startswith(old)), None)


def _rename(key: str) -> str | None:
    if match := _SPARSE_STAGE.match(key):
        stage, part, rest = int(match[1]) - 1, match[2], match[3]
        if part != "2":
            return f"lidar.encoder.stages.{stage}.{part}.{rest}"
        number, leaf = rest.split(".", 1)
        return f"lidar.encoder.downsamples.{stage}.{_DOWNSAMPLE[number]}.{leaf}"
    for pattern, replacement in _COMPILED:
        if pattern.match(key):
            return pattern.sub(replacement, key, count=1)
    return None


def _is_second_layout(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether sparse weights are stored as spconv 2.x does, (C_out, kx, ky, kz, C_in); 1.x as we do."""
    first = state_dict.get(_FIRST_SPARSE)
    return first is not None and first.dim() == 5 and tuple(first.shape[:3]) != (3, 3, 3)


def _first_layout(weight: Tensor) -> Tensor:
    return weight.permute(1, 2, 3, 4, 0)


def _check_constants(constants: Mapping[str, Tensor], model: Any) -> None:
    view = model.camera.view_transform
    cells = torch.tensor([view.size, view.size, 1])
    ours = {"dx": view.cell, "bx": view.first_centre, "nx": cells, "frustum": view.frustum}
    for key, theirs in constants.items():
        own = ours[key.rpartition(".")[2]]
        if theirs.is_meta or own.is_meta:
            matches = theirs.shape == own.shape
        else:
            matches = theirs.shape == own.shape and torch.allclose(theirs.double().cpu(), own.double().cpu(), atol=1e-3)
        if not matches:
            raise CheckpointError(
                f"{key} of the checkpoint differs from the model's: it was trained with another image size, depth "
                "range or grid. Build the model by the checkpoint's configuration"
            )
