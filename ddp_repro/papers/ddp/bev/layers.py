"""The convolution that the BEV networks are made of."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def conv_norm_relu(inputs: int, outputs: int, kernel_size: int, stride: int = 1, eps: float = 1e-5) -> nn.Sequential:
    """Convolution without bias, BatchNorm, ReLU; the size is kept (or divided by the stride)."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(outputs, eps),
        nn.ReLU(inplace=True),
    )


def set_norm_momentum(part: nn.Module, momentum: float) -> None:
    """How fast the batch norms in ``part`` forget their running statistics."""
    for layer in part.modules():
        if isinstance(layer, _BatchNorm):
            layer.momentum = momentum
