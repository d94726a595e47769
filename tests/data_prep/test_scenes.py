"""Street scenes: exact, repeatable, and with something of everything in them."""

import dataclasses

import numpy as np
import pytest

from data_prep.scenes import CLASSES, Camera, Scene, Thing, random_street, render
from data_prep.scenes.canvas import Canvas, noise


def street(seed: int = 0, **options) -> Scene:
    return random_street(np.random.default_rng(seed), 96, 64, **options)


def bare(*things: Thing, **changes) -> Scene:
    """A street with these things alone, seen straight ahead from a height of 1.5 m with a focal length of 60 px."""
    camera = Camera(width=96, height=64, focal=60.0, center_x=48.0, horizon=32.0, elevation=1.5)
    return dataclasses.replace(street(), camera=camera, things=things, crossing=None, hood=False, **changes)


def pixels(name: str, scene: Scene) -> np.ndarray:
    return render(scene).classes == CLASSES.index(name)


def test_form_of_a_rendering():
    rendering = render(street())
    assert rendering.rgb.shape == (64, 96, 3) and rendering.rgb.dtype == np.uint8
    assert rendering.classes.shape == rendering.depth.shape == (64, 96)
    assert rendering.classes.dtype == np.uint8 and rendering.classes.max() < len(CLASSES)
    assert rendering.depth.dtype == np.float32 and rendering.depth.min() > 0
    assert np.array_equal(np.isinf(rendering.depth), rendering.classes == CLASSES.index("sky"))


def test_equal_seeds_give_equal_scenes_and_pixels():
    assert street(3) == street(3) and street(3) != street(4)
    one, two = render(street(3)), render(street(3))
    assert np.array_equal(one.rgb, two.rgb) and np.array_equal(one.depth, two.depth)


def test_ground_depth_is_that_of_a_plane():
    rendering = render(bare())
    rows = np.arange(32, 64)
    expected = 60.0 * 1.5 / (rows + 0.5 - 32.0)
    assert np.allclose(rendering.depth[32:], expected[:, None], rtol=1e-5)
    assert np.isinf(rendering.depth[:32]).all()


def test_card_covers_its_projection_at_its_distance():
    scene = bare(Thing("bin", x=1.0, z=10.0, width=1.0, height=1.2))
    bin_pixels = pixels("other", scene)
    rows, cols = np.nonzero(bin_pixels)
    assert np.allclose(render(scene).depth[bin_pixels], 10.0)
    left, right = 48 + 60 * 0.5 / 10, 48 + 60 * 1.5 / 10  # a bin is narrower than its card
    assert left <= cols.min() and cols.max() < right
    assert rows.max() == 32 + 60 * 1.5 / 10 - 1 and abs(rows.min() - (32 + 60 * 0.3 / 10)) <= 1


def test_wall_depth_is_that_of_a_plane_along_the_street():
    scene = bare(Thing("fence", x=4.0, z=8.0, width=0.1, height=1.4, length=20.0))
    rendering = render(scene)
    rows, cols = np.nonzero(rendering.classes == CLASSES.index("fence"))
    depth = rendering.depth[rows, cols]
    assert np.allclose(depth, 60.0 * 4.0 / (cols + 0.5 - 48.0), rtol=1e-4)
    assert depth.min() >= 8.0 and depth.max() <= 28.0


@pytest.mark.parametrize("order", [1, -1])
def test_nearer_things_hide_farther_ones_in_any_order(order: int):
    near = Thing("bin", x=0.0, z=6.0, width=1.0, height=1.0)
    far = Thing("crossing car", x=0.0, z=12.0, width=4.3, height=1.5)
    scene = bare(*(near, far)[::order])
    both = render(scene)
    assert np.array_equal(both.classes == CLASSES.index("other"), pixels("other", bare(near)))
    hidden = pixels("other", bare(near))
    assert np.array_equal(both.classes == CLASSES.index("car"), pixels("car", bare(far)) & ~hidden)


def test_things_out_of_view_change_nothing():
    behind = [Thing("person", x=50.0, z=5.0, width=0.8, height=1.8), Thing("tree", x=-90.0, z=30.0, width=4, height=8)]
    assert (render(bare(*behind)).classes == render(bare()).classes).all()


@pytest.mark.parametrize("kind", ["tree", "bush"])
def test_crowns_stay_inside_their_card(kind: str):
    """A crown cut off by its card would have a straight edge."""
    for seed in range(20):
        scene = bare(Thing(kind, x=0.0, z=9.0, width=4.0, height=4.0, seed=seed))
        rows, cols = np.nonzero(pixels("tree", scene))
        left, right, top = 48 - 60 * 2 / 9, 48 + 60 * 2 / 9, 32 - 60 * 2.5 / 9
        edges = (cols <= left + 1).sum(), (cols >= right - 1).sum(), (rows <= top + 1).sum()
        assert max(edges) <= 9


def test_poles_are_unbroken_however_far():
    for z in (8.0, 20.0, 40.0, 70.0):
        rows, cols = np.nonzero(pixels("pole", bare(Thing("sign", x=0.3, z=z, width=1.0, height=3.0, seed=0))))
        assert len(np.unique(rows)) == rows.max() - rows.min() + 1
        assert np.ptp(cols) <= max(1, int(60 * 0.2 / z))


def test_every_class_occurs():
    found = set()
    for seed in range(40):
        found |= set(np.unique(render(street(seed, hood=seed % 2 == 0)).classes).tolist())
    assert {CLASSES[i] for i in found} == set(CLASSES)


def test_hood_is_at_the_bottom():
    hood = render(street(hood=True)).classes == CLASSES.index("ego vehicle")
    assert hood[-1].any() and not hood[: 64 * 8 // 10].any()
    assert not (render(street()).classes == CLASSES.index("ego vehicle")).any()


def test_doubled_camera_samples_pixel_centres():
    camera = street().camera
    fine, coarse = Canvas(camera.doubled()), Canvas(camera)
    assert np.allclose(fine.columns[1::2] / fine.camera.focal, coarse.columns / camera.focal, atol=1e-6)
    assert np.allclose(fine.rows[1::2] / fine.camera.focal, coarse.rows / camera.focal, atol=1e-6)


def test_noise_is_fixed_to_the_surface():
    s, t = np.linspace(-9, 9, 50, dtype=np.float32)[None], np.linspace(0, 5, 20, dtype=np.float32)[:, None]
    whole = noise(s, t, 1.0, 3)
    assert np.allclose(whole[5:9, 10:30], noise(s[:, 10:30], t[5:9], 1.0, 3))
    assert whole.min() >= 0 and whole.max() <= 1 and whole.std() > 0.1
