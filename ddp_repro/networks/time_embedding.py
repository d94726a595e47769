"""Time embedding: what tells the decoder how noisy its input map is."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class TimeEmbedding(nn.Module):
    """A number per image -> 4·D features, through learned frequencies and a two-layer perceptron.

    The number is the schedule's log-SNR (released segmentation code), not t as Algorithms 1 and 2 write.
    """

    FREQUENCIES = 8

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(self.FREQUENCIES))
        self.layers = nn.Sequential(
            nn.Linear(2 * self.FREQUENCIES + 1, 4 * channels), nn.GELU(), nn.Linear(4 * channels, 4 * channels)
        )

    def features(self, level: Tensor) -> Tensor:
        """(B,) -> (B, 17): the number itself, then the sines and cosines."""
        level = level[:, None]
        angles = level * self.frequencies * (2 * math.pi)
        return torch.cat([level, angles.sin(), angles.cos()], dim=-1)

    def forward(self, level: Tensor) -> Tensor:
        """(B,) -> (B, 4·D)"""
        return self.layers(self.features(level))
