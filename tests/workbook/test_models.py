"""Which weights there are, and where."""

import pytest
from huggingface_hub import constants

import ddp_repro
from ddp_repro.settings.errors import CheckpointError, ConfigError
from ddp_repro.workbook.models import weights_in
from tests.web.conftest import write_weights


def test_finished_trainings_come_before_downloads(tmp_path):
    path = write_weights(tmp_path, "ade20k_mini")
    first, *others = ddp_repro.list_models(output=tmp_path)
    assert repr(first) == f"ade20k_mini: segmentation, ade20k; trained: {path}" and first.at_hand
    assert first.checkpoint() == path
    assert ddp_repro.list_models("mini", tmp_path) == [first] and first not in ddp_repro.list_models("paper", tmp_path)
    assert {weights.source for weights in others} == {"official"}
    with pytest.raises(ConfigError, match="no preset 'tiny'"):
        ddp_repro.list_models("tiny")


def test_every_released_model_says_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    places = {weights.name: repr(weights) for weights in ddp_repro.list_models("paper", tmp_path)}
    assert places["ade20k_swin_t"].endswith(
        "official: yfji/DDP-Weight/ddp_swin_t_2x8_512x512_160k_ade20k.pth (not downloaded)"
    )
    assert "aaronb/DDPS-all/segformer_b2_multistep" in places["ddps_ade20k_segformer_b2"]
    assert "normals, nyu_normals; official: guangkaixu/genpercept-normal" in places["genpercept_normals"]
    assert places.keys() >= {*ddp_repro.paper_named("ddp").released, *ddp_repro.paper_named("ddps").released}


def test_a_downloaded_folder_of_ddps_is_at_hand(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    file = tmp_path / "models--aaronb--DDPS-all/snapshots/0/segformer_b2_multistep/iter_1.pth"
    file.parent.mkdir(parents=True)
    file.touch()
    at_hand = [weights.name for weights in ddp_repro.list_models("paper", tmp_path) if weights.at_hand]
    assert at_hand == ["ddps_ade20k_segformer_b2"]


def test_damaged_files_are_left_out_of_the_list_and_named_when_asked_for(tmp_path):
    path = write_weights(tmp_path, "ade20k_mini")
    path.write_bytes(path.read_bytes()[:-10])
    assert ddp_repro.list_models("mini", tmp_path) == []
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        weights_in(path)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="empty"):
        weights_in(path)
