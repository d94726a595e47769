"""Diffusion pretraining at small scale: its stages, the pairing of the two starts, its claims and its table."""

import dataclasses
import json
from types import SimpleNamespace

import pytest
import torch

from ddp_repro.papers.genpercept import pretraining
from ddp_repro.papers.genpercept.labels import label_within
from ddp_repro.papers.genpercept.paper import PAPER
from ddp_repro.papers.genpercept.pretraining import name_of
from ddp_repro.papers.genpercept.recipes import recipes, small_model
from ddp_repro.settings.errors import ConfigError
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.runs.analyses import analyse_stage

pytest.importorskip("diffusers")
STAGE = {"loss": "denoising", "noise": "gaussian", "input": "blended", "beta_start": 0.00085, "beta_end": 0.012}


def test_both_starts_are_one_recipe_but_for_the_first_weights_of_the_unet():
    small = recipes("small")
    for name, with_prior in small.items():
        if "_pretrained_" not in name:
            continue
        without = small[name.replace("_pretrained_", "_scratch_")]
        weights = (*(without.train.weights or ()), f"unet=recipe:{pretraining.DIFFUSION}")
        same = dataclasses.replace(
            without, name=name, row=name, train=dataclasses.replace(without.train, weights=weights)
        )
        assert same == with_prior


def test_seeds_of_a_fine_tuning_share_the_stages_and_pairs_share_the_seed():
    runs = pretraining.fine_tunings([64], [], [0, 3])
    assert len(runs) == 2 * 2 * 2 and {run.train.seed for run in runs} == {0, 3}
    for run in runs:
        assert recipe(run.name) == run  # what is trained by name is what the notebook trains
        assert all("-seed" not in source for source in run.train.weights or ())
    with pytest.raises(ConfigError, match="no fine-tuning genpercept_depth_small_pretrained_n65"):
        pretraining.fine_tunings([65])


def test_no_test_picture_is_of_a_set_that_a_stage_learns_from():
    small = recipes("small")
    stages = {data.root for name in (pretraining.VAE, pretraining.DIFFUSION)
              for data in (small[name].data, *small[name].data.added)}  # fmt: skip
    rendered = {root: arguments for root, arguments in pretraining.SYNTHETIC.items()}
    tuned = {r.data.root for r in small.values() if r.table == pretraining.TABLE}
    assert tuned <= set(rendered) and not tuned & stages
    assert {rendered[root].get("seed", 0) for root in tuned} == {0}
    assert {rendered[root]["seed"] for root in stages & set(rendered)} == {1}


def test_every_claim_compares_recipes_that_there_are_and_says_what_matters():
    questions = PAPER.claims("small")
    assert {name for (claim,) in questions for name in claim.recipes} <= set(recipes("small"))
    assert {(claim.question.metric, claim.minimum) for (claim,) in questions} == {("rel", 0.01), ("mean_angle", 1.0)}
    assert len({claim.key for (claim,) in questions}) == len(questions) and not PAPER.claims("mini")


@dataclasses.dataclass
class Scored:
    rel: float
    metrics = ("rel",)

    def values(self, steps, metric):
        return [self.rel]


def test_two_starts_that_learn_nothing_are_not_compared(monkeypatch):
    from ddp_repro.papers.genpercept.results import claims

    monkeypatch.setattr(claims, "mean_label_of", lambda record, records, output: SimpleNamespace(score=Scored(0.18)))
    assert "no training of either side beats the mean label" in str(
        claims.learns_nothing([Scored(0.2), Scored(0.18)], "x")
    )
    assert claims.learns_nothing([Scored(0.2), Scored(0.17)], "x") is None


def test_denoising_needs_noised_pictures_alone():
    assert not small_model(**STAGE).predicts
    with pytest.raises(ConfigError, match="loss='denoising' needs noise='gaussian', input='blended'"):
        small_model(**STAGE | {"input": "concatenated"})
    with pytest.raises(ConfigError, match="hides the image"):
        small_model(**STAGE | {"loss": "latent"})


def test_denoising_trains_the_unet_towards_v_and_needs_no_label():
    torch.manual_seed(0)
    model = small_model(**STAGE).build()
    image = torch.rand(3, 3, 32, 40) * 2 - 1
    torch.manual_seed(5)
    values = model.training_loss({"image": image, "label": torch.zeros(3, 32, 40)})
    torch.manual_seed(5)
    with torch.no_grad():
        latent = model.latent(image)
        t = torch.randint(0, 1000, (3,))
        noise = torch.randn_like(latent)
        signal = model.schedule.alphas_cumprod[t].sqrt().reshape(-1, 1, 1, 1)
        sigma = (1 - signal**2).sqrt()
        v = model.velocity(latent, signal * latent + sigma * noise, t)
    torch.testing.assert_close(values["loss"].detach(), (v - (signal * noise - sigma * latent)).square().mean())
    values["loss"].backward()
    assert all(p.grad is not None for p in model.unet.conv_in.parameters())
    assert not any(p.requires_grad for p in model.vae.parameters())
    with pytest.raises(ConfigError, match="denoising learns images alone"):
        model.encode_image(image)


def test_the_vae_learns_whatever_map_a_batch_holds():
    config = small_model(loss="reconstruction")
    depth, normals = torch.rand(2, 8, 8) + 1, torch.nn.functional.normalize(torch.randn(2, 3, 8, 8), dim=1)
    carried = [label_within(batch, config) for batch in ({"depth": depth}, {"normals": normals})]
    assert carried[0] is not None and carried[0].values.shape == (2, 1, 8, 8)
    assert carried[1] is not None
    torch.testing.assert_close(carried[1].values, normals)
    assert label_within({"label": torch.zeros(2, 8, 8)}, config) is None
    torch.manual_seed(0)
    model = config.build()
    loss = model.training_loss({"image": torch.rand(2, 3, 16, 16) * 2 - 1, "label": torch.zeros(2, 16, 16)})["loss"]
    assert loss.isfinite()


def test_the_table_says_what_was_not_run(tmp_path):
    table = PAPER.tables[pretraining.TABLE]("small", tmp_path)
    rows = table.frame.to_dict("list")
    assert len(rows["", "Task"]) == 2 * 2 + 2 * 6 + 6
    assert {cell for (_, source), cells in rows.items() if source.startswith("rendered") for cell in cells} == {
        "not run", "–",
    }  # fmt: skip


def test_a_stage_without_weights_and_analysis_is_refused(tmp_path):
    stage = recipes("small")[pretraining.VAE]
    with pytest.raises(ConfigError, match="train genpercept_vae_small first"):
        analyse_stage("floor", stage, {}, lambda model, dataset: {}, tmp_path)


def test_the_figure_draws_the_curves_of_both_starts(tmp_path):
    from ddp_repro.papers.genpercept.results.figure import pretraining_figure

    names = [name_of("depth", start, 64) for start in pretraining.STARTS]
    for run in (*names, f"{names[0]}-seed1"):
        folder = tmp_path / "small" / "runs" / run
        folder.mkdir(parents=True)
        (folder / "record.json").write_text("{}")
        lines = [{"iteration": i, "validation_rel": 0.3 - i / 1000} for i in (60, 120)]
        (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    figure = pretraining_figure("small", tmp_path)
    assert figure.sources == (names[0], f"{names[0]}-seed1", names[1])
