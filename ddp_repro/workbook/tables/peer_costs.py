"""Parameters and MACs of the peers' rows, measured once.

Counts depend on the packages alone, not on data, weights or machine.  Building eleven large models takes a minute, so
what was counted is kept in ``results/complexity/peers.json`` with the packages that it was counted with, and counted
again as soon as one of them, or the way of counting, is another.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ddp_repro.costs.macs import count_macs, count_parameters
from ddp_repro.costs.peers import Peer
from ddp_repro.store.atomic import write_atomically
from ddp_repro.store.paths import working_root
from ddp_repro.store.source import code_hash
from ddp_repro.store.work import Changed, LazyProbe, Work
from ddp_repro.workbook.runs.provenance import package_version

FILE = Path("results", "complexity", "peers.json")
PACKAGES = ("torch", "mmsegmentation", "mmengine", "mmcv-lite", "mmdet")


@dataclass(frozen=True)
class PeerCount:
    """What was counted of a peer; ``remark`` says how, or why there is nothing.

    Attributes:
        parameters: None if it cannot be built.
        macs: multiply-accumulates by kind, the fields of :class:`ddp_repro.papers.ddp.costs.complexity.Macs`; None if
            it
            cannot be run.
    """

    parameters: int | None
    macs: dict[str, int] | None
    remark: str


def peer_count(table: str, method: str, backbone: str | None) -> PeerCount | None:
    """Return the cost of a printed row, or None if it is not a peer's."""
    from ddp_repro.costs.peers import find_peer, measure_peer

    peer = find_peer(table, method, backbone)
    if peer is None:
        return None
    if peer.reason:  # it cannot be built, whatever is installed
        return PeerCount(None, None, peer.reason)
    key, path = f"{table}/{method}/{backbone}", working_root() / FILE
    stored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    before, now = stored.get(key, {}).get("work"), _work(peer)
    if before is None or isinstance(Work(**before).same(now), Changed):
        measured = measure_peer(peer)
        macs = dataclasses.asdict(measured.macs) if measured.macs else None
        work = dataclasses.asdict(now.done())
        stored[key] = {"work": work, "parameters": measured.parameters, "macs": macs, "remark": measured.remark}
        write_atomically(path, (json.dumps(dict(sorted(stored.items())), indent=1) + "\n").encode())
    return PeerCount(**{field.name: stored[key][field.name] for field in dataclasses.fields(PeerCount)})


def _work(peer: Peer) -> Work:
    """Return what a count depends on."""
    code = {"ddp_repro": code_hash(["ddp_repro.costs.peers"])}
    settings = json.loads(json.dumps(dataclasses.asdict(peer)))
    return Work(
        settings=settings, inputs=_versions(), code=code, probe=LazyProbe(["counts", code, _versions()], _probe)
    )


def _probe() -> dict[str, float | None]:
    """Return the parameters and MACs of a small network, by kind, as peers are counted."""
    with torch.device("meta"):
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, groups=1), nn.BatchNorm2d(8), nn.Flatten(2), nn.Linear(36, 16), nn.LayerNorm(16),
            nn.TransformerEncoderLayer(16, 2, 32, batch_first=True),
        ).eval()  # fmt: skip
        _, macs = count_macs(network, torch.empty(2, 3, 8, 8))
    counts = {kind: float(value) for kind, value in dataclasses.asdict(macs).items()}
    parameters = float(count_parameters(network))
    return {"parameters": parameters, **{f"MACs of {kind}": n for kind, n in counts.items()}}


def _versions() -> dict[str, str | None]:
    return {package: package_version(package) for package in PACKAGES}
