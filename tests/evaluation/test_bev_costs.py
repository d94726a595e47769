"""Costs of BEV stages: their counts are those of a whole sample, and of the sparse convolutions' rulebooks."""

from __future__ import annotations

import dataclasses
import functools

import pytest
import torch

from ddp_repro.cli import main
from ddp_repro.costs.macs import count_macs, count_parameters
from ddp_repro.papers.ddp.bev import costs as bev_costs
from ddp_repro.papers.ddp.bev.costs import measure_bev_costs
from ddp_repro.papers.ddp.bev.sparse import SparseConv3d
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.tables.bev_costs import costs_table, find_costs, run_costs
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import Recipe
from ddp_repro.tasks.bev.made_up import made_up_sample
from tests.models.bev.test_model import CONFIGS


@pytest.fixture(autouse=True)
def small_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bev_costs, "made_up_sample", functools.partial(made_up_sample, places=700))
    monkeypatch.setattr(bev_costs, "_peak_in_own_process", lambda name, config, device, dtype: len(name))


@pytest.mark.parametrize("sensors", ["camera", "fusion"])
def test_stages_add_up_to_a_sample(sensors: str) -> None:
    config = dataclasses.replace(CONFIGS[sensors], noise_samples=2)
    costs, model, batch = (
        measure_bev_costs(config, repetitions=1),
        build_model(config).eval(),
        bev_costs.made_up_sample(config),
    )
    torch.manual_seed(0)
    _, whole = count_macs(lambda: model.sample(batch, steps=bev_costs.STEPS))
    assert costs.macs == whole.total > 0
    assert sum(stage.parameters for stage in costs.stages) == count_parameters(model)
    assert all(stage.median > 0 for stage in costs.stages)
    assert (costs.voxels > 0) == (sensors == "fusion")


def test_sparse_convolutions_count_pairs_times_channels() -> None:
    config = CONFIGS["fusion"]
    model, pairs = build_model(config).eval(), []

    def count(layer: SparseConv3d, inputs: tuple) -> None:
        meetings = sum(len(found) for found, _ in inputs[1].pairs)
        pairs.append(meetings * layer.weight.shape[-2] * layer.weight.shape[-1])

    for layer in model.modules():
        if isinstance(layer, SparseConv3d):
            layer.register_forward_pre_hook(count)
    model.lidar(bev_costs.made_up_sample(config)["points"])
    [stage] = [each for each in measure_bev_costs(config, repetitions=1).stages if each.name == "sparse encoder"]
    assert stage.macs == sum(pairs) > 0


def test_a_record_is_written_and_read_back(tmp_path) -> None:
    made = run_costs(Recipe(name="tiny", model=CONFIGS["fusion"]), 1, tmp_path)
    assert find_costs(tmp_path) == [made]
    frame, notes = costs_table(made).frame, " ".join(costs_table(made).notes)
    assert list(frame["", "Stage"][:2]) == ["camera encoder", "view transform"] and len(frame) == 11
    assert f"{made.costs.voxels} voxels" in notes and "sample 0 MiB" in notes
    assert 0 < made.costs.floor == sum(stage.passes * stage.floor for stage in made.costs.stages)
    narrow = run_costs(Recipe(name="tiny", model=CONFIGS["fusion"]), 1, tmp_path, "bf16")
    assert {record.costs.dtype for record in find_costs(tmp_path)} == {"float32", "bf16"}
    assert costs_table(narrow).name.endswith("_bf16") and "bf16" in " ".join(costs_table(narrow).notes)
    with pytest.raises(ConfigError, match="no dtype 'int8'"):
        run_costs(Recipe(name="tiny", model=CONFIGS["fusion"]), 1, tmp_path, "int8")
    with pytest.raises(ConfigError, match="repetitions"):
        run_costs(Recipe(name="tiny", model=CONFIGS["fusion"]), 0, tmp_path)


def test_settings_that_do_not_apply_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "nuscenes_camera", "--size", "256"]) == 2
    assert "its own size" in capsys.readouterr().err
