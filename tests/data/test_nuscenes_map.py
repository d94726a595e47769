"""Drawing the map: equal to nuscenes-devkit's masks, and what the devkit's peculiarities are."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely
from shapely import LineString, MultiPolygon, Polygon, box

from ddp_repro.data.io import DataError
from ddp_repro.tasks.bev.nuscenes.geometry import ground_patch, project_points
from ddp_repro.tasks.bev.nuscenes.map import AREAS, CLASS_LAYERS, LINES, LOCATIONS, GroundMap
from ddp_repro.tasks.bev.settings import MAP_CLASSES
from tests.data.nuscenes_files import tiny_nuscenes


def draw(layers: dict[str, list], x: float = 0.0, y: float = 0.0, angle: float = 0.0, **options) -> np.ndarray:
    named = {name: [(f"{name} {i}", shape) for i, shape in enumerate(shapes)] for name, shapes in layers.items()}
    return GroundMap("town", named).masks(x, y, angle, **options)


def test_classes_are_the_models() -> None:
    assert tuple(CLASS_LAYERS) == MAP_CLASSES


def test_axes() -> None:
    """The first index runs along the patch's first axis, cell 0 at its negative end."""
    mask = draw({"walkway": [box(10, -20, 30, -19)]})[MAP_CLASSES.index("walkway")]
    assert mask.dtype == np.uint8 and mask.shape == (200, 200)
    xs, ys = np.nonzero(mask)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (120, 160, 60, 62)  # corners are rounded and drawn inclusively
    turned = draw({"walkway": [box(10, -20, 30, -19)]}, angle=90)[MAP_CLASSES.index("walkway")]
    xs, ys = np.nonzero(turned)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (60, 62, 40, 80)  # x' = y, y' = -x


def test_holes_erase_what_was_drawn_before() -> None:
    ring = box(-20, -20, 20, 20).difference(box(-10, -10, 10, 10))
    island = box(-3, -3, 3, 3)
    before, after = (draw({"drivable_area": shapes})[0] for shapes in ([island, ring], [ring, island]))
    assert not before[100, 100] and after[100, 100]
    assert before[70, 100] and not before[85, 100]


def test_lines_may_cross_the_patch_twice() -> None:
    turn = LineString([(-10, -80), (-10, 80), (10, 80), (10, -80)])
    mask = draw({"road_divider": [turn]})[-1]
    assert mask[79:82].any(0).all() and mask[119:122].any(0).all() and not mask[90:110].any()
    joined = draw({"road_divider": [turn], "lane_divider": [LineString([(-40, 0), (40, 0)])]})[-1]
    assert joined[100, 100] and (joined >= mask).all()


def test_line_that_touches_a_corner_and_a_shape_cut_in_two() -> None:
    corner = LineString([(-60, -40), (-40, -60)])  # meets the patch in a single point
    horseshoe = Polygon([(-30, -60), (30, -60), (30, -30), (60, -30), (60, -70), (-60, -70), (-60, -30), (-30, -30)])
    masks = draw({"lane_divider": [corner], "walkway": [horseshoe]})
    assert masks[-1].sum() <= 4
    walkway = masks[MAP_CLASSES.index("walkway")]
    assert walkway[30, 30] and walkway[170, 30] and not walkway[100, 30]


def test_invalid_areas() -> None:
    bow = Polygon([(-5, -5), (5, 5), (5, -5), (-5, 5)])
    assert not draw({"walkway": [bow]}).any()
    with pytest.raises(DataError, match="town: drivable_area drivable_area 0 cannot be cut"):
        draw({"drivable_area": [bow]}, x=47)  # the border runs through it
    assert draw({"drivable_area": [bow, box(190, 190, 210, 210)]}, x=200, y=200)[0].any()  # it is far away


def test_nothing_near() -> None:
    assert not draw({}, x=1e6).any()
    assert not draw({"walkway": [box(0, 0, 1, 1)]}, x=1e6).any()


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_nuscenes(tmp_path_factory)


@pytest.mark.parametrize("location", LOCATIONS)
def test_equal_to_the_devkit(mini: Path, location: str) -> None:
    from nuscenes.map_expansion.map_api import NuScenesMap

    theirs, ours = NuScenesMap(str(mini), location), GroundMap.read(mini, location)
    rng, seen, crossed_twice = np.random.default_rng(3), np.zeros(6, int), 0
    for _ in range(8):
        x, y, angle = *rng.uniform(180, 430, 2), rng.uniform(-180, 180)
        masks = ours.masks(x, y, angle)
        areas = theirs.get_map_mask((x, y, 100, 100), angle, list(AREAS), (200, 200))
        assert np.array_equal(masks[:-1], areas.transpose(0, 2, 1))
        seen += masks.sum((1, 2), dtype=int)
        try:
            lines = theirs.get_map_mask((x, y, 100, 100), angle, list(LINES), (200, 200)).any(0).T
        except TypeError:  # the devkit's own failure
            crossed_twice += 1
            assert masks[-1].any()
            continue
        assert (masks[-1] != lines).sum() <= 0.02 * lines.sum()
    assert (seen > 0).all() and crossed_twice < 8


def test_random_shapes_equal_the_devkits(tmp_path: Path) -> None:
    """Shapes that no town has: with many corners and holes, across each other and the patch's border."""
    from nuscenes.map_expansion.map_api import NuScenesMap

    rng, polygons = np.random.default_rng(0), []
    while len(polygons) < 25:
        angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
        radii, center = rng.uniform(5, 45, 12), rng.uniform(40, 160, 2)
        outline = np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None] + center
        star = Polygon(outline, [(center + 0.3 * (outline - center))[::-1]])
        polygons.append(star if star.is_valid else Polygon(outline))
    assert sum(bool(polygon.interiors) for polygon in polygons) > 10
    write_expansion(tmp_path, polygons)
    theirs, ours = NuScenesMap(str(tmp_path), LOCATIONS[0]), GroundMap.read(tmp_path, LOCATIONS[0])
    for angle in (0.0, 33.3, -120.7, 90.0):
        for layer in ("drivable_area", "walkway"):
            expected = theirs.get_map_mask((101.3, 99.7, 100, 100), angle, [layer], (200, 200))[0].T
            found = ours.masks(101.3, 99.7, angle)[MAP_CLASSES.index(layer)]
            assert expected.any() and np.array_equal(found, expected)


def write_expansion(root: Path, polygons: list[Polygon]) -> None:
    content: dict = {"version": "1.3", "canvas_edge": [200.0, 200.0], "arcline_path_3": {}, "connectivity": {}}
    empty = ("line", "road_segment", "road_block", "lane", "lane_connector", "traffic_light", *AREAS[1:], *LINES)
    content |= {name: [] for name in (*empty, "node", "polygon")}

    def nodes(ring: shapely.Geometry) -> list[str]:
        tokens = []
        for x, y in shapely.get_coordinates(ring)[:-1].tolist():
            tokens.append(f"n{len(content['node'])}")
            content["node"].append({"token": tokens[-1], "x": x, "y": y})
        return tokens

    for number, polygon in enumerate(polygons):
        holes = [{"node_tokens": nodes(hole)} for hole in polygon.interiors]
        exterior = nodes(polygon.exterior)
        content["polygon"].append({"token": f"p{number}", "exterior_node_tokens": exterior, "holes": holes})
    tokens = [polygon["token"] for polygon in content["polygon"]]
    content["drivable_area"] = [{"token": "d", "polygon_tokens": tokens}]
    content["walkway"] = [{"token": f"w{token}", "polygon_token": token} for token in tokens]
    path = root / "maps/expansion" / f"{LOCATIONS[0]}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))


# -- the real frames -------------------------------------------------------------------------------------------------


@pytest.fixture
def frames(data: Path) -> list[dict]:
    return json.loads((data / "nuscenes_samples/frames.json").read_text())


@pytest.mark.data
def test_real_lidar_in_six_cameras(data: Path, frames: list[dict]) -> None:
    """Each camera sees thousands of points, and nearly every point at a picture's height is in some picture."""
    for frame in frames:
        points = np.fromfile(data / "nuscenes_samples" / frame["lidar"]["file"], np.float32).reshape(-1, 5)
        lidar_to_ego, seen = np.array(frame["lidar"]["lidar2ego"]), np.zeros(len(points), int)
        for name, camera in frame["cams"].items():
            camera_to_lidar = np.linalg.inv(lidar_to_ego) @ np.array(camera["cam2ego"])
            if "sensor2lidar_rotation" in camera:  # with the car's motion between the two sensors' times
                moved = np.eye(4)
                moved[:3, :3], moved[:3, 3] = camera["sensor2lidar_rotation"], camera["sensor2lidar_translation"]
                assert np.abs(moved[:3, :3] - camera_to_lidar[:3, :3]).max() < 0.02
                camera_to_lidar = moved
            pixels, depth = project_points(points, camera_to_lidar, np.array(camera["cam2img"]))
            assert np.isnan(pixels[depth <= 0]).all() and (depth > 0).sum() > 10_000
            inside = (depth > 0.5) & (pixels >= 0).all(1) & (pixels < [1600, 900]).all(1)
            assert inside.sum() > 2500, name
            above = inside & (points[:, 2] > 0.5)  # above the LiDAR and so, level cameras being lower, the horizon
            assert (pixels[above, 1] < 560).all() and np.median(pixels[inside, 1]) > 400
            seen += inside
        elevation = np.degrees(np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1])))
        level = (np.abs(elevation) < 8) & (np.hypot(points[:, 0], points[:, 1]) > 5)
        assert (seen[level] > 0).mean() > 0.97 and seen.max() <= 2


@pytest.mark.data
def test_real_projection_equals_the_published_matrix(frames: list[dict]) -> None:
    points = np.random.default_rng(0).uniform(-30, 30, (500, 3))
    for camera in frames[0]["cams"].values():
        lidar_to_camera, intrinsics = np.array(camera["lidar2cam"]), np.array(camera["cam2img"])
        seen = (np.c_[points, np.ones(500)] @ lidar_to_camera.T)[:, :3]
        expected = cv2.projectPoints(seen[seen[:, 2] > 1], np.zeros(3), np.zeros(3), intrinsics, None)[0][:, 0]
        pixels, depth = project_points(points, np.linalg.inv(lidar_to_camera), intrinsics)
        np.testing.assert_allclose(depth, seen[:, 2], atol=1e-9)
        np.testing.assert_allclose(pixels[depth > 1], expected, atol=1e-5)


@pytest.mark.data
def test_real_drivable_area(data: Path, frames: list[dict]) -> None:
    folder = data / "nuscenes_samples"
    for frame in frames:
        content = json.loads((folder / f"maps/drivable_area/{frame['location']}.geojson").read_text())
        shapes = [shapely.from_geojson(json.dumps(feature)) for feature in _geometries(content)]
        polygons = [p for shape in shapes for p in (shape.geoms if isinstance(shape, MultiPolygon) else [shape])]
        ground = GroundMap("real", {"drivable_area": [(str(i), polygon) for i, polygon in enumerate(polygons)]})
        pose = np.array(frame["ego2global"]) @ np.array(frame["lidar"]["lidar2ego"])
        mask = ground.masks(*ground_patch(pose.astype(np.float32)))[0]
        expected = cv2.imread(str(next(folder.glob(f"derived/*{frame['token'][:8]}*.png"))), cv2.IMREAD_GRAYSCALE) > 0
        agreement = (mask.T[::-1] > 0) == expected  # row 0 is 50 m ahead
        assert 0.05 < expected.mean() < 0.95 and agreement.mean() > 0.97


def _geometries(content: dict) -> list[dict]:
    if content["type"] == "FeatureCollection":
        return [feature["geometry"] for feature in content["features"]]
    return [content.get("geometry", content)]
