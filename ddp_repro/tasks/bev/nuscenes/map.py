"""Ground truth of BEV segmentation: nuScenes' vector maps (map expansion, version 1.3) drawn around the car.

The masks are those of nuscenes-devkit's ``NuScenesMap.get_map_mask`` as the released code calls it, down to their
peculiarities: corners of areas are rounded and points of lines truncated to cells, and the holes of an area also erase
what was drawn there before it.  Unlike the devkit (1.2.0, which fails there), a line may cross the patch twice.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import shapely
from shapely import Polygon, STRtree, affinity

from ddp_repro.data.io import DataError

LOCATIONS = ("boston-seaport", "singapore-hollandvillage", "singapore-onenorth", "singapore-queenstown")
# Class -> layers of the map, in the order of the masks.
AREAS = ("drivable_area", "ped_crossing", "walkway", "stop_line", "carpark_area")
LINES = ("road_divider", "lane_divider")
CLASS_LAYERS = {**{name: (name,) for name in AREAS}, "divider": LINES}
MIN_VERSION = (1, 3)
_THICKNESS = 2  # cells, of a line
_PACK = "the nuScenes map expansion pack v1.3 (https://www.nuscenes.org/download), extracted into maps/"


@dataclass(frozen=True)
class _Layer:
    """Geometries in the file's order, and where they are."""

    geometries: np.ndarray
    tokens: list[str]
    tree: STRtree

    @classmethod
    def of(cls, geometries: list[shapely.Geometry], tokens: list[str]) -> _Layer:
        array = np.array(geometries, dtype=object)
        return cls(array, tokens, STRtree(array))

    def near(self, patch: Polygon) -> np.ndarray:
        """Numbers of those that may touch ``patch``, in the file's order: it decides what erases what."""
        return np.sort(self.tree.query(patch))


class GroundMap:
    """The layers of one location that BEV segmentation needs.

    Args:
        name: of the location or its file, for errors.
        layers: geometries of each layer, in drawing order, with their tokens; layers that are missing are empty.
    """

    def __init__(self, name: str, layers: Mapping[str, Sequence[tuple[str, shapely.Geometry]]]) -> None:
        self.name = name
        self._layers = {}
        for layer in (*AREAS, *LINES):
            pairs = list(layers.get(layer, ()))
            self._layers[layer] = _Layer.of([geometry for _, geometry in pairs], [token for token, _ in pairs])

    @classmethod
    def read(cls, root: Path, location: str) -> GroundMap:
        """Read ``root/maps/expansion/<location>.json``.

        Raises:
            DataError: an unknown location, a file that is missing or damaged, or a version that is too old.
        """
        path = map_path(root, location)
        content = _read_json(path)
        try:
            return cls(str(path), _parse(content))
        except (KeyError, TypeError, ValueError, shapely.errors.ShapelyError) as error:
            raise DataError(f"{path}: has a damaged record ({error!r}); expected {_PACK}") from error

    def masks(self, x: float, y: float, angle: float, size: float = 100.0, cells: int = 200) -> np.ndarray:
        """Draw the classes of :data:`CLASS_LAYERS` into a square patch.

        Args:
            x, y: centre, in map metres.
            angle: degrees, counter-clockwise, of the patch's first axis.
            size: metres of a side.
            cells: of a side.

        Returns:
            uint8 (6, cells, cells), 0 or 1, indexed [class, first axis, second axis], cell 0 at -size / 2.

        Raises:
            DataError: a drivable area whose polygon is so invalid that it cannot be cut to the patch (invalid areas
                of other layers are left out, as the devkit does it).
        """
        view = _View(x, y, angle, size, cells)
        masks = np.zeros((len(CLASS_LAYERS), cells, cells), np.uint8)
        for mask, layers in zip(masks, CLASS_LAYERS.values(), strict=True):
            canvas = np.zeros((cells, cells), np.uint8)  # rows along the second axis
            for layer in layers:
                self._draw(canvas, layer, view)
            mask[:] = canvas.T
        return masks

    def _draw(self, canvas: np.ndarray, name: str, view: _View) -> None:
        layer = self._layers[name]
        chosen = layer.near(view.patch)
        if name in AREAS and name != "drivable_area":
            chosen = chosen[shapely.is_valid(layer.geometries[chosen])]
        try:
            shapes = view.local(layer.geometries[chosen])
        except shapely.errors.GEOSException as error:
            bad = [layer.tokens[i] for i in chosen if not layer.geometries[i].is_valid]
            why = f"cannot be cut to the patch ({error})"
            raise DataError(f"{self.name}: {name} {', '.join(bad)} {why}; expected simple rings") from error
        for shape in shapes:
            (_draw_area if name in AREAS else _draw_line)(canvas, shape)


@dataclass(frozen=True)
class _View:
    """A patch of the map, and the way of its geometries to cells of the canvas, in the devkit's order of rounding."""

    x: float
    y: float
    angle: float
    size: float
    cells: int

    @functools.cached_property
    def patch(self) -> Polygon:
        return affinity.rotate(_square(self.x, self.y, self.size), self.angle, origin=(self.x, self.y))

    def local(self, geometries: np.ndarray) -> np.ndarray:
        """Return the parts inside the patch, in cells; each step is one for all geometries."""
        inside = shapely.transform(shapely.intersection(geometries, self.patch), self._turn)
        inside = shapely.intersection(inside, _square(0.0, 0.0, self.size))
        scale, half = self.cells / self.size, self.size / 2
        return shapely.transform(inside, lambda points: (points + half) * scale)

    def _turn(self, points: np.ndarray) -> np.ndarray:
        """Map metres (P, 2) to metres along the patch's axes, from its centre."""
        angle = -self.angle * np.pi / 180
        cosine, sine = np.cos(angle), np.sin(angle)
        x, y = points.T
        turned_x = cosine * x - sine * y + (self.x - self.x * cosine + self.y * sine)
        turned_y = sine * x + cosine * y + (self.y - self.x * sine - self.y * cosine)
        return np.stack([turned_x - self.x, turned_y - self.y], axis=1)


def map_path(root: Path, location: str) -> Path:
    """Where the map expansion of a location is.

    Raises:
        DataError: no such location, or no such file.
    """
    if location not in LOCATIONS:
        raise DataError(f"unknown location {location!r}; expected one of {', '.join(LOCATIONS)}")
    path = root / "maps" / "expansion" / f"{location}.json"
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected {_PACK}")
    return path


def _square(x: float, y: float, size: float) -> Polygon:
    return shapely.box(x - size / 2, y - size / 2, x + size / 2, y + size / 2)


def _draw_area(canvas: np.ndarray, shape: shapely.Geometry) -> None:
    polygons = [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon" and not part.is_empty]
    rounded = [[_corners(ring).round().astype(np.int32) for ring in _rings(polygon)] for polygon in polygons]
    cv2.fillPoly(canvas, [rings[0] for rings in rounded], (1,))
    cv2.fillPoly(canvas, [hole for rings in rounded for hole in rings[1:]], (0,))


def _draw_line(canvas: np.ndarray, shape: shapely.Geometry) -> None:
    for part in shapely.get_parts(shape):
        if not part.is_empty:
            cv2.polylines(canvas, [_corners(part).astype(np.int32)], False, (1,), _THICKNESS)


def _rings(polygon: Polygon) -> list[shapely.Geometry]:
    return [polygon.exterior, *polygon.interiors]


def _corners(part: shapely.Geometry) -> np.ndarray:
    return shapely.get_coordinates(part)


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected {_PACK}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: is not a JSON object; expected {_PACK}")
    version = str(content.get("version", "1.0"))
    try:
        new_enough = tuple(int(part) for part in version.split(".")) >= MIN_VERSION
    except ValueError:
        new_enough = False
    if not new_enough:
        raise DataError(f"{path}: is map version {version}; expected 1.3 or newer: {_PACK}")
    return content


def _parse(content: dict) -> dict[str, Sequence[tuple[str, shapely.Geometry]]]:
    """Geometries of each layer, with the tokens of the polygons and lines."""
    nodes = {node["token"]: (node["x"], node["y"]) for node in content["node"]}
    polygons = {polygon["token"]: polygon for polygon in content["polygon"]}
    lines = {line["token"]: line["node_tokens"] for line in content["line"]}

    def polygon(token: str) -> tuple[str, Polygon]:
        record = polygons[token]
        holes = [[nodes[n] for n in hole["node_tokens"]] for hole in record["holes"]]
        return token, Polygon([nodes[n] for n in record["exterior_node_tokens"]], [hole for hole in holes if hole])

    layers: dict[str, Sequence[tuple[str, shapely.Geometry]]] = {}
    layers["drivable_area"] = [polygon(t) for record in content["drivable_area"] for t in record["polygon_tokens"]]
    for name in AREAS[1:]:
        layers[name] = [polygon(record["polygon_token"]) for record in content[name]]
    for name in LINES:
        tokens = [record["line_token"] for record in content[name]]
        layers[name] = [(t, shapely.LineString([nodes[n] for n in lines[t]])) for t in tokens if lines[t]]
    return layers
