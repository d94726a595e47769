"""A synthetic town's map in nuScenes' two forms: the expansion's JSON (version 1.3), and the mask of the base map."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import shapely
from PIL import Image

from data_prep.mini.nuscenes.town import Town
from ddp_repro.tasks.bev.nuscenes.map import AREAS, LINES

# (height, width) in metres of the real locations; maps record them.
_CANVAS = {
    "boston-seaport": (2118.1, 2979.5),
    "singapore-hollandvillage": (2922.9, 2808.3),
    "singapore-onenorth": (2025.0, 1585.6),
    "singapore-queenstown": (3687.1, 3228.6),
}
_MASK_CELL = 0.1  # metres
_EMPTY_LAYERS = ("road_segment", "road_block", "lane", "lane_connector", "traffic_light")


def write_expansion(path: Path, town: Town, token: Callable[..., str]) -> None:
    """Write all layers that the devkit asks for; ``token`` makes one from the parts of a record's name."""
    nodes: list[dict] = []
    content: dict = {"version": "1.3", "canvas_edge": _CANVAS[town.name], "polygon": [], "line": [], "node": nodes}

    def add_nodes(ring: shapely.LineString) -> list[str]:
        corners = shapely.get_coordinates(ring)
        corners = corners[:-1] if ring.is_ring else corners  # rings are not closed in the file
        tokens = [token("node", len(nodes) + i) for i in range(len(corners))]
        nodes.extend({"token": t, "x": float(x), "y": float(y)} for t, (x, y) in zip(tokens, corners, strict=True))
        return tokens

    def add_polygon(area: shapely.Polygon) -> str:
        area = town.on_map(area)
        name = token("polygon", len(content["polygon"]))
        holes = [{"node_tokens": add_nodes(hole)} for hole in area.interiors]
        exterior = add_nodes(area.exterior)
        content["polygon"].append({"token": name, "exterior_node_tokens": exterior, "holes": holes})
        return name

    for layer in AREAS:
        records = [{"token": token(layer, i), "polygon_token": add_polygon(a)} for i, a in enumerate(town.areas[layer])]
        content[layer] = records
    areas = [record["polygon_token"] for record in content["drivable_area"]]
    content["drivable_area"] = [{"token": token("drivable_area"), "polygon_tokens": areas}]
    for record, crossing in zip(content["stop_line"], town.crossing_of, strict=True):
        record |= _stop_line(None if crossing is None else content["ped_crossing"][crossing]["token"])
    for layer in LINES:
        content[layer] = []
        for number, line in enumerate(town.lines[layer]):
            name = token("line", layer, number)
            content["line"].append({"token": name, "node_tokens": add_nodes(town.on_map(line))})
            content[layer].append({"token": token(layer, number), "line_token": name})
    content |= {layer: [] for layer in _EMPTY_LAYERS} | {"arcline_path_3": {}, "connectivity": {}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_mask(path: Path, town: Town) -> None:
    """Write where the ground is a road or pavement: 255, else 0; 0.1 m to a pixel, the last row at y = 0."""
    width, height = (int(side / _MASK_CELL) + 1 for side in town.on_map(shapely.box(0, 0, *town.extent)).bounds[2:])
    mask = np.zeros((height, width), np.uint8)
    for area in town.areas["drivable_area"] + town.areas["walkway"]:
        area = town.on_map(area)
        rings = [shapely.get_coordinates(ring) / _MASK_CELL for ring in (area.exterior, *area.interiors)]
        cv2.fillPoly(mask, [np.round(ring).astype(np.int32) for ring in rings], (255,))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask[::-1]).save(path, compress_level=1)


def _stop_line(crossing: str | None) -> dict:
    kind = "STOP_SIGN" if crossing is None else "PED_CROSSING"
    tokens = [] if crossing is None else [crossing]
    return {"stop_line_type": kind, "ped_crossing_tokens": tokens, "traffic_light_tokens": [], "road_block_token": ""}
