"""From a scene to pixels: sky, ground and things, then air, lens and sensor."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from data_prep.scenes.canvas import CLASS_INDEX, Canvas, noise
from data_prep.scenes.ground import paint_ground
from data_prep.scenes.objects import PAINTERS
from data_prep.scenes.street import Scene

# Colour is rendered on a grid twice as fine and filtered, so that edges are smooth; classes and depth are its
# samples at the pixel centres.
TENT = np.array((0.25, 0.5, 0.25), np.float32)


@dataclass(frozen=True)
class Rendering:
    """A picture and its exact ground truth.

    Attributes:
        rgb: uint8 (H, W, 3).
        classes: uint8 (H, W), indices into ``scenes.CLASSES``, or of rooms into ``scenes.ROOM_CLASSES``.
        depth: float32 (H, W), metres along the optical axis; infinite for the sky.
        normals: of rooms, float32 (H, W, 3), unit vectors out of the surface, on axes right, down, ahead.
        owner: of rooms, int16 (H, W), index of the piece that is seen; -1: walls, floor and ceiling.
    """

    rgb: np.ndarray
    classes: np.ndarray
    depth: np.ndarray
    normals: np.ndarray | None = None
    owner: np.ndarray | None = None


def render(scene: Scene) -> Rendering:
    """Render a scene; equal scenes give equal pixels."""
    canvas = Canvas(scene.camera.doubled())
    _paint_sky(scene, canvas)
    paint_ground(scene, canvas)
    for thing in sorted(scene.things, key=lambda thing: thing.z):  # nearest first: what they hide need not be painted
        PAINTERS[thing.kind](canvas, thing, scene.light)
    if scene.hood:
        _paint_hood(scene, canvas)
    rgb = cv2.sepFilter2D(_through_air(canvas, scene), -1, TENT, TENT)
    centers = np.s_[1::2, 1::2]
    picture = photograph(rgb[centers], blur=scene.blur, grain=scene.grain, seed=scene.seed)
    return Rendering(picture, canvas.classes[centers].copy(), canvas.depth[centers].copy())


def _paint_sky(scene: Scene, canvas: Canvas) -> None:
    light, rows = scene.light, int(np.searchsorted(canvas.rows, 0.0)) + 1
    up = np.maximum(-canvas.rows[:rows, None], 0.0) / canvas.camera.focal
    blend = np.clip(up / 0.7, 0, 1)[..., None] ** 0.7
    sky = np.asarray(light.sky_horizon, np.float32) * (1 - blend) + np.asarray(light.sky_top, np.float32) * blend
    far = 1.0 / (up + 0.12)  # clouds lie on a high ceiling
    cover = noise(canvas.columns[None, :] / canvas.camera.focal * far, far, 2.6, scene.seed)
    cover = np.clip((cover - 1 + light.clouds) * 3.0, 0, 1)[..., None] * 0.85
    white = 0.5 * np.asarray(light.ambient, np.float32) + 0.45 * np.asarray(light.sun_color, np.float32) + 0.2
    canvas.rgb[:rows] = sky * (1 - cover) + np.minimum(white, 0.97) * cover
    canvas.classes[:] = CLASS_INDEX["sky"]


def _paint_hood(scene: Scene, canvas: Canvas) -> None:
    """Paint the bonnet of the car that carries the camera."""
    camera = canvas.camera
    u = (canvas.columns[None, :] + camera.center_x) / camera.width - 0.5
    v = (canvas.rows[:, None] + camera.horizon) / camera.height
    hood = v > 0.905 + 0.28 * u**2 + 0.004 * (scene.seed % 5)
    canvas.rgb[hood] = (np.asarray(scene.road_color) * 0.55 * np.asarray(scene.light.ambient)).astype(np.float32)
    canvas.classes[hood] = CLASS_INDEX["ego vehicle"]
    canvas.depth[hood] = 1.5


def _through_air(canvas: Canvas, scene: Scene) -> np.ndarray:
    """Blend what is far into the horizon's colour."""
    veil = (1 - np.exp(canvas.depth / np.float32(-scene.light.haze))) * np.isfinite(canvas.depth)
    return canvas.rgb + (np.asarray(scene.light.sky_horizon, np.float32) - canvas.rgb) * veil[..., None]


def photograph(rgb: np.ndarray, *, blur: float, grain: float, seed: int) -> np.ndarray:
    """Lens blur, vignette, white balance, exposure and sensor noise: from (H, W, 3) in 0..1 to uint8."""
    rng = np.random.default_rng(seed)
    if blur > 0.3:
        rgb = cv2.GaussianBlur(rgb, (0, 0), blur)
    height, width = rgb.shape[:2]
    u, v = np.linspace(-1, 1, width, dtype=np.float32)[None, :], np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    vignette = 1 - rng.uniform(0, 0.14) * (u**2 + v**2)
    gain = rng.uniform(0.85, 1.15) * rng.normal(1, 0.02, 3)
    rgb = np.clip(rgb * vignette[..., None] * gain.astype(np.float32), 0, 1) ** np.float32(rng.uniform(0.85, 1.1))
    rgb = rgb + rng.standard_normal(rgb.shape, dtype=np.float32) * np.float32(grain)
    return np.clip(rgb * 255 + 0.5, 0, 255).astype(np.uint8)
