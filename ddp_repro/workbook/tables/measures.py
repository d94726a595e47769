"""How each measure of a record is headed and printed."""

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


MEASURES: dict[str, Measure] = {
    "miou": Measure("mIoU", "higher", 2, "%"),
    "macc": Measure("mAcc", "higher", 2, "%"),
    "aacc": Measure("aAcc", "higher", 2, "%"),
    "drivable": Measure("drivable", "higher", 1, "%"),
    "ped_crossing": Measure("crossing", "higher", 1, "%"),
    "walkway": Measure("walkway", "higher", 1, "%"),
    "stop_line": Measure("stop line", "higher", 1, "%"),
    "carpark": Measure("carpark", "higher", 1, "%"),
    "divider": Measure("divider", "higher", 1, "%"),
    "miou_at_half": Measure("mIoU at 0.5", "higher", 1, "%"),
    "rel": Measure("REL", "lower", 3),
    "sq_rel": Measure("SqRel", "lower", 3, "m"),
    "rmse": Measure("RMSE", "lower", 3, "m"),
    "rmse_log": Measure("RMSE log", "lower", 3),
    "log10": Measure("log10", "lower", 3),
    "silog": Measure("SILog", "lower", 2),
    "delta1": Measure("δ1", "higher", 3),
    "delta2": Measure("δ2", "higher", 3),
    "delta3": Measure("δ3", "higher", 3),
}
"""By the name that :class:`~ddp_repro.workbook.runs.records.Score`, ``DepthScore`` or ``BEVScore`` give it."""
