"""Stopping: one event that every wait hears, and Ctrl-C turned into it.

The first Ctrl-C lets the engine cancel what it ordered; a second one leaves at once.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

from ..errors import Interrupted

SLICE = 0.25


class Stop(threading.Event):
    """Set it to stop a run: what is ordered is then cancelled or left, as the policy says.

    `detach()` stops it too, but always leaves the remote task running. `hold` stops nothing: set it, and what is not
    sent yet is not sent, while what is in flight is finished.

    Args:
        also: Events of others that count as its own, and so does their being detached.

    """

    def __init__(self, *also: threading.Event | None) -> None:
        super().__init__()
        self._also = [event for event in also if event is not None]
        self._detached = False
        self.hold = threading.Event()

    @property
    def detached(self) -> bool:
        """Whether what is ordered is left running in any case."""
        return self._detached or any(getattr(event, "detached", False) for event in self._also)

    @detached.setter
    def detached(self, value: bool) -> None:
        self._detached = value

    def is_set(self) -> bool:
        """Whether it was set, or an event of others was."""
        return super().is_set() or any(event.is_set() for event in self._also)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait in short slices: on Windows a longer wait does not hear Ctrl-C."""
        end = None if timeout is None else time.monotonic() + timeout
        while not self.is_set():
            left = SLICE if end is None else min(SLICE, end - time.monotonic())
            if left <= 0:
                break
            super().wait(left)
        return self.is_set()

    def detach(self) -> None:
        """Stop, and leave the remote task running."""
        self.detached = True
        self.set()


@contextlib.contextmanager
def hear_ctrl_c(stop: threading.Event) -> Iterator[None]:
    """While this is open, Ctrl-C sets *stop*, and leaves as the `KeyboardInterrupt` that a script expects.

    Only where Python's own handler is in place, in the main thread: a host's handler is the host's.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            signal.default_int_handler(number, frame)
        pressed = True
        stop.set()

    signal.signal(signal.SIGINT, press)
    try:
        yield
    except Interrupted as error:
        if pressed:
            raise KeyboardInterrupt(str(error)) from error
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
