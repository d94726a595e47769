"""The convolution that the BEV networks are made of."""

from __future__ import annotations

from torch import nn


def conv_norm_relu(
    inputs: int, outputs: int, kernel_size: int, stride: int = 1, eps: float = 1e-5, momentum: float = 0.1
) -> nn.Sequential:
    """Convolution without bias, BatchNorm, ReLU; the size is kept (or divided by the stride)."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(outputs, eps, momentum),
        nn.ReLU(inplace=True),
    )
