"""Several training datasets as one: every micro-batch is of one of them, drawn at stated rates."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any


class MixedDataset:
    """Training datasets that may have shapes of their own.

    Attributes:
        parts: the datasets.
        rates: share of the micro-batches that each gives; their sum is 1.
        name, truth: of the parts.
    """

    def __init__(self, parts: Sequence[Any], rates: Sequence[float]) -> None:
        self.parts, self.rates = tuple(parts), tuple(rates)
        self.name, self.truth = " + ".join(part.name for part in parts), parts[0].truth

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @property
    def collate(self) -> Callable[[list[Any]], Any] | None:
        """Return what makes batches of samples where PyTorch's way does not; None: it does."""
        return getattr(self.parts[0], "collate", None)

    def fingerprint(self) -> str:
        """Return a hash of the parts' fingerprints and rates."""
        identity = [f"{rate!r} {part.fingerprint()}" for rate, part in zip(self.rates, self.parts, strict=True)]
        return hashlib.sha256("\n".join(identity).encode()).hexdigest()
