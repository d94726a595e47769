"""Heads with hair before a picture, and their exact alpha: strands are drawn at eight times the size and averaged."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

FINER = 8  # pixels of the drawing per pixel of the picture, each way
COVERED = 1 / 255  # alpha below which a pixel is background


@dataclass(frozen=True)
class Composite:
    """A picture made of a background and a foreground.

    Attributes:
        rgb: uint8 (H, W, 3), rounded from alpha * foreground + (1 - alpha) * background, in the picture's own values.
        alpha: float64 (H, W), multiples of 1 / 64.
    """

    rgb: np.ndarray
    alpha: np.ndarray


def compose_head(background: np.ndarray, rng: np.random.Generator) -> Composite:
    """Put a head with hair before a picture, uint8 (H, W, 3); equal generators give equal pictures."""
    height, width = background.shape[:2]
    size = (height * FINER, width * FINER)
    color, cover = np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)
    radius = rng.uniform(0.14, 0.24) * min(size)
    center = np.array([rng.uniform(0.3, 0.7) * size[1], rng.uniform(0.4, 0.6) * size[0]])
    hair = rng.integers(20, 190, 3)
    _shoulders(color, cover, center, radius, rng)
    _strands(color, cover, center, radius, hair, rng)
    _face(color, cover, center, radius, rng)
    alpha = _averaged(cover.astype(np.float64))
    # The foreground's colour is the mean over what is covered; where nothing is, any will do.
    weight = np.maximum(alpha, 1 / FINER**2)[..., None]
    foreground = _averaged(color.astype(np.float64) * cover[..., None]) / weight
    rgb = alpha[..., None] * foreground + (1 - alpha[..., None]) * background
    return Composite(rgb.round().clip(0, 255).astype(np.uint8), alpha)


def trimap(alpha: np.ndarray, reach: int) -> np.ndarray:
    """Return 0 (background), 255 (foreground) and 128 (unknown), uint8 (H, W).

    Args:
        alpha: (H, W) in [0, 1].
        reach: pixels around soft edges that are unknown too.
    """
    soft = ((alpha > COVERED) & (alpha < 1 - COVERED)).astype(np.uint8)
    unknown = cv2.dilate(soft, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0
    return np.where(unknown, 128, np.where(alpha > 0.5, 255, 0)).astype(np.uint8)


def _averaged(values: np.ndarray) -> np.ndarray:
    """Return the means of blocks of FINER x FINER pixels."""
    height, width = values.shape[0] // FINER, values.shape[1] // FINER
    return values.reshape(height, FINER, width, FINER, *values.shape[2:]).mean(axis=(1, 3))


def _paint(color: np.ndarray, cover: np.ndarray, tone: np.ndarray, draw: str, *shape: object, **options: int) -> None:
    getattr(cv2, draw)(color, *shape, tuple(int(channel) for channel in tone), **options)
    getattr(cv2, draw)(cover, *shape, 1, **options)


def _shoulders(
    color: np.ndarray, cover: np.ndarray, center: np.ndarray, radius: float, rng: np.random.Generator
) -> None:
    """Paint what the head stands on, down to the picture's edge."""
    tone, middle = rng.integers(30, 220, 3), (int(center[0]), cover.shape[0])
    axes = (int(radius * rng.uniform(1.6, 2.2)), int(max(cover.shape[0] - center[1] - 0.8 * radius, 1)))
    _paint(color, cover, tone, "ellipse", middle, axes, 0, 180, 360, thickness=-1)
    left, right = (int(center[0] + side * 0.35 * radius) for side in (-1, 1))
    _paint(color, cover, tone, "rectangle", (left, int(center[1])), (right, cover.shape[0]), thickness=-1)


def _strands(
    color: np.ndarray, cover: np.ndarray, center: np.ndarray, radius: float, hair: np.ndarray, rng: np.random.Generator
) -> None:
    """Paint curved strands of hair, one to three fine pixels wide, from the head outwards and down."""
    for _ in range(int(rng.integers(250, 420))):
        angle = rng.uniform(-np.pi * 1.15, np.pi * 0.15)  # up is -pi / 2
        out = np.array([np.cos(angle), np.sin(angle)])
        root = center + out * radius * 0.9
        bend = root + out * radius * rng.uniform(0.2, 0.8) + rng.normal(0, 0.15 * radius, 2)
        tip = bend + np.array([out[0], rng.uniform(-0.3, 1.2)]) * radius * rng.uniform(0.2, 0.7)
        t = np.linspace(0, 1, 24)[:, None]
        curve = (1 - t) ** 2 * root + 2 * t * (1 - t) * bend + t**2 * tip
        tone = (hair * rng.uniform(0.7, 1.3)).clip(0, 255)
        points = [curve.round().astype(np.int32).reshape(-1, 1, 2)]
        _paint(color, cover, tone, "polylines", points, False, thickness=int(rng.integers(1, 4)))


def _face(color: np.ndarray, cover: np.ndarray, center: np.ndarray, radius: float, rng: np.random.Generator) -> None:
    middle, axes = (int(center[0]), int(center[1])), (int(0.8 * radius), int(radius))
    skin = np.array([224, 180, 150]) * rng.uniform(0.5, 1.05)
    _paint(color, cover, skin.clip(0, 255), "ellipse", middle, axes, 0, 0, 360, thickness=-1)
