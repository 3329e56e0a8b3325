"""Progress as moviepy's users know it: proglog's bars. Nothing here knows a clip."""

from __future__ import annotations

import queue
import threading
from typing import Any

import proglog

from ..models import Event

BAR, STEPS = "runway", 100
"""The progress bar's name and total."""


class Bar:
    """Progress as proglog shows it. Events may come from any thread; the logger is called by the one that made this."""

    def __init__(self, logger: Any, clips: int) -> None:
        self._logger = proglog.default_bar_logger(logger)
        self._events: queue.SimpleQueue[tuple[int, Event]] = queue.SimpleQueue()
        self._thread = threading.get_ident()
        self._overall = [0.0] * clips
        self._said: dict[int, str] = {}
        self._at = -1

    def show(self, index: int, event: Event) -> None:
        """Take what happened to clip *index*."""
        self._events.put((index, event))
        if threading.get_ident() == self._thread:
            self.drain()

    def drain(self) -> None:
        """Show what came since; for the thread that made this."""
        while not self._events.empty():
            index, event = self._events.get()
            self._say(index, event)
            self._overall[index] = max(self._overall[index], event.overall)
            self._move(int(STEPS * sum(self._overall) / len(self._overall) + 1e-9))

    def _say(self, index: int, event: Event) -> None:
        several = f"call {event.segment + 1} of {event.segments} " if event.segments > 1 else ""
        if several and event.phase not in {"warning", "retrying", "stored", "owned"}:
            return  # its calls are under way together: their phases would be told in turns
        text = f"{several}{event.phase}: {event.message}" if event.message else f"{several}{event.phase}"
        told = text if several or event.phase in {"warning", "retrying"} else event.phase
        if self._said.get(index) == told:
            return
        self._said[index] = told
        who = f"Runway (clip {index})" if len(self._overall) > 1 else "Runway"
        self._logger(message=f"{who} - {text}")

    def _move(self, at: int) -> None:
        if self._at < 0:
            self._logger(**{f"{BAR}__total": STEPS})
        if at > self._at:
            self._at = at
            self._logger(**{f"{BAR}__index": at})
