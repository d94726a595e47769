"""Parameters and MACs of a table's rows, counted live, and how they agree with what the paper prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from ddp_repro.settings.recipe import Recipe
from ddp_repro.workbook.tables.peer_costs import peer_count
from ddp_repro.workbook.tables.printed import PaperRow

NOT_COUNTED = "–"


@dataclass(frozen=True)
class Count:
    """What was counted of a row's model.

    Attributes:
        values: in millions or giga, by the printed column's key; "modules" for the other way of counting "flops".
        agreement: verdict on the printed FLOPs.
        remark: why a count is missing, or differs.
    """

    values: dict[str, float]
    agreement: str = NOT_COUNTED
    remark: str = ""


def count_peer(table: str, row: PaperRow) -> Count | None:
    """Count the model of a printed row that is another paper's; None if there is no such row."""
    from ddp_repro.costs.agreement import agree_macs
    from ddp_repro.costs.macs import Macs

    peer = peer_count(table, row.method, row.backbone)
    if peer is None:
        return None
    values = {} if peer.parameters is None else {"parameters": peer.parameters / 1e6}
    agreement = NOT_COUNTED
    if peer.macs:
        macs = Macs(**peer.macs)
        values |= {"flops": macs.total / 1e9, "modules": macs.modules / 1e9}
        agreement = agree_macs(cast(float, row.values["flops"]), macs)
    return Count(values, agreement, peer.remark)


def evaluation_size(settings: Recipe) -> tuple[int, int]:
    """(height, width) of the largest image that the evaluation's keep-ratio resize yields.

    Where pictures are not resized it is the training crop; that of data of a fixed size is its own.
    """
    data: Any = settings.data
    if not hasattr(data, "image_scale"):
        return data.image_size
    if data.image_scale is None:
        return data.crop_size
    long, short = data.image_scale
    return short, long
