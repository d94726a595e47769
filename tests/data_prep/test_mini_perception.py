"""Synthetic normals, masks and mattes: exact, in the published layouts, and verified."""

import cv2
import numpy as np
import pytest

from data_prep.mini import write_mini
from data_prep.placed import SETS
from data_prep.scenes import random_room, render_room
from data_prep.scenes.strands import compose_head, trimap
from data_prep.verify import verify
from ddp_repro.data.io import DataError

SIZE = (48, 64)


@pytest.mark.parametrize("name", ["nyu_normals", "dis5k", "p3m10k", "aim500"])
def test_written_sets_verify_and_damage_is_found(name, tmp_path):
    root = tmp_path / name
    write_mini(name, root, val=1, size=SIZE, **({} if name == "aim500" else {"train": 1}))
    report = verify(name, root)
    assert report.ok, str(report)
    split = next(split for split in reversed(report.splits) if split.found)
    label = SETS[name].list_samples(root, split.split)[0].label
    cv2.imwrite(str(label), np.zeros((5, 5, 3), np.uint8))
    assert not verify(name, root).ok


def test_prepared_sets_are_put_into_place(tmp_path):
    write_mini("dis5k", tmp_path / "source", train=1, val=1, size=SIZE)
    SETS["dis5k"].convert(tmp_path / "source", tmp_path / "target")
    assert len(SETS["dis5k"].list_samples(tmp_path / "target", "DIS-VD")) == 1
    with pytest.raises(DataError, match="none of the splits"):
        SETS["p3m10k"].convert(tmp_path / "source", tmp_path / "other")


def test_normals_are_those_of_the_depth():
    width, height, focal = 96, 72, 80.0
    room = random_room(np.random.default_rng(3), width, height, focal=focal)
    seen = render_room(room)
    assert np.allclose(np.linalg.norm(seen.normals, axis=2), 1, atol=1e-3)
    across = (np.arange(width) + 0.5 - room.view.camera.center_x) / focal
    down = (np.arange(height) + 0.5 - room.view.camera.horizon) / focal
    points = np.dstack([*np.meshgrid(across, down), np.ones((height, width))]) * seen.depth[..., None]
    cross = np.cross(np.gradient(points, axis=0), np.gradient(points, axis=1))
    cross /= np.linalg.norm(cross, axis=2, keepdims=True)
    cosine = np.abs((cross * seen.normals).sum(2))
    assert np.median(np.degrees(np.arccos(cosine.clip(0, 1)))) < 1.0
    assert ((seen.normals * points).sum(2) < 0).mean() > 0.99  # out of the surface: towards the camera


def test_alpha_is_the_mean_of_what_is_drawn_finer():
    background = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    head = compose_head(background, np.random.default_rng(1))
    assert np.array_equal(head.alpha * 64, (head.alpha * 64).round())
    assert ((head.alpha > 0) & (head.alpha < 1)).any() and (head.alpha == 1).any() and (head.alpha == 0).any()
    assert np.array_equal(head.rgb[head.alpha == 0], background[head.alpha == 0])
    again = compose_head(255 - background, np.random.default_rng(1))
    # What shows through of the background is 1 - alpha of it, up to the rounding of both pictures.
    shown = head.rgb.astype(float) - again.rgb
    expected = (1 - head.alpha[..., None]) * (background.astype(float) - (255 - background.astype(float)))
    assert np.abs(shown - expected).max() <= 1.0
    unknown = trimap(head.alpha, 1)
    assert set(np.unique(unknown)) == {0, 128, 255}
    soft = (head.alpha > 1 / 255) & (head.alpha < 254 / 255)
    assert (unknown[soft] == 128).all()
