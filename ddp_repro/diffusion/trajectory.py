"""What a sampling run goes through."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Trajectory:
    """Everything a sampling run went through, at the decoder's resolution.

    Attributes:
        output: what :meth:`DDP.sample` returns, (B, C, h, w).
        decoded: the decoder's output of every step, (S, B, C, h, w): class logits, or depth in metres.
        maps: the noisy map at the decoder's input before each step and after the last, (S + 1, B, D, h, w).
    """

    output: Tensor
    decoded: Tensor
    maps: Tensor

    @property
    def probabilities(self) -> Tensor:
        """Class probabilities of every step, (S, B, K, h, w)."""
        return self.decoded.softmax(2)

    @property
    def predictions(self) -> Tensor:
        """Most likely class of every step, (S, B, h, w)."""
        return self.decoded.argmax(2)
