"""Peers through mmsegmentation with mmcv-lite."""

import importlib.util

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("mmengine", reason="the extra mmseg is not installed")

from ddp_repro.costs import peers
from ddp_repro.costs.agreement import agree_macs, agree_parameters
from ddp_repro.interop import mmseg_runtime
from ddp_repro.workbook.tables.printed import load_table

MMDET = importlib.util.find_spec("mmdet") is not None
PEER_ROWS = {"ddp_table1": 9, "ddp_table2": 7, "ddp_table5e": 1}


def test_every_peer_row_of_the_paper_has_an_entry():
    for table, count in PEER_ROWS.items():
        rows = [row for row in load_table(table).rows if row.recipe is None]
        assert len(rows) == count
        assert all(peers.find_peer(table, row.method, row.backbone) for row in rows)
    assert peers.find_peer("ddp_table1", "DDP (step 1)", "Swin-T") is None
    assert all(bool(peer.config) != bool(peer.reason) for peer in peers.PEERS)


def test_upernet_swin_t_in_numbers():
    cost = peers.measure_peer(peers.find_peer("ddp_table1", "UperNet", "Swin-T"))
    assert cost.parameters / 1e6 == pytest.approx(59.94, abs=0.01)
    assert cost.macs.total / 1e9 == pytest.approx(236.9, abs=0.05)


@pytest.mark.parametrize(
    ("table", "method", "backbone"),
    [
        ("ddp_table1", "UperNet", "Swin-S"),
        ("ddp_table1", "UperNet", "Swin-B"),
        ("ddp_table1", "UperNet", "Swin-L"),
        ("ddp_table1", "K-Net", "Swin-T"),
        ("ddp_table2", "Segmenter", "ViT-L"),
        ("ddp_table2", "SegFormer-B5", "MiT-B5"),
    ],
)
def test_peers_agree_with_the_paper(table, method, backbone):
    cost = peers.measure_peer(peers.find_peer(table, method, backbone))
    [printed] = [r.values for r in load_table(table).rows if (r.method, r.backbone) == (method, backbone)]
    assert agree_parameters(printed["parameters"], cost.parameters).startswith("equal")
    assert agree_macs(printed["flops"], cost.macs).startswith(("equal", "within 1 %"))


def test_setr_is_counted():
    cost = peers.measure_peer(peers.find_peer("ddp_table2", "SETR-PUP"))
    assert agree_parameters(318, cost.parameters) == "equal"
    assert cost.macs.modules / 1e9 == pytest.approx(2917, abs=1)  # printed: 2955, 1.3 % more; the reason is not known


def test_row_without_a_model_says_why():
    cost = peers.measure_peer(peers.find_peer("ddp_table2", "OCRNet"))
    assert (cost.parameters, cost.macs) == (None, None)
    assert "not the HRFormer backbone" in cost.remark
    with pytest.raises(peers.PeerError, match="HRFormer"):
        peers.build_peer(cost.peer, "meta")


@pytest.mark.skipif(MMDET, reason="mmdet is installed")
def test_row_that_needs_mmdet_says_so():
    cost = peers.measure_peer(peers.find_peer("ddp_table1", "Mask2Former"))
    assert cost.parameters is None and "mmdet" in cost.remark


@pytest.mark.skipif(not MMDET, reason="mmdet is not installed")
@pytest.mark.parametrize(("method", "parameters"), [("MaskFormer", 42), ("Mask2Former", 47)])
def test_peers_through_mmdet(method, parameters):
    cost = peers.measure_peer(peers.find_peer("ddp_table1", method))
    assert agree_parameters(parameters, cost.parameters) == "equal"
    assert cost.macs.total > 50e9


def test_without_mmsegmentation_the_reason_is_the_remedy(monkeypatch):
    def absent(name):
        return None if name == "mmseg" else object()

    monkeypatch.setattr(importlib.util, "find_spec", absent)
    with pytest.raises(ModuleNotFoundError, match="uv sync --extra mmseg"):
        mmseg_runtime.prepare()
    assert "uv sync --extra mmseg" in peers.measure_peer.__wrapped__(peers.find_peer("ddp_table1", "K-Net")).remark


def test_point_sample_is_mmcvs_own():
    mmseg_runtime.prepare()
    from mmcv.ops import point_sample

    image = torch.arange(12.0).view(1, 1, 3, 4)
    centres = torch.tensor([[[0.125, 1 / 6], [0.875, 5 / 6]]])  # (x, y) of the first and the last pixel
    assert torch.allclose(point_sample(image, centres), torch.tensor([[[0.0, 11.0]]]), atol=1e-5)


def test_compiled_ops_say_that_they_are_missing():
    mmseg_runtime.prepare()
    from mmcv.ops import nms
    from mmengine.utils.dl_utils.misc import mmcv_full_available

    if mmcv_full_available():
        pytest.skip("mmcv is compiled here")
    with pytest.raises(RuntimeError, match="nms is a compiled op of mmcv; mmcv-lite is installed"):
        nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_focal_loss_is_its_definition(reduction):
    torch.manual_seed(0)
    logits, target = torch.randn(6, 3), torch.tensor([0, 1, 2, 3, 1, 0])  # 3: background
    weight = torch.tensor([1.0, 2.0, 3.0])
    expected = torch.zeros(6, 3)
    for n in range(6):
        for c in range(3):
            p = logits[n, c].sigmoid()
            sign = int(target[n]) == c
            term = -0.25 * (1 - p) ** 2 * p.log() if sign else -0.75 * p**2 * (1 - p).log()
            expected[n, c] = term * (weight[target[n]] if target[n] < 3 else 1.0)
    expected = {"none": expected, "mean": expected.sum() / 6, "sum": expected.sum()}[reduction]
    loss = mmseg_runtime.sigmoid_focal_loss(logits, target, 2.0, 0.25, weight, reduction)
    assert torch.allclose(loss, expected, atol=1e-6)


def test_focal_loss_equals_mmsegmentations_python_version():
    mmseg_runtime.prepare()
    from mmseg.models.losses.focal_loss import py_sigmoid_focal_loss

    torch.manual_seed(0)
    logits, target = torch.randn(6, 3), torch.randint(3, (6,))
    theirs = py_sigmoid_focal_loss(logits, F.one_hot(target, 3), alpha=0.25, reduction="none")
    assert torch.allclose(mmseg_runtime.sigmoid_focal_loss(logits, target, reduction="none"), theirs, atol=1e-6)
