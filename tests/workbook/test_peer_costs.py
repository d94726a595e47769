import json

import pytest

from ddp_repro.costs import peers
from ddp_repro.costs.macs import Macs
from ddp_repro.workbook.tables import peer_costs
from ddp_repro.workbook.tables.peer_costs import peer_count


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """How often each peer is built, with a results folder of the test's own."""
    calls = []

    def measure(peer):
        calls.append(peer.method)
        return peers.PeerCost(peer, 10**6, Macs(convolution=10**9), "a remark")

    monkeypatch.setattr(peers, "measure_peer", measure)
    monkeypatch.setattr(peer_costs, "working_root", lambda: tmp_path)
    return calls


def test_a_peer_is_counted_once(measured, tmp_path):
    first, again = (peer_count("ddp_table1", "UperNet", "Swin-T") for _ in range(2))
    assert first == again and measured == ["UperNet"]
    assert first.parameters == 10**6 and Macs(**first.macs).total == 10**9
    stored = json.loads((tmp_path / peer_costs.FILE).read_text())
    assert stored["ddp_table1/UperNet/Swin-T"]["work"]["inputs"]["torch"]


def test_other_packages_count_again(measured, monkeypatch):
    peer_count("ddp_table1", "UperNet", "Swin-T")
    monkeypatch.setattr(peer_costs, "_versions", lambda: {"torch": "0"})
    peer_count("ddp_table1", "UperNet", "Swin-T")
    assert measured == ["UperNet", "UperNet"]


def test_rows_without_a_model_say_why(measured):
    assert "no such model" in peer_count("ddp_table1", "SenFormer", "Swin-T").remark
    assert peer_count("ddp_table1", "DDP (step 1)", "Swin-T") is None
    assert measured == []


def test_another_way_of_counting_counts_again(measured, monkeypatch):
    peer_count("ddp_table1", "UperNet", "Swin-T")
    monkeypatch.setattr(peer_costs, "code_hash", lambda modules: "edited")
    peer_count("ddp_table1", "UperNet", "Swin-T")
    assert measured == ["UperNet"]  # it counts the same
    monkeypatch.setattr(peer_costs, "code_hash", lambda modules: "edited again")
    monkeypatch.setattr(peer_costs, "_probe", lambda: {"parameters": 1.0})
    peer_count("ddp_table1", "UperNet", "Swin-T")
    assert measured == ["UperNet", "UperNet"]
