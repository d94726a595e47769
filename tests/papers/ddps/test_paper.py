"""DDPS as a paper of the workbook: recipes, printed tables, what may claim a number, segmentors by name."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from ddp_repro import cli
from ddp_repro.papers.ddps import recipes
from ddp_repro.papers.ddps.paper import PAPER
from ddp_repro.papers.ddps.settings import DDPSConfig
from ddp_repro.settings.errors import CheckpointError, ConfigError
from ddp_repro.workbook.catalogue import paper_of, recipe
from ddp_repro.workbook.tables.printed import load_table, paper_value
from ddp_repro.workbook.tables.table import paper_table

PRINTED = {"ddps_table1": [389.8, 272.16, 275.69, 182.06], "ddps_table2": [0, 483.56, 489.29, 391.13]}


@pytest.mark.parametrize("name", PRINTED)
def test_printed_tables_add_up(name: str) -> None:
    table = load_table(name)
    sums = [sum(row.values[column.key] or 0 for row in table.rows) for column in table.columns]
    assert sums == pytest.approx(PRINTED[name], abs=1e-6)
    assert [row.recipe for row in table.rows] == [f"ddps_{table.dataset}_{segmentor}" for segmentor in (
        "deeplabv3plus_mobilenet_v2", "segformer_b0", "deeplabv3plus_r50", "segformer_b2", "deeplabv3plus_r101",
        "segformer_b5",
    )]  # fmt: skip
    assert all(paper_value(recipe(row.recipe), 10, "miou") == row.values["miou"] for row in table.rows)


def test_counted_parameters_are_the_printed_ones(tmp_path: Path) -> None:
    frame = paper_table("ddps_table1", "mini", tmp_path).frame
    quantity = next(column[0] for column in frame.columns if column[0].startswith("#Param"))
    printed, counted = (frame[quantity, source].tolist() for source in ("paper", "counted live"))
    assert [abs(float(a) - float(b)) < 0.11 for a, b in zip(printed, counted, strict=True)] == [True] * 6


def test_recipes_of_the_paper_follow_the_release() -> None:
    multi, single = recipe("ddps_ade20k_segformer_b2"), recipe("ddps_ade20k_segformer_b2_single")
    assert (multi.model.timesteps, multi.model.dim, multi.model.stage) == (100, 256, "multi")
    assert (
        multi.train.learning_rate == 1.5e-4 and multi.train.betas == (0.9, 0.96) and multi.train.weight_decay == 0.045
    )
    assert (multi.train.ema_momentum, multi.train.ema_every, single.train.ema_momentum) == (0.01, 25, None)
    assert (single.train.iterations, single.train.step_iterations) == (80_000, 10_000)
    assert multi.train.weights[0] == f"segmentor=recipe:{single.name}"
    assert recipe("ddps_cityscapes_segformer_b0").model.timesteps == 20
    assert paper_of(multi) is PAPER and multi.train.frozen == ("segmentor",) and multi.train.frozen_mode == "training"


def test_arms_differ_in_what_they_are_named_for() -> None:
    single, longer, truth, multi = (recipes.arm("mini", arm) for arm in recipes.ARMS)
    assert (single.model.stage, longer.model.stage, truth.model.stage) == ("single", "single", "multi")
    assert dataclasses.replace(truth.model, noised="prediction") == multi.model
    assert truth.train == multi.train and longer.model == single.model
    same = {"weights": None}
    assert dataclasses.replace(longer.train, **same) == dataclasses.replace(multi.train, **same)
    assert {source.partition("=")[2] for source in longer.train.weights} == {f"recipe:{single.name}"}


def test_stages_come_in_the_order_of_their_needs_and_seeds_are_paired() -> None:
    stages = PAPER.stages("mini", [0, 3])
    assert [[each.train.seed for each in stage] for stage in stages] == [[0, 3], [0, 3], [0, 3] * 3, [0, 3] * 5]
    later = {each.name: each for each in stages[2]}["ddps_cityscapes_mini-seed3"]
    assert all(source.endswith("recipe:ddps_cityscapes_mini_single-seed3") for source in later.train.weights)
    assert stages[1][1].train.weights == ("segmentor.model=recipe:ddps_cityscapes_mini_segmentor-seed3",)
    assert {each.weights_of for each in stages[3] if each.train.seed == 3} == {
        "ddps_cityscapes_mini-seed3", "ddps_cityscapes_mini_truth-seed3", "ddps_cityscapes_mini_single-seed3",
    }  # fmt: skip
    with pytest.raises(ConfigError, match="no arms .* mini, camvid have them"):
        PAPER.stages("sevenscenes")


def test_only_the_papers_own_settings_may_claim_its_numbers() -> None:
    multi = recipe("ddps_ade20k_segformer_b2")
    assert PAPER.is_papers_setting(multi)
    assert not PAPER.is_papers_setting(dataclasses.replace(multi, model=dataclasses.replace(multi.model, dim=128)))
    assert not PAPER.is_papers_setting(recipe("ddps_cityscapes_mini"))


@pytest.mark.parametrize(
    ("segmentor", "error", "message"),
    [
        ("unet", ConfigError, "segmentor must be one of segformer_b0"),
        ("recipe:cityscapes_mini", ConfigError, "no segmentation without diffusion"),
        ("recipe:kitti_mini_baseline", ConfigError, "no segmentation without diffusion"),
        ("recipe:nonsense", ConfigError, "no recipe 'nonsense'"),
        ("recipe:ade20k_mini_baseline", ConfigError, "the segmentor has 150 classes; expected 19"),
        ("transformers:no/such-model", CheckpointError, "no such SegFormer here or on the hub"),
    ],
)
def test_segmentors_that_do_not_fit(segmentor: str, error: type, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(error, match=re.escape(message)):
        DDPSConfig(segmentor=segmentor, num_classes=19, dim=8).build()


def test_a_segformer_of_transformers_is_built_from_its_folder(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"depths": [1] * 4, "hidden_sizes": [8, 16, 24, 32], "decoder_hidden_size": 24}
    transformers.SegformerConfig(**sizes, num_attention_heads=[1, 2, 3, 4], num_labels=4).save_pretrained(tmp_path)
    model = DDPSConfig(segmentor=f"transformers:{tmp_path}", num_classes=4, dim=8).build()
    assert model.segmentor.feature_channels == 24


def test_other_samplers_lend_the_weights_and_change_nothing_else() -> None:
    lender, strict = recipes.arm("mini", "truth"), recipes.strictly("mini", "truth", "strict_released")
    assert strict.weights_of == lender.name and strict.train == lender.train
    assert dataclasses.replace(strict.model, sampler="free") == lender.model
    assert set(strict.evaluation.steps) <= set(lender.evaluation.steps)


def test_the_bench_times_stages_beside_their_products(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "ddps_cityscapes_mini", "--size", "64x96", "--repetitions", "3", "--output", str(tmp_path)]
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    assert "| prior, every call |" in printed and "| segmentor, once |" in printed
    (path,) = (tmp_path / "bench" / "ddps").glob("ddps_cityscapes_mini-64x96-*.json")
    facts = json.loads(path.read_text())
    assert len(facts["seconds"]["prior, every call floor"]) == 3 and facts["environment"] and facts["code"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--batch", "2", "--dtype", "bf16"], "--batch, --dtype do not apply to DDPS's bench"),
        (["--repetitions", "2"], "at least 3 repetitions"), (["--size", "64y96"], "64y96"),
    ],
)  # fmt: skip
def test_options_that_the_bench_lacks_are_refused(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", "ddps_cityscapes_mini", *words, "--output", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_pretrained_folder_is_read_back(tmp_path: Path) -> None:
    import torch

    import ddp_repro.papers.ddps.model as module

    model = recipe("ddps_cityscapes_mini").model.build().eval()
    model.save_pretrained(tmp_path)
    again = module.DDPS.from_pretrained(tmp_path)
    assert again.config == model.config
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_the_code_of_every_small_recipe_can_be_tried() -> None:
    """What tells whether a record is still current: with boundary scores, and the segmentor of another recipe."""
    from ddp_repro.tasks.probe import probe_scores

    for arm in recipes.ARMS:
        chosen = recipes.arm("mini", arm)
        numbers = probe_scores(chosen.model, chosen.data, chosen.evaluation)
        assert any("mbiou" in name for name in numbers) and any("miou" in name for name in numbers)
