"""The bad input that GenPercept must meet with a clear error or a stated behaviour, from the file to the record.

In the order of the issue: U-Nets of other channels, VAEs of another scaling factor, a missing text embedding, sizes of
images, depth without extent, normals that are not unit length, opacity outside [0, 1], trimaps of other values.
"""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import ddp_repro
from data_prep.mini import write_mini
from ddp_repro import cli
from ddp_repro.data.io import DataError
from ddp_repro.data.maps import read_normals, read_opacity
from ddp_repro.interop.checkpoints import load_checkpoint, save_weights
from ddp_repro.papers.genpercept.labels import label_of
from ddp_repro.papers.genpercept.losses import angular_loss
from ddp_repro.papers.genpercept.model import GenPercept
from ddp_repro.papers.genpercept.recipes import PIPELINES, small_model
from ddp_repro.papers.genpercept.settings import GenPerceptConfig, pipeline_config
from ddp_repro.papers.genpercept.weights import hub_files, loading
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.errors import CheckpointError, ConfigError
from ddp_repro.settings.overrides import override, parse_overrides, to_dict
from ddp_repro.settings.recipe import EvalConfig
from ddp_repro.tasks.affine_depth.predict import AffineDepthPrediction
from ddp_repro.tasks.matting.metrics import MattingErrors
from ddp_repro.tasks.matting.predict import MattePrediction
from ddp_repro.workbook.catalogue import recipe as named_recipe
from ddp_repro.workbook.runs.records import load_record
from ddp_repro.workbook.runs.run import evaluate
from tests.papers.genpercept.conftest import tiny_unet, tiny_vae

pytest.importorskip("diffusers")
TEXT = torch.zeros(1, 2, 32)
NORMALS = {"task": "normals", "loss": "angular"}
MATTE = {"task": "matting", "loss": "image"}


# --- a U-Net of 8 channels for 4, and the reverse ---------------------------------------------------------------------


@pytest.fixture
def base(tmp_path: Path) -> Callable[..., Path]:
    """Write a base model's folder with a U-Net of some channels and a VAE of some scaling factor."""

    def write(channels: int = 4, factor: float = 0.18215) -> Path:
        tiny_unet(channels).save_pretrained(tmp_path / "base" / "unet")
        tiny_vae(factor).save_pretrained(tmp_path / "base" / "vae")
        return tmp_path / "base"

    return write


def test_a_unet_of_eight_channels_for_four_and_the_reverse_are_named() -> None:
    with pytest.raises(ConfigError, match=r"takes 8 channels, input='blended' gives 4: 4 are GenPercept's"):
        GenPercept(tiny_unet(8), tiny_vae(), TEXT)
    with pytest.raises(ConfigError, match=r"takes 4 channels, input='concatenated' gives 8.*8 are Marigold's"):
        GenPercept(tiny_unet(4), tiny_vae(), TEXT, pipeline_config("stochastic"))
    with pytest.raises(ConfigError, match="takes 5 channels.*want 4 or 8"):
        GenPercept(tiny_unet(5), tiny_vae(), TEXT)


def test_a_base_of_eight_channels_serves_the_concatenated_pipeline_alone(base: Callable[..., Path]) -> None:
    folder = base(8)
    assert loading.load_base(pipeline_config("stochastic"), folder, text_embedding=TEXT).unet.conv_in.in_channels == 8
    with pytest.raises(ConfigError, match="takes 8 channels"):
        loading.load_base(GenPerceptConfig(), folder, text_embedding=TEXT)


@pytest.mark.parametrize(("stored", "asked"), [("stochastic", "one_step"), ("one_step", "stochastic")])
def test_weights_of_other_channels_do_not_load(stored: str, asked: str, tmp_path: Path) -> None:
    save_weights(small_model(**PIPELINES[stored]).build(), tmp_path / "model.safetensors", {})
    with pytest.raises(CheckpointError, match=r"does not fit[\s\S]*unet.conv_in.weight"):
        load_checkpoint(small_model(**PIPELINES[asked]).build(), tmp_path / "model.safetensors")


# --- a VAE of another scaling factor ----------------------------------------------------------------------------------


def test_a_vae_of_another_scaling_factor_is_named(base: Callable[..., Path], tmp_path: Path) -> None:
    folder = base(factor=0.13025)  # SDXL's
    with pytest.raises(ConfigError, match=r"VAE's scaling factor is 0.13025, the settings' 0.18215"):
        loading.load_base(GenPerceptConfig(), folder, text_embedding=TEXT)
    agreeing = GenPerceptConfig(scaling_factor=0.13025)
    model = loading.load_base(agreeing, folder, text_embedding=TEXT)
    loading.save_pretrained(model, tmp_path / "saved")
    tiny_vae().save_pretrained(tmp_path / "saved" / "vae")
    with pytest.raises(ConfigError, match="scaling factor is 0.18215"):
        loading.load_pretrained(tmp_path / "saved")


# --- a missing text embedding without network -------------------------------------------------------------------------


@pytest.mark.parametrize("load", [loading.load_released, loading.load_base])
def test_a_missing_text_embedding_without_network_is_named(
    load: Callable[..., GenPercept], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_files, "cache_folder", lambda: tmp_path / "cache")
    first = "depth" if load is loading.load_released else GenPerceptConfig()
    words = r"text_encoder|tokenizer, for the embedding of the prompt '', cannot be had \(no network was asked for\)"
    with pytest.raises(ConfigError, match=words):
        load(first, base_model="nobody/nothing", local_files_only=True)


# --- an image below 8 pixels, or of odd size --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights of the small depth model, as training writes them."""
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    recipe = named_recipe("genpercept_depth_mini")
    torch.manual_seed(0)
    save_weights(recipe.model.build(), path, {"recipe": json.dumps(to_dict(recipe)), "iteration": "0"})
    return path


def write_picture(path: Path, height: int, width: int) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("fields", [{}, {"decoder": "dpt", "loss": "image"}, NORMALS])
def test_images_below_eight_pixels_are_refused_and_odd_sizes_kept(fields: dict, tmp_path: Path) -> None:
    model = small_model(**fields).build().eval()
    with pytest.raises(ValueError, match="7x40 pixels is below 8x8"):
        ddp_repro.predict(model, write_picture(tmp_path / "low.png", 7, 40))
    for size in ((8, 8), (9, 31)):
        prediction = ddp_repro.predict(model, write_picture(tmp_path / "odd.png", *size))
        values = next(iter(prediction.arrays.values()))
        assert values.shape[:2] == size and np.isfinite(values).all()


@pytest.mark.slow
def test_the_command_reports_a_low_picture_and_does_the_others(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    write_picture(pictures / "low.png", 10, 300)  # 3 x 96 at the size that the network sees
    write_picture(pictures / "odd.png", 33, 47)
    words = ["predict", str(pictures), "--recipe", "genpercept_depth_mini", "--checkpoint", str(weights)]
    assert cli.main([*words, "--output", str(tmp_path / "maps")]) == 1
    assert "below 8x8" in capsys.readouterr().err
    assert np.load(tmp_path / "maps" / "odd_depth.npy").shape == (33, 47)


# --- constant or empty depth ------------------------------------------------------------------------------------------


DEPTH = torch.linspace(1, 5, 480 * 640).reshape(480, 640)


def scored(task: str, *pairs: tuple[Tensor, Tensor], space: str = "depth") -> dict[str, float | None]:
    """Return a task's measures of (prediction, truth) as a record holds them."""
    one = task_named(task)
    tally = one.tally(SimpleNamespace(space=space), EvalConfig(protocol="nyu" if task == "affine_depth" else None))
    rows = [tally.image_statistics(*pair) for pair in pairs]
    tally.add({name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]})
    score = one.score(1, None, tally)
    return {name: getattr(score, name) for name in (*score.measures(), "measured")}


@pytest.mark.parametrize("space", ["depth", "disparity"])
def test_empty_depth_is_left_out_of_the_mean(space: str) -> None:
    good = (1 / DEPTH if space == "disparity" else DEPTH, DEPTH)
    empty = (good[0], torch.zeros_like(DEPTH))
    assert scored("affine_depth", good, empty, space=space) == scored("affine_depth", good, space=space) | {
        "measured": 1
    }
    nothing = scored("affine_depth", empty, space=space)
    assert nothing.pop("measured") == 0 and set(nothing.values()) == {None}


@pytest.mark.parametrize("space", ["depth", "disparity"])
@pytest.mark.parametrize("constant", ["prediction", "truth", "both"])
def test_constant_depth_is_aligned_by_its_shift(space: str, constant: str) -> None:
    prediction = torch.full_like(DEPTH, 0.5) if constant in ("prediction", "both") else DEPTH / 10
    truth = torch.full_like(DEPTH, 2.0) if constant in ("truth", "both") else DEPTH
    values = scored("affine_depth", (prediction, truth), space=space)
    assert all(np.isfinite(value) for name, value in values.items() if name != "measured")
    assert (values["rel"] == pytest.approx(0, abs=1e-6)) == (constant != "prediction")


@pytest.mark.parametrize("prediction", [DEPTH * torch.nan, -DEPTH, torch.zeros_like(DEPTH)])
def test_a_broken_disparity_is_an_error_and_no_empty_image(prediction: Tensor) -> None:
    """It used to be left out of the mean, as if there were no truth."""
    with pytest.raises(ValueError, match="not finite|not above 0"):
        scored("affine_depth", (prediction, DEPTH), space="disparity")


def test_metric_depth_needs_depths_and_a_prediction_that_differ() -> None:
    varied = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)
    prediction = AffineDepthPrediction(values=varied, space="depth")
    with pytest.raises(ValueError, match="two valid pixels"):
        prediction.align_to(np.zeros((6, 8)))
    with pytest.raises(ValueError, match="known depth is constant"):
        prediction.align_to(np.full((6, 8), 2.7))
    with pytest.raises(ValueError, match="prediction is constant"):
        AffineDepthPrediction(values=np.full((6, 8), 0.5, np.float32), space="depth").align_to(1 + varied)


@pytest.mark.parametrize("loss", ["latent", "image", "customised"])
@pytest.mark.parametrize("space", ["depth", "disparity"])
@pytest.mark.parametrize("level", [0.0, 2.0])
def test_training_on_constant_or_empty_depth_stays_finite(loss: str, space: str, level: float) -> None:
    model = small_model(loss=loss, space=space).build()
    result = model.training_loss({"image": torch.zeros(1, 3, 24, 40), "depth": torch.full((1, 24, 40), level)})["loss"]
    result.backward()
    assert result.isfinite() and (level > 0 or result == 0)
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def write_depth(path: Path, millimetres: int) -> None:
    cv2.imwrite(str(path), np.full_like(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), millimetres))


@pytest.mark.slow
def test_no_nan_reaches_a_record_of_real_files(weights: Path, tmp_path: Path) -> None:
    """One picture of constant depth, one whose depth is all beyond the protocol's range, one as it should be."""
    write_mini("nyu", tmp_path / "nyu", train=1, val=3, size=(72, 96))
    constant, other = sorted((tmp_path / "nyu/test").rglob("sync_depth_*.png"))[:2]
    write_depth(constant, 2000)
    write_depth(other, 0)
    recipe = override(named_recipe("genpercept_depth_mini"), parse_overrides([f"data.root={tmp_path / 'nyu'}"]))
    with pytest.raises(DataError, match=f"{other.parent.name}.*holds no measurement to evaluate against"):
        evaluate(recipe, checkpoint=weights, output=tmp_path / "results", progress=False)
    write_depth(other, 20_000)
    evaluate(recipe, checkpoint=weights, output=tmp_path / "results", progress=False)
    path = tmp_path / "results/mini/runs/genpercept_depth_mini/record.json"
    assert "NaN" not in path.read_text() and "Infinity" not in path.read_text()
    (score,) = load_record(path).scores
    assert score.measured == 2 and all(np.isfinite(getattr(score, name)) for name in score.measures())


# --- normals that are not unit length ---------------------------------------------------------------------------------


UNIT = torch.nn.functional.normalize(torch.randn(1, 3, 16, 24, generator=torch.Generator().manual_seed(0)), dim=1)


@pytest.mark.parametrize("bad", [2 * UNIT, 0.5 * UNIT, UNIT * torch.nan])
@pytest.mark.parametrize("loss", ["latent", "image", "angular"])
def test_true_normals_that_are_not_unit_length_are_refused_by_every_loss(bad: Tensor, loss: str) -> None:
    config = small_model(task="normals", loss=loss)
    assert label_of({"normals": UNIT}, config).valid.all()
    with pytest.raises(ValueError, match="not unit vectors"):
        label_of({"normals": bad}, config)


def test_true_normals_that_are_not_unit_length_are_refused_by_the_measure_and_the_reader(tmp_path: Path) -> None:
    for bad in (2 * UNIT, UNIT * torch.nan):
        with pytest.raises(ValueError, match="not unit vectors|no pixel has a valid normal"):
            scored("normals", (UNIT[0], bad[0]))
        with pytest.raises(ValueError, match="not unit vectors"):
            angular_loss(UNIT, bad)
    Image.fromarray(np.full((6, 8, 3), 130, np.uint8)).save(tmp_path / "normals.png")
    with pytest.raises(DataError, match="48 of its vectors are not of unit length"):
        read_normals(tmp_path / "normals.png")


def test_predicted_normals_may_be_of_any_length() -> None:
    """Only their direction counts; one without a direction is off by a right angle."""
    for scale in (1, 3):
        assert scored("normals", (scale * UNIT[0], UNIT[0]))["mean_angle"] == pytest.approx(0, abs=0.05)
    assert scored("normals", (torch.zeros(3, 16, 24), UNIT[0]))["mean_angle"] == 90
    nothing = scored("normals", (UNIT[0], torch.zeros(3, 16, 24)))
    nothing.pop("measured")
    assert set(nothing.values()) == {None}


# --- opacity outside [0, 1], trimaps of other values ------------------------------------------------------------------


GREY = torch.rand(16, 24, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("task", ["matting", "dichotomous"])
@pytest.mark.parametrize("bad", [1.5 * GREY, GREY - 0.5, GREY * torch.nan])
def test_opacity_outside_its_range_is_never_measured(task: str, bad: Tensor) -> None:
    for pair in ((bad, GREY), (GREY, bad)):
        with pytest.raises(ValueError, match=r"not finite|opacity is in \[0, 1\]"):
            scored(task, pair)


@pytest.mark.parametrize(("key", "fields"), [("alpha", MATTE), ("mask", MATTE | {"task": "dichotomous"})])
def test_opacity_in_training_is_refused_above_one_and_unknown_below_zero(key: str, fields: dict) -> None:
    config = small_model(**fields)
    for bad in (1.5 * GREY, GREY * torch.nan):
        with pytest.raises(ValueError, match="not finite or above 1"):
            label_of({key: bad[None]}, config)
    label = label_of({key: torch.where(GREY < 0.5, -1, GREY)[None]}, config)
    assert torch.equal(label.valid[0, 0], GREY >= 0.5) and label.values.isfinite().all()


@pytest.mark.parametrize("level", [-0.1, 1.1, np.nan])
def test_a_prediction_outside_its_range_is_never_written(level: float) -> None:
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        MattePrediction(opacity=np.full((4, 4), level, np.float32))


def test_masks_without_foreground_have_numbers() -> None:
    for truth in (torch.zeros(16, 24), torch.ones(16, 24)):
        for prediction in (GREY, torch.zeros(16, 24)):
            for task in ("matting", "dichotomous"):
                values = scored(task, (prediction, truth))
                values.pop("measured")
                assert all(np.isfinite(value) for value in values.values()), task


def test_a_matte_in_colours_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "matte.png"), np.dstack([np.full((6, 8), value, np.uint8) for value in (1, 2, 3)]))
    with pytest.raises(DataError, match="has colours"):
        read_opacity(tmp_path / "matte.png")


@pytest.mark.parametrize(
    ("values", "words"),
    [((0, 128, 254), r"holds 0, 128 and 255; this one has \[254\]"), ((0, 255), "no unknown pixel")],
)
def test_trimaps_of_other_values_are_refused(values: tuple[int, ...], words: str) -> None:
    alpha = GREY.numpy()
    trimap = np.resize(np.array(values, np.uint8), alpha.shape)
    with pytest.raises(ValueError, match=words):
        MattingErrors().update(alpha, alpha, trimap)
