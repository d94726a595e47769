"""A video file of given frames."""

import cv2
import numpy as np


def write_film(path, frames, size=(44, 30)):
    """Write RGB frames, uint8 (height, width, 3), as Motion JPEG; ``size`` is (width, height)."""
    film = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, size)
    assert film.isOpened()
    for frame in frames:
        film.write(np.ascontiguousarray(frame[..., ::-1]))
    film.release()
    return path
