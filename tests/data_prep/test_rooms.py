"""Rooms: exact depth, repeatable, furnished without collisions."""

import dataclasses

import numpy as np
import pytest

from data_prep.scenes import ROOM_CLASSES, Camera, Part, Piece, Room, View, random_room, render_room
from data_prep.scenes.room_looks import LOOKS
from data_prep.scenes.room_things import AT_WALLS, LOOSE

FOCAL = 52.0
ROWS, COLUMNS = np.arange(48)[:, None] + 0.5 - 24, np.arange(64)[None, :] + 0.5 - 32  # from the optical axis


def room(seed: int = 0) -> Room:
    return random_room(np.random.default_rng(seed), 64, 48, focal=FOCAL)


def bare(*pieces: Piece, **turns: float) -> Room:
    """An empty room 6 m wide, 3 m high and 5 m long, seen from a height of 1.4 m and 1 m from the near wall."""
    view = View(Camera(64, 48, FOCAL, 32.0, 24.0, 1.4), x=0.0, z=1.0, **turns)
    return dataclasses.replace(room(), view=view, width=6.0, height=3.0, length=5.0, pieces=pieces)


def pixels(name: str, rendering) -> np.ndarray:
    return rendering.classes == ROOM_CLASSES.index(name)


def single(shape: str, width: float = 1.0, height: float = 1.0, depth: float = 1.0, y: float = 0.9, **place) -> Room:
    part = Part(shape, 0.0, y, 0.0, width, height, depth, (0.5, 0.4, 0.3))
    return bare(Piece((part,), **{"x": 0.0, "z": 3.5, **place}))


def test_form_of_a_rendering():
    rendering = render_room(room())
    assert rendering.rgb.shape == (48, 64, 3) and rendering.rgb.dtype == np.uint8
    assert rendering.classes.dtype == np.uint8 and rendering.classes.max() < len(ROOM_CLASSES)
    assert rendering.depth.dtype == np.float32 and rendering.depth.shape == rendering.classes.shape == (48, 64)


def test_equal_seeds_give_equal_rooms_and_pixels():
    assert room(3) == room(3) and room(3) != room(4)
    one, two = render_room(room(3)), render_room(room(3))
    assert np.array_equal(one.rgb, two.rgb) and np.array_equal(one.depth, two.depth)


def test_walls_floor_and_ceiling_are_planes():
    rendering = render_room(bare())
    far = np.full((48, 64), 4.0)
    floor = np.where(ROWS > 0, FOCAL * 1.4 / np.maximum(ROWS, 1e-9), np.inf)  # z = h f / (v - cy)
    ceiling = np.where(ROWS < 0, FOCAL * 1.6 / np.maximum(-ROWS, 1e-9), np.inf)
    sides = FOCAL * 3.0 / np.abs(COLUMNS)
    planes = np.stack(np.broadcast_arrays(far, floor, ceiling, sides))
    assert np.allclose(rendering.depth, planes.min(0), rtol=1e-5)
    names = np.array([ROOM_CLASSES.index(name) for name in ("wall", "floor", "ceiling", "wall")])
    assert np.array_equal(rendering.classes, names[planes.argmin(0)])


def test_a_tilted_camera_sees_the_floor_as_a_tilted_plane():
    pitch = -0.3
    rendering = render_room(bare(pitch=pitch))
    floor = pixels("floor", rendering)
    expected = FOCAL * 1.4 / (ROWS * np.cos(pitch) - FOCAL * np.sin(pitch))
    assert floor.sum() > 500
    assert np.allclose(rendering.depth[floor], np.broadcast_to(expected, floor.shape)[floor], rtol=1e-5)


def test_yaw_turns_to_the_right_and_roll_clockwise():
    depth = render_room(bare(yaw=np.pi / 2)).depth
    assert np.isclose(depth[24, 32], 3.0, rtol=1e-5)  # the right wall, now straight ahead
    rolled = pixels("floor", render_room(bare(pitch=-0.3, roll=0.2)))
    assert rolled[:, :32].sum() < rolled[:, 32:].sum() - 50  # a camera turned clockwise sees the world turned back


def test_a_box_straight_ahead():
    rendering = render_room(single("box"))
    rows, columns = np.nonzero(pixels("furniture", rendering))
    half = FOCAL * 0.5 / 2.0  # its front is 2 m away
    assert np.allclose(rendering.depth[rows, columns], 2.0, rtol=1e-5)
    assert np.array_equal(np.unique(rows), np.flatnonzero(np.abs(ROWS[:, 0]) < half))
    assert np.array_equal(np.unique(columns), np.flatnonzero(np.abs(COLUMNS[0]) < half))


def test_a_turned_box_shows_its_edge():
    rendering = render_room(single("box", turn=np.pi / 4))
    seen = pixels("furniture", rendering)
    assert np.isclose(rendering.depth[seen].min(), 2.5 - np.sqrt(0.5), atol=0.03)
    slopes = np.where(COLUMNS > 0, 1.0, -1.0) * COLUMNS / FOCAL  # |x| = z - (2.5 - sqrt(1/2)) on both faces
    expected = np.broadcast_to((2.5 - np.sqrt(0.5)) / (1 - slopes), seen.shape)
    assert np.allclose(rendering.depth[24, 22:42], expected[24, 22:42], rtol=1e-4)


@pytest.mark.parametrize("shape", ["cylinder", "ellipsoid"])
def test_round_shapes(shape: str):
    rendering = render_room(single(shape))
    seen = pixels("furniture", rendering)
    rise = ROWS / FOCAL if shape == "ellipsoid" else 0.0 * ROWS
    square = (COLUMNS / FOCAL) ** 2 + rise**2 + 1
    root = 2.5**2 - square * (2.5**2 - 0.25)
    expected = np.where(root > 0, (2.5 - np.sqrt(np.maximum(root, 0))) / square, np.inf)
    inside = seen & (np.abs(ROWS) < 10)
    assert inside.sum() > 300 and np.allclose(rendering.depth[inside], expected[inside], rtol=1e-4)
    if shape == "ellipsoid":
        assert np.array_equal(seen, np.isfinite(expected))


def test_the_top_of_a_cylinder_is_flat():
    rendering = render_room(single("cylinder", height=0.9, y=0.0))
    rows, columns = np.nonzero(pixels("furniture", rendering))
    top = np.isclose(rendering.depth[rows, columns], FOCAL * 0.5 / ROWS[rows, 0], rtol=1e-4)
    assert top.sum() > 50 and (~top).sum() > 50 and rows[top].max() <= rows[~top].max()


@pytest.mark.parametrize("order", [1, -1])
def test_nearer_pieces_hide_farther_ones_in_any_order(order: int):
    near, far = single("box", z=2.5).pieces[0], single("box", width=3.0, height=2.0, y=0.4, z=4.0).pieces[0]
    alone = [render_room(bare(piece)).depth for piece in (near, far)]
    assert np.array_equal(render_room(bare(*(near, far)[::order])).depth, np.minimum(*alone))


def test_what_is_behind_or_around_the_camera_changes_nothing():
    behind = single("box", z=0.2).pieces[0]
    assert np.array_equal(render_room(bare(behind)).depth, render_room(bare()).depth)
    close = render_room(single("box", width=5.0, height=0.2, depth=3.0, y=1.0, z=1.5))  # reaches past the camera
    assert np.allclose(close.depth[-1], FOCAL * 0.2 / ROWS[-1], rtol=1e-4)


def test_furniture_stands_in_the_room_apart_from_other_furniture():
    for seed in range(12):
        drawn = room(seed)
        corners = []
        for piece in drawn.pieces:
            low, high = piece.bounds
            xz = np.array([(x, z) for x in (low[0], high[0]) for z in (low[2], high[2])])
            cos, sin = np.cos(piece.turn), np.sin(piece.turn)
            xz = xz @ np.array([[cos, -sin], [sin, cos]]) + (piece.x, piece.z)
            standing = low[1] < 0.1 and high[1] > 0.1 and high[2] - low[2] > 0.1 and piece.parts[0].kind != "window"
            if standing:
                corners.append(xz)
        assert corners
        for xz in corners:
            assert (np.abs(xz[:, 0]) <= drawn.width / 2 + 0.02).all()
            assert (xz[:, 1] >= -0.02).all() and (xz[:, 1] <= drawn.length + 0.02).all()
        for i, one in enumerate(corners):
            for other in corners[:i]:
                overlap = np.minimum(one.max(0), other.max(0)) - np.maximum(one.min(0), other.min(0))
                assert overlap.min() <= 1e-6


def test_builders_stand_on_the_floor_and_use_known_looks():
    for build in {*AT_WALLS, *LOOSE}:
        for seed in range(5):
            piece = build(np.random.default_rng(seed))
            assert -1e-9 <= piece.bounds[0, 1] <= 0.08 and piece.bounds[1, 1] < 2.4
            assert all(part.look in LOOKS and part.kind in ROOM_CLASSES for part in piece.parts)
            assert all(min(part.width, part.height, part.depth) > 0 for part in piece.parts)


def test_rooms_are_varied_and_depth_is_not_told_by_the_row():
    renderings = [render_room(room(seed)) for seed in range(30)]
    found = {ROOM_CLASSES[i] for rendering in renderings for i in np.unique(rendering.classes)}
    assert found == set(ROOM_CLASSES)
    depth = np.stack([rendering.depth for rendering in renderings])
    assert depth.min() > 0.3 and depth.max() < 11
    brightness = [rendering.rgb.mean() for rendering in renderings]
    assert min(brightness) > 40 and max(brightness) < 200
    row = np.median(depth, axis=(0, 2), keepdims=True)
    assert np.mean(np.abs(depth - row) / depth) > 0.2
