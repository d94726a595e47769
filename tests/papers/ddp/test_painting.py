"""Figure 10: a ControlNet on a tiny latent diffusion model of random weights."""

import dataclasses

import matplotlib as mpl
import numpy as np
import pytest
import torch
from workbook.tiny import tiny, write_data

from ddp_repro.papers.ddp.build import build_model
from ddp_repro.settings.errors import ConfigError
from ddp_repro.workbook.runs.run import training_dataset

diffusers = pytest.importorskip("diffusers")
from ddp_repro.papers.ddp.figures.figure10 import figure_10, paint_predictions  # noqa: E402
from ddp_repro.papers.ddp.painting import agreement, sources  # noqa: E402
from ddp_repro.papers.ddp.painting.painter import Painter  # noqa: E402
from ddp_repro.papers.ddp.painting.training import ControlTraining, train_control  # noqa: E402

mpl.use("Agg")
SIZE = (32, 48)


def make_painter() -> Painter:
    """A latent diffusion model of random weights, of 4 pixels a latent's position."""
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8, cross_attention_dim=16,
        attention_head_dim=2, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 16, 16), down_block_types=("DownEncoderBlock2D",) * 3, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 3, layers_per_block=1,
    )  # fmt: skip
    return Painter.assemble(unet, vae, torch.zeros(1, 1, 16), diffusers.DDIMScheduler())


@pytest.fixture
def painter() -> Painter:
    return make_painter()


@pytest.fixture(scope="module")
def streets(tmp_path_factory):
    """A segmentor that was not trained, and its training images."""
    recipe = tiny("cityscapes_mini", write_data("cityscapes", tmp_path_factory.mktemp("data")))
    torch.manual_seed(0)
    segmentor = build_model(recipe.model)
    return segmentor, training_dataset(recipe, segmentor)


def maps(number: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (number, *SIZE, 3), np.uint8)


def trained(painter: Painter, dataset, folder, **changes) -> list[float]:
    settings = ControlTraining(**({"iterations": 4, "batch_size": 2, "learning_rate": 1e-3} | changes))
    return train_control(painter, dataset, SIZE, settings, folder)


def test_a_new_controlnet_changes_nothing(painter):
    alone = painter.paint(maps(2), [0, 1], steps=2, strength=0.0)
    assert (painter.paint(maps(2), [0, 1], steps=2) == alone).all()
    assert alone.shape == (2, *SIZE, 3)
    assert alone.dtype == np.uint8


def test_a_picture_hangs_on_its_own_seed_alone(painter):
    both = painter.paint(maps(2), [7, 8], steps=2).astype(int)
    assert np.abs(painter.paint(maps(2)[1:], [8], steps=2)[0] - both[1]).max() <= 1
    assert np.abs(painter.paint(maps(2)[1:], [9], steps=2)[0] - both[1]).max() > 10


def test_training_changes_the_controlnet_alone_and_then_maps_matter(painter, streets, tmp_path):
    frozen = {n: v.clone() for part in ("unet", "vae") for n, v in getattr(painter.pipeline, part).state_dict().items()}
    losses = trained(painter, streets[1], tmp_path, iterations=6, learning_rate=1e-2)
    assert len(losses) == 6
    after = {n: v for part in ("unet", "vae") for n, v in getattr(painter.pipeline, part).state_dict().items()}
    assert all(torch.equal(frozen[name], after[name]) for name in frozen)
    one, other = (painter.paint(shown, [3], steps=2) for shown in (maps(2)[:1], 255 - maps(2)[:1]))
    assert (one != other).any()


def test_an_interrupted_training_ends_like_one_that_was_not(painter, streets, tmp_path):
    start = {name: value.clone() for name, value in painter.pipeline.controlnet.state_dict().items()}
    whole = trained(painter, streets[1], tmp_path / "whole")
    expected = {name: value.clone() for name, value in painter.pipeline.controlnet.state_dict().items()}
    painter.pipeline.controlnet.load_state_dict(start)
    trained(painter, streets[1], tmp_path / "parts", iterations=2, save_every=2)
    painter.pipeline.controlnet.load_state_dict(start)  # another process knows nothing
    assert trained(painter, streets[1], tmp_path / "parts", save_every=2) == pytest.approx(whole, rel=1e-4)
    for name, value in painter.pipeline.controlnet.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-4)


def test_another_training_in_the_same_folder_is_refused(painter, streets, tmp_path):
    trained(painter, streets[1], tmp_path, iterations=1)
    with pytest.raises(ConfigError, match=r"another training \(other learning_rate\)"):
        trained(painter, streets[1], tmp_path, iterations=2, learning_rate=1e-2)
    assert len(trained(painter, streets[1], tmp_path, iterations=2)) == 2
    assert [path.name for path in tmp_path.glob("state-*")] == ["state-000000002"]


def test_from_folders_and_back(painter, streets, tmp_path):
    painter.pipeline.save_pretrained(tmp_path / "base")
    trained(painter, streets[1], tmp_path / "training", learning_rate=1e-2)
    loaded = sources.find_painter(str(tmp_path / "base"), str(tmp_path / "training/controlnet"))
    picture = painter.paint(maps(1), [0], steps=2).astype(int)
    assert np.abs(loaded.paint(maps(1), [0], steps=2) - picture).max() <= 1
    new = sources.find_painter(str(tmp_path / "base"), None)
    assert np.abs(new.paint(maps(1), [0], steps=2) - picture).max() > 1


def test_from_prediction_to_figure(painter, streets):
    painted = paint_predictions(painter, *streets, [0, 1, 2], SIZE, seeds=(0, 1), steps=2)
    assert painted.paintings.shape == (2, 3, *SIZE, 3)
    figure = figure_10(painted, "a painter that knows nothing", ["cityscapes_mini"])
    titles = [axes.get_title() for axes in figure.drawing.axes[:5]]
    assert titles == ["image", "predicted map", "painting 1", "painting 2", "seen in 1"]
    assert f"{painted.agreement.miou:.1f} mIoU" in figure.caption


def test_agreement_tells_the_own_map_from_anothers(streets, monkeypatch):
    labels = np.stack([np.zeros(SIZE, int), np.ones(SIZE, int)])
    paintings = np.stack([np.full((*SIZE, 3), value, np.uint8) for value in (0, 1)])
    segmentor = streets[0]

    def sees(_, picture):
        return type("Seen", (), {"labels": picture[..., 0].astype(int)})

    monkeypatch.setattr(agreement, "predict", sees)
    measured = agreement.measure_agreement(segmentor, paintings[None], labels)
    assert dataclasses.astuple(measured)[:4] == (100.0, 0.0, 100.0, 0.0)
    assert (measured.gain.estimate, measured.gain.low, measured.gain.count) == (100.0, 100.0, len(labels))
    half = agreement.measure_agreement(segmentor, np.stack([paintings, np.roll(paintings, 1, axis=0)]), labels)
    assert (half.pixels, half.other_pixels, half.gain.estimate) == (50.0, 50.0, 0.0)
    with pytest.raises(ValueError, match="at least two pictures"):
        agreement.measure_agreement(segmentor, paintings[None, :1], labels[:1])


@pytest.mark.parametrize(
    ("base", "control", "prompt", "message"),
    [
        ("nowhere/at-all", None, "", "no latent diffusion model nowhere/at-all"),
        ("recipe:genpercept_depth_mini", None, "", "trains no latent diffusion model"),
        ("recipe:genpercept_depth_mini", None, "a street", "without text"),
    ],
)
def test_painters_that_cannot_be_had(base, control, prompt, message, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=message):
        sources.find_painter(base, control, prompt, preset="mini")


def test_maps_that_do_not_fit_are_refused(painter):
    with pytest.raises(ValueError, match="multiples of 8"):
        painter.paint(np.zeros((1, 30, 48, 3), np.uint8), [0])
    with pytest.raises(ValueError, match="as many seeds"):
        painter.paint(maps(2), [0])
    with pytest.raises(ConfigError, match="iterations must be at least 1"):
        ControlTraining(iterations=0)
