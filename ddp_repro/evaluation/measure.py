"""How a measure is headed and printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """``direction``: whether higher or lower is better."""

    label: str
    direction: Literal["higher", "lower"]
    decimals: int
    unit: str | None = None

    @property
    def heading(self) -> str:
        """Such as ``RMSE (m) ↓``."""
        unit = f" ({self.unit})" if self.unit else ""
        return f"{self.label}{unit} {'↑' if self.direction == 'higher' else '↓'}"
