"""Parameters and MACs of the peers' rows, measured once.

Counts depend on the packages alone, not on data, weights or machine.  Building eleven large models takes a minute, so
what was counted is kept in ``results/complexity/peers.json`` with the packages that it was counted with, and counted
again as soon as one of them, or the way of counting, is another.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from ddp_repro.store.paths import working_root
from ddp_repro.workbook.runs.records import write_atomically

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
    inputs = {"packages": _versions(), "peer": _hash(dataclasses.asdict(peer))}
    if stored.get(key, {}).get("inputs") != inputs:
        measured = measure_peer(peer)
        macs = dataclasses.asdict(measured.macs) if measured.macs else None
        stored[key] = {"inputs": inputs, "parameters": measured.parameters, "macs": macs, "remark": measured.remark}
        write_atomically(path, (json.dumps(dict(sorted(stored.items())), indent=1) + "\n").encode())
    return PeerCount(**{field.name: stored[key][field.name] for field in dataclasses.fields(PeerCount)})


def _versions() -> dict[str, str | None]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def _hash(values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
