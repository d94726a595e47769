"""The peers of Tables 1, 2 and 5e, built from mmsegmentation's own configurations and counted like our models.

A row that cannot be built says why, in words for the table.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ddp_repro.costs.macs import Macs, count_macs, count_parameters
from ddp_repro.interop.mmseg_runtime import prepare

ADE20K, CITYSCAPES = (512, 512), (1024, 2048)


class PeerError(RuntimeError):
    """A peer that cannot be built here."""


@dataclass(frozen=True)
class Peer:
    """A row of another method.

    Attributes:
        table, method, backbone: as printed.
        config: file in mmsegmentation's ``configs`` folder; empty where there is none.
        changes: (dotted setting, value) pairs that the configuration gets for this row.
        image_size: (height, width) of the FLOPs column.
        note: what the reader of the number should know.
        reason: why there is no number; empty if there is one.
    """

    table: str
    method: str
    backbone: str
    config: str = ""
    changes: tuple[tuple[str, Any], ...] = ()
    image_size: tuple[int, int] = ADE20K
    note: str = ""
    reason: str = ""


@dataclass(frozen=True)
class PeerCost:
    """What was measured of a peer; ``remark`` says how, or why there is nothing (None)."""

    peer: Peer
    parameters: int | None = None
    macs: Macs | None = None
    remark: str = ""


_UPERNET = "swin/swin-{}_upernet_8xb2-160k_ade20k-512x512.py"
_NO_MODEL = "mmsegmentation has no such model"
_KNET = "knet/knet-s3_swin-t_upernet_8xb2-adamw-80k_ade20k-512x512.py"

PEERS = (
    Peer("ddp_table1", "UperNet", "Swin-T", _UPERNET.format("tiny-patch4-window7-in1k-pre")),
    Peer(
        "ddp_table1", "Region Rebalance", "Swin-T",
        reason=f"{_NO_MODEL}: UperNet's network with another training loss, whose cost is UperNet's",
    ),
    Peer("ddp_table1", "MaskFormer", "Swin-T", "maskformer/maskformer_swin-t_upernet_8xb2-160k_ade20k-512x512.py"),
    Peer("ddp_table1", "Mask2Former", "Swin-T", "mask2former/mask2former_swin-t_8xb2-160k_ade20k-512x512.py"),
    Peer("ddp_table1", "K-Net", "Swin-T", _KNET),
    Peer("ddp_table1", "SenFormer", "Swin-T", reason=_NO_MODEL),
    Peer("ddp_table1", "UperNet", "Swin-S", _UPERNET.format("small-patch4-window7-in1k-pre")),
    Peer("ddp_table1", "UperNet", "Swin-B", _UPERNET.format("base-patch4-window7-in1k-pre")),
    Peer("ddp_table1", "UperNet", "Swin-L", _UPERNET.format("large-patch4-window12-in22k-384x384-pre")),
    Peer(
        "ddp_table2", "Segmenter", "ViT-L", "segmenter/segmenter_vit-l_mask_8xb1-160k_ade20k-512x512.py",
        (("decode_head.num_classes", 19),), CITYSCAPES, "the ADE20K configuration with 19 classes, whole image",
    ),
    Peer(
        "ddp_table2", "SETR-PUP", "ViT-L", "setr/setr_vit-l_pup_8xb1-80k_cityscapes-768x768.py", (), CITYSCAPES,
        "whole image",
    ),
    Peer("ddp_table2", "StructToken", "ViT-L", reason=_NO_MODEL),
    Peer("ddp_table2", "OCRNet", "HRFormer-B", reason="mmsegmentation has OCRNet, but not the HRFormer backbone"),
    Peer(
        "ddp_table2", "SegFormer-B5", "MiT-B5", "segformer/segformer_mit-b5_8xb1-160k_cityscapes-1024x1024.py",
        (("decode_head.channels", 768),), CITYSCAPES, "decoder width 768 as in SegFormer's paper (mmsegmentation: 256)",
    ),
    Peer("ddp_table2", "DiversePatch", "Swin-L", reason=_NO_MODEL),
    Peer(
        "ddp_table2", "Mask2Former", "Swin-L",
        "mask2former/mask2former_swin-l-in22k-384x384-pre_8xb2-90k_cityscapes-512x1024.py", (), CITYSCAPES,
    ),
    Peer("ddp_table5e", "K-Net", "Swin-T", _KNET),
)  # fmt: skip

# Their pixel decoder computes indices from tensor values, which the meta device has not.  Run for real, the largest
# would take minutes and tens of gigabytes.
_NEEDS_VALUES = "mask2former/"
_LARGEST_REAL_RUN = 1024 * 512


def find_peer(table: str, method: str, backbone: str | None = None) -> Peer | None:
    """Return the peer of a printed row, or None if the row is not a peer's."""
    matches = [p for p in PEERS if (p.table, p.method) == (table, method) and backbone in (None, p.backbone)]
    return matches[0] if matches else None


@cache
def measure_peer(peer: Peer) -> PeerCost:
    """Parameters and MACs of a peer; what cannot be had is None, with the reason."""
    if peer.reason:
        return PeerCost(peer, remark=peer.reason)
    try:
        model = build_peer(peer, "meta")
    except PeerError as error:
        return PeerCost(peer, remark=str(error))
    parameters = count_parameters(model)
    if not peer.config.startswith(_NEEDS_VALUES):
        return PeerCost(peer, parameters, _count(model, peer.image_size), peer.note)
    height, width = peer.image_size
    if height * width > _LARGEST_REAL_RUN:
        return PeerCost(peer, parameters, None, "MACs: it cannot run on the meta device, and a real run is too large")
    return PeerCost(peer, parameters, _count(build_peer(peer, "cpu"), peer.image_size), peer.note)


def build_peer(peer: Peer, device: str) -> Any:
    """Return the mmsegmentation model of a peer with initial weights, in evaluation mode.

    Raises:
        PeerError: there is no such model, or mmsegmentation or mmdet is not installed.
    """
    if not peer.config:
        raise PeerError(peer.reason)
    try:
        prepare()
    except ModuleNotFoundError as error:
        raise PeerError(str(error)) from error
    if "mask" in peer.config.split("/")[0] and importlib.util.find_spec("mmdet") is None:
        raise PeerError("needs the package mmdet, which is not installed; run: uv pip install mmdet==3.3.0")
    settings = _settings(peer)
    from mmseg.registry import MODELS

    with warnings.catch_warnings(), _ParametersOn(torch.device(device)):
        warnings.simplefilter("ignore")
        return MODELS.build(settings).to(device).eval()


def segment(model: Any, images: Tensor) -> Tensor:
    """Logits (B, K, H, W) of an mmsegmentation model for normalised images (B, 3, H, W), whole image."""
    size = tuple(images.shape[-2:])
    shapes = {"img_shape": size, "ori_shape": size, "pad_shape": size, "batch_input_shape": size}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.encode_decode(images, [shapes] * len(images))


def _count(model: nn.Module, image_size: tuple[int, int]) -> Macs:
    device = next(model.parameters()).device
    return count_macs(segment, model, torch.zeros(1, 3, *image_size, device=device))[1]


def _settings(peer: Peer) -> Any:
    import mmseg.models
    from mmengine import Config
    from mmengine.registry import init_default_scope

    init_default_scope("mmseg")
    config = Config.fromfile(Path(mmseg.__file__).parent / ".mim" / "configs" / peer.config)
    config.merge_from_dict({f"model.{key}": value for key, value in peer.changes})
    for unneeded in ("pretrained", "data_preprocessor"):
        config.model.pop(unneeded, None)
    return config.model


class _ParametersOn(TorchFunctionMode):
    """Create what parameters are made from on a device.

    Not ``with torch.device("meta")``: these models read values of small tensors (drop-path rates) while they are built.
    """

    makers = frozenset({torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full})

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if function in self.makers and kwargs.get("device") is None:
            kwargs["device"] = self.device
        return function(*args, **kwargs)
