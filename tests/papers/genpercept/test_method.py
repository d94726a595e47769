"""GenPercept through the workbook's doors: batches in, maps out, recipes, released files as one checkpoint."""

import dataclasses

import pytest
import torch

import ddp_repro
from ddp_repro.interop.checkpoints import load_checkpoint, save_weights
from ddp_repro.papers.genpercept import paper, recipes
from ddp_repro.papers.genpercept.labels import class_colours, label_of
from ddp_repro.papers.genpercept.recipes import PIPELINES, small_model
from ddp_repro.papers.genpercept.settings import GenPerceptConfig, ModelConfig
from ddp_repro.papers.genpercept.weights import hub_files, loading, official
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.errors import CheckpointError, ConfigError
from ddp_repro.settings.overrides import from_dict, override, to_dict
from ddp_repro.workbook import predictors
from ddp_repro.workbook.catalogue import recipes_of
from tests.papers.genpercept.conftest import tiny_unet, tiny_vae

pytest.importorskip("diffusers")
HEIGHT, WIDTH = 24, 40

MODELS = {
    "one_step": {},
    "customised": {"loss": "customised"},
    "disparity": {"loss": "customised", "space": "disparity"},
    "deterministic": PIPELINES["deterministic"],
    "stochastic": PIPELINES["stochastic"],
    "decoder": {"loss": "image", "decoder_from_scratch": True},
    "dpt": {"decoder": "dpt", "loss": "image"},
    "frozen": {"decoder": "dpt", "loss": "image", "unet": "frozen"},
    "normals": {"task": "normals", "loss": "angular"},
    "foreground": {"task": "dichotomous", "loss": "image"},
    "matte": {"task": "matting", "loss": "image"},
    "colours": {"task": "segmentation", "loss": "image", "num_classes": 5},
    "upernet": {"task": "segmentation", "decoder": "upernet", "loss": "cross_entropy", "num_classes": 5},
    "vae": {"loss": "reconstruction"},
}
PREDICTING = [name for name in MODELS if name != "vae"]


def model_of(name):
    torch.manual_seed(0)
    return small_model(**MODELS[name]).build()


def batch_of(task, count=2, height=HEIGHT, width=WIDTH):
    generator = torch.Generator().manual_seed(5)
    draw = lambda *shape: torch.rand(*shape, generator=generator)  # noqa: E731
    normals = torch.nn.functional.normalize(draw(count, 3, height, width) - 0.5, dim=1)
    return {
        "image": draw(count, 3, height, width) * 2 - 1,
        "depth": draw(count, height, width) * 4 + 1,
        "normals": normals,
        "mask": (draw(count, height, width) > 0.5).float(),
        "alpha": draw(count, height, width),
        "label": (draw(count, height, width) * 5).long(),
    }


@pytest.mark.parametrize("name", MODELS)
def test_the_loss_reaches_all_that_is_trained_and_nothing_else(name):
    model = model_of(name).train()
    loss = model.training_loss(batch_of(model.config.task))["loss"]
    assert loss.isfinite()
    loss.backward()
    trained = {key.partition(".")[0] for key, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    frozen = {key for key, p in model.named_parameters() if not p.requires_grad and p.grad is not None}
    expected = {"vae": {"vae"}, "dpt": {"unet", "head"}, "upernet": {"unet", "head"}, "frozen": {"head"}}
    assert trained == expected.get(name, {"unet", "vae"} if name == "decoder" else {"unet"})
    assert not frozen


@pytest.mark.parametrize("name", PREDICTING)
def test_any_size_gives_a_map_of_its_size_and_a_batch_what_its_images_give(name):
    model = model_of(name).eval()
    batch = batch_of(model.config.task, height=27, width=37)
    options = {}
    if model.has_steps:
        options["steps"] = 2

    def generators(*seeds):
        return {"generator": [torch.Generator().manual_seed(seed) for seed in seeds]} if model.has_noise else {}

    together = model.sample(features=model.encode(batch), **options, **generators(0, 1))
    channels = {"normals": 3, "segmentation": 5}.get(model.config.task, 1)
    assert together.shape == (2, channels, 27, 37)
    second = model.encode({"image": batch["image"][1:]})
    alone = model.sample(features=second, **options, **generators(1))
    torch.testing.assert_close(together[1:], alone, atol=2e-4, rtol=1e-4)
    if model.config.task == "normals":
        torch.testing.assert_close(together.norm(dim=1), torch.ones(2, 27, 37))
    elif model.config.task != "segmentation":
        assert together.min() >= 0 and together.max() <= 1


def test_every_step_is_in_the_trajectory():
    model = model_of("deterministic").eval()
    features = model.encode(batch_of("affine_depth"))
    run = model.sample(features=features, steps=3, return_trajectory=True)
    assert run.decoded.shape == (3, 2, 1, HEIGHT, WIDTH) and torch.equal(run.decoded[-1], run.output)


def test_too_small_an_image_and_the_vaes_stage_are_refused():
    with pytest.raises(ValueError, match="below 8x8"):
        model_of("one_step").encode_image(torch.zeros(1, 3, 7, 40))
    with pytest.raises(ConfigError, match="VAE alone"):
        model_of("vae").encode_image(torch.zeros(1, 3, 24, 40))


def test_labels_are_in_range_and_say_what_is_unknown():
    for name in ("one_step", "disparity", "normals", "foreground", "matte", "colours"):
        config, batch = small_model(**MODELS[name]), batch_of(name)
        for key, unknown in (("depth", 0), ("normals", 0), ("mask", -1), ("alpha", -1), ("label", 255)):
            batch[key][..., :3, :] = unknown
        label = label_of(batch, config)
        assert label.values.abs().max() <= 1 and not label.valid[..., :3, :].any() and label.valid[..., 3:, :].all()


def test_an_opacity_above_one_and_depth_that_is_nowhere():
    batch = batch_of("matting")
    with pytest.raises(ValueError, match="above 1"):
        label_of({"alpha": batch["alpha"] * 2}, small_model(**MODELS["matte"]))
    nowhere = label_of({"depth": torch.zeros(1, 8, 8)}, small_model())
    assert not nowhere.valid.any() and nowhere.values.isfinite().all()
    model = model_of("customised")
    loss = model.training_loss({**batch, "depth": torch.zeros_like(batch["depth"])})["loss"]
    assert loss.isfinite()


def test_colours_of_classes_are_told_apart_again():
    colours = class_colours(40)
    assert len({tuple(colour.tolist()) for colour in colours}) == 40 and colours.abs().max() <= 1
    model = model_of("colours")
    classes = torch.arange(5).repeat(2, 4, 1)
    label = label_of({"label": classes}, model.config).values
    assert torch.equal(model._map(label).argmax(1), classes)


def test_saved_weights_load_and_other_settings_are_named(tmp_path):
    model = model_of("normals").eval()
    save_weights(model, tmp_path / "model.safetensors", {})
    other = small_model(**MODELS["normals"]).build().eval()
    load_checkpoint(other, tmp_path / "model.safetensors")
    batch = batch_of("normals")
    samples = [each.sample(features=each.encode(batch)) for each in (other, model)]
    torch.testing.assert_close(*samples, rtol=0, atol=5e-4)  # rounding may hang on where weights lie in memory
    with pytest.raises(CheckpointError, match="does not fit"):
        load_checkpoint(model_of("stochastic"), tmp_path / "model.safetensors")
    loading.save_pretrained(model, tmp_path / "hub")
    assert loading.load_pretrained(tmp_path / "hub").config == GenPerceptConfig(
        "normals", loss="angular", scaling_factor=1.0
    )


# --- settings and recipes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unet_channels": (20, 40, 40, 40)}, "multiples of norm_groups"),
        ({"unet_heads": (3, 2, 2, 2)}, "multiples of unet_heads"),
        ({"space": "disparity", "task": "normals"}, "space='disparity'"),
        ({"decoder": "dpt", "loss": "reconstruction"}, "no latent"),
        ({"beta_start": 0.5, "beta_end": 0.1}, "beta_start <= beta_end"),
        ({"steps": 2000}, "train_steps"),
        ({"task": "pose"}, "must be one of"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        small_model(**changes)


@pytest.mark.parametrize("preset", ["mini", "paper"])
def test_every_recipe_survives_storage_and_builds(preset):
    found = recipes.recipes(preset)
    assert found and all(name in recipes_of(preset) for name in found)
    for recipe in found.values():
        assert from_dict(type(recipe), to_dict(recipe)) == recipe
        task_named(recipe.model.task).check_evaluation(recipe.evaluation)
        with torch.device("meta"):
            model = recipe.model.build()
        assert model.config is recipe.model and model.mean == (127.5,) * 3


def test_the_papers_models_have_the_published_size():
    with torch.device("meta"):
        model = recipes.recipes("paper")["genpercept_disparity_dpt"].model.build()
    sizes = {name: sum(p.numel() for p in part.parameters()) / 1e6 for name, part in model.named_children()}
    # Without the two layers that the head makes needless.
    assert sizes["vae"] == pytest.approx(83.654, abs=5e-4) and sizes["head"] == pytest.approx(18.475, abs=5e-4)
    assert sizes["unet"] == pytest.approx(865.911, abs=0.013)


def test_the_papers_depth_learns_from_two_sets_and_is_tested_on_five():
    found = recipes.recipes("paper")
    for name in recipes.depth_models():
        data = found[name].data
        assert (data.dataset, data.added_dataset, data.added_rate) == ("hypersim", "vkitti", 0.1)
        rows = [recipe for recipe in found.values() if recipe.weights_of == name]
        assert [recipe.data.dataset for recipe in rows] == ["nyu", "kitti", "scannet", "diode", "eth3d"]
        assert all(recipe.evaluation.protocol == recipe.data.dataset for recipe in rows)
        assert all(recipe.table == "genpercept_table6" for recipe in rows)
        assert {paper.RELEASED[recipe.name] for recipe in (found[name], *rows)} == {paper.MODELS[name]}


def test_overrides_reach_the_model():
    recipe = ddp_repro.recipe("genpercept_depth_mini")
    assert override(recipe, {"model.timestep": "1"}).model.timestep == 1
    with pytest.raises(ConfigError, match="timestep"):
        override(recipe, {"model.timestep": "1000"})


def test_released_files_become_one_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(official, "cache_folder", lambda: tmp_path / "cache")
    hub = tmp_path / "hub"
    tiny_unet().save_pretrained(hub / "unet_depth_v2")
    tiny_vae().save_pretrained(hub / "vae")
    text = torch.randn(1, 2, 32)
    load = loading.load_released
    monkeypatch.setattr(official, "load_released", lambda name: load(name, source=hub, text_embedding=text))
    path = paper.PAPER.official_checkpoint("genpercept_depth")
    config = ModelConfig(
        loss="customised", unet_channels=(32, 32, 64, 64), unet_heads=(2, 2, 4, 4), unet_layers=1,
        vae_channels=(8, 16, 16, 16), vae_layers=1, text_width=32, norm_groups=8,
    )  # fmt: skip
    model = config.build()
    model.unet, model.vae = tiny_unet(), tiny_vae()
    load_checkpoint(model, path)
    assert torch.equal(model.text_embedding, text)
    assert paper.PAPER.official_checkpoint("genpercept_depth_kitti") == path
    with pytest.raises(CheckpointError, match="released no weights"):
        paper.PAPER.official_checkpoint("genpercept_depth_mini")


def test_without_network_the_authors_weights_are_an_error_that_names_them(tmp_path, monkeypatch):
    monkeypatch.setattr(official, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(hub_files, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr(official, "load_released", lambda name: loading.load_released(name, local_files_only=True))
    with pytest.raises(CheckpointError, match="genpercept_depth: .*cannot be had"):
        paper.PAPER.official_checkpoint("genpercept_depth")


# --- who answers a question about a picture ---------------------------------------------------------------------------


def test_questions_find_their_models(tmp_path, monkeypatch):
    monkeypatch.setenv("DDP_REPRO_ROOT", str(tmp_path))
    for question in ("depth", "normals", "foreground", "matte"):
        recipe, checkpoint = predictors.predictor_for(question, "genpercept")
        assert recipe.preset == "paper" and checkpoint == "official" and predictors.answers(recipe, question)
    trained = tmp_path / "results" / "mini" / "runs" / "genpercept_normals_mini"
    trained.mkdir(parents=True)
    (trained / "model.safetensors").touch()
    recipe, checkpoint = predictors.predictor_for("normals", "genpercept")
    assert (recipe.name, checkpoint) == ("genpercept_normals_mini", None)


def test_questions_that_nobody_answers_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("DDP_REPRO_ROOT", str(tmp_path))
    with pytest.raises(ConfigError, match=r"ddp has no model for normals; it has some for .*segmentation"):
        predictors.predictor_for("normals", "ddp")
    with pytest.raises(ConfigError, match="no paper 'x'"):
        predictors.predictor_for("normals", "x")
    for question in ("edges", "bev"):  # which nobody knows, or nobody answers from one picture
        with pytest.raises(ConfigError, match=f"no model answers '{question}' about a picture; .* depth, foreground, "):
            predictors.predictor_for(question)
    with pytest.raises(ConfigError, match="no model for depth has been trained here.*kitti_mini"):
        predictors.predictor_for("depth")


def test_the_vaes_stage_answers_nothing():
    assert not any(r.name in recipes.VAES.values() for r in predictors._candidates("depth"))
    assert dataclasses.replace(small_model(), loss="reconstruction").predicts is False


def test_every_small_model_has_a_vae_that_has_seen_its_labels():
    """A VAE trained for minutes on grey depth gave back colour maps and normals as something else."""
    small = recipes.recipes("mini")
    for recipe in small.values():
        for source in recipe.train.weights or ():
            vae = small[source.removeprefix("vae=recipe:")]
            assert (vae.model.task, vae.data) == (recipe.model.task, recipe.data)
