"""Initial weights as the released code leaves them (found by inspecting its freshly built models)."""

from __future__ import annotations

from torch import nn

from ddp_repro.networks.attention.deformable import DeformableAttention
from ddp_repro.networks.decoder import MapDecoder
from ddp_repro.networks.neck import Neck


def initialize_neck(neck: Neck) -> None:
    """Pyramid convolutions: Xavier uniform; the merging one: Kaiming normal over fan-out."""
    for module in [*neck.lateral.modules(), *neck.smooth.modules()]:
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
    initialize_convolution(neck.merge.convolution)


def initialize_convolution(layer: nn.Conv2d | nn.Linear) -> None:
    """Kaiming normal over fan-out, bias zero."""
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def initialize_decoder(decoder: MapDecoder) -> None:
    """Xavier uniform for every matrix (classifier and time modulation too), then the attention's own start."""
    for parameter in decoder.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
    for module in decoder.modules():
        if isinstance(module, DeformableAttention):
            module.reset_parameters()
