"""Stopping between iterations when the user or the cluster asks for it."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class TrainingInterrupted(RuntimeError):
    """Training stopped on SIGTERM or SIGINT, after its state was saved; calling it again continues."""


class StopSignal:
    """While entered, SIGTERM and SIGINT (Ctrl-C) set ``.received`` instead of ending the process.

    A second signal acts as usual, so that pressing Ctrl-C twice stops at once.  Python handles signals in its main
    thread only: entered in another thread, this does nothing.
    """

    def __init__(self) -> None:
        self.received = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
