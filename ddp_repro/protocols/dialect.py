"""What is asked of a foreign checkpoint format; :mod:`ddp_repro.papers.ddp.released` is an example."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from torch import Tensor, nn


class Dialect(Protocol):
    """Names and layouts of somebody else's checkpoints.  A model lists those it understands as ``dialects``."""

    def is_official(self, keys: Iterable[str]) -> bool:
        """Return whether a checkpoint with these keys is of this dialect."""
        ...

    def translate(self, state_dict: Mapping[str, Tensor], model: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
        """Return the tensors under our names, and the keys that are rightly not loaded."""
        ...
