"""Synthetic KITTI, NYU-Depth V2 and SUN RGB-D in their real layouts and encodings, from exact depth."""

from __future__ import annotations

import dataclasses

import numpy as np

from data_prep.mini.layout import Item, Layout, save
from data_prep.scenes import Camera, Rendering, random_room, random_street, render, render_room
from data_prep.scenes.sensors import KINECT_RANGE, measure_with_kinect, scan_with_lidar
from ddp_repro.tasks.depth.datasets.kitti import LISTS as KITTI_LISTS
from ddp_repro.tasks.depth.datasets.nyu import LISTS as NYU_LISTS
from ddp_repro.tasks.depth.datasets.sunrgbd import LISTS as SUNRGBD_LISTS

_FRAMES = 12  # of one drive of KITTI; each shows another street
_FIRST_DRIVE = {"train": 9001, "test": 9501}  # above the real ones


def _write_kitti(item: Item, rng: np.random.Generator) -> str:
    """Write a street as KITTI's car sees it, with the returns of a laser scanner (uint16, 1/256 m)."""
    height, width = item.size
    camera = Camera(  # that of 2011-09-26 on the car's roof: 1242 x 375 pixels
        width=width,
        height=height,
        focal=721.5377 / 1242 * width,
        center_x=609.5593 / 1242 * width,
        horizon=172.854 / 375 * height,
        elevation=1.65,
    )
    scene = render(dataclasses.replace(random_street(rng, width, height), camera=camera))
    drive = f"2011_09_26_drive_{_FIRST_DRIVE[item.split] + (item.number - 1) // _FRAMES:04d}_sync"
    frame = f"image_02/{{}}{(item.number - 1) % _FRAMES:010d}.png"
    image, depth = f"2011_09_26/{drive}/{frame.format('data/')}", f"{drive}/proj_depth/groundtruth/{frame.format('')}"
    save(item.root, f"input/{image}", scene.rgb)
    if item.annotated:
        save(item.root, f"gt_depth/{depth}", _stored(scan_with_lidar(scene.depth, camera, rng), 256))
    return f"{image} {depth if item.annotated else None} {camera.focal:.4f}"


def _write_nyu(item: Item, rng: np.random.Generator) -> str:
    """Write a room (uint16, mm): measured with holes for training, dense as the official labelled one for testing.

    The camera's height and tilt vary little: how far away the floor is must be learnt in minutes and without
    pretrained weights.
    """
    focal = 518.8579 / 640 * item.size[1]
    room = _render_room(item, rng, focal, elevation=(1.3, 1.5))
    depth = measure_with_kinect(room.depth, room.rgb, focal, rng) if item.split == "train" else room.depth
    folder = f"room_{item.number:04d}"
    image, depth_name = f"{folder}/rgb_00000.jpg", f"{folder}/sync_depth_00000.png"
    save(item.root, f"{item.split}/{image}", room.rgb)
    save(item.root, f"{item.split}/{depth_name}", _stored(np.where(depth <= KINECT_RANGE[1], depth, 0), 1000))
    slash = "/" if item.split == "train" else ""  # as the published lists have it
    return f"{slash}{image} {slash}{depth_name} {focal:.4f}"


def _write_sunrgbd(item: Item, rng: np.random.Generator) -> str:
    """Write a room seen by a wider camera from lower down (uint16, mm, its bits turned left by three)."""
    focal = 529.5 / 730 * item.size[1]
    room = _render_room(item, rng, focal, elevation=(1.05, 1.35))
    millimetres = _stored(measure_with_kinect(room.depth, room.rgb, focal, rng), 1000)
    folder = f"SUNRGBD/kv2/kinect2data/{item.number:06d}_mini-resize"
    image, depth = (f"{folder}/{kind}/{item.number:07d}.{end}" for kind, end in (("image", "jpg"), ("depth", "png")))
    save(item.root, image, room.rgb)
    save(item.root, depth, (millimetres << 3) | (millimetres >> 13))
    return f"{image} {depth}"


def _render_room(item: Item, rng: np.random.Generator, focal: float, elevation: tuple[float, float]) -> Rendering:
    height, width = item.size
    return render_room(random_room(rng, width, height, focal=focal, elevation=elevation))


def _stored(depth: np.ndarray, scale: int) -> np.ndarray:
    return np.round(depth * scale).astype(np.uint16)


LAYOUTS = {
    "kitti": Layout(
        scenes="street scenes",
        splits=("train", "test"),
        size=(96, 320),
        counts=(96, 24),
        write=_write_kitti,
        lists=KITTI_LISTS,
        unannotated=2,
    ),
    "nyu": Layout(
        scenes="rooms",
        splits=("train", "test"),
        size=(120, 160),
        counts=(96, 24),
        write=_write_nyu,
        lists=NYU_LISTS,
    ),
    "sunrgbd": Layout(
        scenes="rooms",
        splits=(None, "test"),  # for evaluation alone
        size=(106, 140),
        counts=(0, 24),
        write=_write_sunrgbd,
        lists=SUNRGBD_LISTS,
    ),
}
