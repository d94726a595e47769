"""Let the signals that ask a process to end do so cleanly and within seconds."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 4.0  # seconds that cleaning up may take before the process ends without it


class Interrupted(KeyboardInterrupt):
    """One of :data:`SIGNALS` arrived."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number  # as shells report it


@contextmanager
def interruptible(last_resort: Callable[[Interrupted], object] = lambda interrupted: None) -> Iterator[None]:
    """Raise :class:`Interrupted` in the body of a ``with`` statement at the first of :data:`SIGNALS`.

    Later signals are ignored, so that pressing Ctrl-C twice cannot cut the cleaning up in half.  Where ``nohup`` has
    the process ignore SIGHUP, it goes on ignoring it; SIGINT is heeded even in a job that a script has put into the
    background.  Python handles signals in its main thread only: entered in another thread, this does nothing.

    Args:
        last_resort: Called in another thread where cleaning up took longer than :data:`PATIENCE`, before the process
            ends.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heeded = [number for number in SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]

    def receive(number: int, frame: FrameType | None) -> None:
        for other in heeded:
            signal.signal(other, _ignore)
        timer = threading.Timer(PATIENCE, _end, (Interrupted(number), last_resort))
        timer.daemon = True
        timer.start()
        raise Interrupted(number)

    before = {number: signal.signal(number, receive) for number in heeded}
    try:
        yield
    finally:
        if signal.getsignal(heeded[0]) is receive:  # after a signal the process is ending: ignore any more
            for number, handler in before.items():
                signal.signal(number, handler)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing; Python prints a traceback where a signal that has arrived finds SIG_IGN in place of a handler."""


def _end(interrupted: Interrupted, last_resort: Callable[[Interrupted], object]) -> None:
    last_resort(interrupted)
    os._exit(interrupted.exit_code)
