"""Films: the frames of a video file, one after another."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ddp_repro.data.io import DataError

SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})


class Film:
    """An open video file, read forwards; going back opens it anew.

    Raises:
        DataError: the file cannot be opened as a film.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open()

    def count(self) -> int:
        """Return the number of frames that can be decoded; of a film that was cut off, the first missing one too.

        A container may say one frame too many of itself, or none at all: the frames are counted.
        """
        import cv2

        announced = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        while self._capture.grab():
            self._next += 1
        decoded = self._next
        self._open()
        return decoded + (decoded == 0 or announced > 1.01 * decoded + 1)

    def frame(self, number: int) -> np.ndarray:
        """Return a frame, upright, uint8 (H, W, 3) RGB.

        Raises:
            DataError: there is no such frame, or it cannot be decoded.
        """
        import cv2

        if number < self._next:
            self._open()
        while self._next < number and self._capture.grab():
            self._next += 1
        complete, pixels = self._capture.read()
        if not complete:
            raise DataError(f"{self.path}: frame {number} cannot be decoded")
        self._next += 1
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        """Close the file."""
        self._capture.release()

    def _open(self) -> None:
        import cv2

        self._capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        self._next = 0
        if not self._capture.isOpened():
            raise DataError(f"{self.path}: cannot be opened; expected a complete video file")


class FrameReader:
    """Frames of several films, of which the last stays open."""

    def __init__(self) -> None:
        self._film: Film | None = None

    def read(self, path: Path, number: int) -> np.ndarray:
        """Return a frame of a film, uint8 (H, W, 3) RGB.

        Raises:
            DataError: the film cannot be opened, or the frame not be decoded.
        """
        if self._film is None or self._film.path != path:
            if self._film is not None:
                self._film.close()
            self._film = Film(path)
        return self._film.frame(number)
