"""Synthetic rooms with exact normals, masks and alpha, in the layouts of DSINE's NYU, DIS5K, P3M-10k and AIM-500."""

from __future__ import annotations

import numpy as np

from data_prep.mini.layout import Item, Layout, save
from data_prep.scenes import Rendering, random_room, render_room
from data_prep.scenes.room import Room
from data_prep.scenes.strands import compose_head, trimap
from ddp_repro.data.io import DataError
from ddp_repro.tasks.matting.datasets.p3m import AIM_FOLDERS, P3M_FOLDERS

FOCAL = 518.8579 / 640  # of NYU's camera, per pixel of the picture's width
SMALLEST, LARGEST = 0.02, 0.6  # share of the picture that a foreground covers
FOREGROUND = ("furniture", "thing")  # kinds of pieces that may be one
TRIES = 40


def _write_normals(item: Item, rng: np.random.Generator) -> None:
    """Write a room and its normals; those of the lamp's glow and the window panes are as exact as the walls'."""
    room = _room(item, rng)
    height, width = item.size
    name = f"{item.split}/{item.number - 1:06d}"
    save(item.root, f"{name}_img.png", room.rgb)
    assert room.normals is not None
    save(item.root, f"{name}_normal.png", ((room.normals + 1) / 2 * 255).round().astype(np.uint8))
    focal = FOCAL * width
    intrinsics = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], np.float32)
    np.save(item.root / f"{name}_intrins.npy", intrinsics)


def _write_mask(item: Item, rng: np.random.Generator) -> None:
    """Write a room and the mask of the piece of furniture that covers most of it."""
    for _ in range(TRIES):
        plan = _plan(item, rng)
        room = render_room(plan)
        assert room.owner is not None
        pieces, counts = np.unique(room.owner[room.owner >= 0], return_counts=True)
        shares = counts / room.owner.size
        stands = np.array([plan.pieces[piece].parts[0].kind in FOREGROUND for piece in pieces], bool)
        fitting = (shares >= SMALLEST) & (shares <= LARGEST) & stands
        if fitting.any():
            break
    else:
        raise DataError(f"no room of {item.split} {item.number} has a piece of a fitting size")
    chosen = pieces[np.where(fitting, shares, 0).argmax()]
    name = f"{item.number:05d}"
    save(item.root, f"{item.split}/im/{name}.jpg", room.rgb)
    save(item.root, f"{item.split}/gt/{name}.png", np.where(room.owner == chosen, 255, 0).astype(np.uint8))


def _write_portrait(item: Item, rng: np.random.Generator) -> None:
    _write_matte(item, rng, *P3M_FOLDERS[item.split])


def _write_object(item: Item, rng: np.random.Generator) -> None:
    _write_matte(item, rng, *AIM_FOLDERS[item.split])


def _write_matte(item: Item, rng: np.random.Generator, images: str, mattes: str) -> None:
    """Write a head with hair before a room."""
    head, name = compose_head(_room(item, rng).rgb, rng), f"p_{item.number:06d}"
    save(item.root, f"{images}/{name}.jpg", head.rgb)
    save(item.root, f"{mattes}/{name}.png", (head.alpha * 255).round().astype(np.uint8))
    if item.split != "train":
        folder = mattes.removesuffix("mask") + "trimap"
        save(item.root, f"{folder}/{name}.png", trimap(head.alpha, max(item.size[0] // 30, 1)))


def _room(item: Item, rng: np.random.Generator) -> Rendering:
    return render_room(_plan(item, rng))


def _plan(item: Item, rng: np.random.Generator) -> Room:
    height, width = item.size
    return random_room(rng, width, height, focal=FOCAL * width, elevation=(1.3, 1.5))


LAYOUTS = {
    "nyu_normals": Layout(
        scenes="rooms", splits=("train", "test"), size=(96, 128), counts=(160, 24), write=_write_normals
    ),
    "dis5k": Layout(
        scenes="rooms", splits=("DIS-TR", "DIS-VD"), size=(96, 128), counts=(160, 24), write=_write_mask
    ),
    "p3m10k": Layout(
        scenes="heads in rooms", splits=("train", "P3M-500-NP"), size=(96, 128), counts=(160, 24),
        write=_write_portrait,
    ),
    "aim500": Layout(
        scenes="heads in rooms", splits=(None, "test"), size=(96, 128), counts=(0, 24), write=_write_object
    ),
}  # fmt: skip
