"""``predict`` with a DDPS model: the segmentor's mask, the refined one, where they differ, uncertainty over samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ddp_repro
from ddp_repro.settings.errors import ConfigError
from ddp_repro.tasks.segmentation.pictures import save_prediction

from . import tiny

PICTURE = np.random.default_rng(0).integers(0, 255, (40, 52, 3), np.uint8)
PALETTE = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)]


def test_a_prediction_shows_what_was_refined() -> None:
    model = tiny.model()
    prediction = ddp_repro.predict(model, PICTURE, steps=3, noise_samples=3)
    assert prediction.labels.shape == prediction.base.shape == prediction.disagreement.shape == (40, 52)
    assert prediction.disagreement.min() >= 0 and prediction.disagreement.max() < 1
    pixels = torch.from_numpy(((PICTURE - np.array(model.mean)) / np.array(model.std)).astype(np.float32))
    features = model.encode_image(pixels.permute(2, 0, 1)[None])
    logits = torch.nn.functional.interpolate(model.base_prediction(features), (40, 52), mode="bilinear")
    assert (prediction.base == logits.argmax(1)[0].numpy()).mean() > 0.99
    assert model.segmentor.runs == 2  # once for the prediction, once here


def test_a_picture_has_no_unlabelled_pixels() -> None:
    """Although the model may say so, and does here."""
    model = tiny.model()
    with torch.no_grad():
        model.prior.conv_seg_new.bias[0] = 100
    assert model.sample(torch.zeros(1, 3, 32, 32), steps=1).argmax(1).unique().tolist() == [4]
    assert ddp_repro.predict(model, PICTURE, steps=2).labels.max() < 4


def test_one_sample_has_no_disagreement_and_one_step_model_takes_one_step() -> None:
    assert ddp_repro.predict(tiny.model(), PICTURE, steps=2).disagreement is None
    single = tiny.model(stage="single")
    assert ddp_repro.predict(single, PICTURE, steps=1).base is not None
    with pytest.raises(ConfigError, match=r"1..T = 1; got 3"):
        ddp_repro.predict(single, PICTURE)


def test_files_of_a_prediction(tmp_path: Path) -> None:
    prediction = ddp_repro.predict(tiny.model(), PICTURE, steps=3, noise_samples=2)
    paths = save_prediction(prediction, PICTURE, PALETTE, tmp_path / "maps", "x")
    kinds = [path.stem.removeprefix("x_") for path in paths]
    assert kinds == ["labels", "overlay", "uncertainty", "change_count", "disagreement", "base", "changed"]
    labels, base, changed = (
        np.asarray(Image.open(tmp_path / "maps" / f"x_{k}.png")) for k in ("labels", "base", "changed")
    )
    assert ((labels != base) == (changed == 255)).all() and (base == prediction.base).all()


def test_released_weights_have_no_base_to_show() -> None:
    model = tiny.model()
    for parameter in model.segmentor.classifier.parameters():
        parameter.data.zero_()
    assert ddp_repro.predict(model, PICTURE, steps=2).base is None
