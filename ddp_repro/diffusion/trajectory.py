"""What a sampling run goes through."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

from torch import Tensor

STEPWISE = frozenset({"decoded", "maps"})  # whose first axis is the step, not the image


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

    def part(self, index: int) -> Self:
        """Return the run of one image, as a batch of one."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(
            self,
            **{
                name: tensor.narrow(int(name in STEPWISE), index, 1)
                for name, tensor in tensors.items()
                if isinstance(tensor, Tensor) and tensor.numel()
            },
        )
