"""Reporting: events to whoever listens. A listener that fails is logged and never stops a paid order."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Coroutine
from typing import Any

from ..models import Event, OnProgress, Phase

log = logging.getLogger("runway_node")

SHARES: dict[Phase, tuple[float, float]] = {
    # How far the whole order is when a phase begins and ends; the remote work is most of any order.
    "planned": (0.0, 0.01),
    "claimed": (0.01, 0.01),
    "preparing": (0.01, 0.10),
    "delivering": (0.10, 0.15),
    "intent": (0.15, 0.15),
    "submitting": (0.15, 0.16),
    "submitted": (0.16, 0.16),
    "queued": (0.16, 0.16),
    "running": (0.16, 0.85),
    "succeeded": (0.85, 0.85),
    "fetching": (0.85, 0.92),
    "stored": (0.92, 0.92),
    "owned": (0.92, 0.92),
    "conforming": (0.92, 0.99),
    "done": (1.0, 1.0),
}


class Report:
    """Builds events and hands them on; keeps what they have in common.

    Args:
        listener: The caller's `on_progress`.

    """

    def __init__(self, listener: OnProgress | None) -> None:
        self._listener = listener
        self._overall = 0.0
        self.task_id: str | None = None
        self.digest: str | None = None
        self.attempt: int | None = None
        self.warnings: list[str] = []
        self.lasting: list[str] = []

    def __call__(self, phase: Phase, message: str = "", *, fraction: float | None = None, **facts: Any) -> None:
        """Tell one thing that happened."""
        begin, end = SHARES.get(phase, (self._overall, self._overall))
        self._overall = max(self._overall, begin + (end - begin) * (fraction or 0.0))
        event = Event(
            phase=phase, message=message, fraction=fraction, overall=self._overall,
            task_id=self.task_id, digest=self.digest, attempt=self.attempt, **facts,
        )  # fmt: skip
        log.info("%s %s", phase, message, extra={"runway_event": event.model_dump()})
        if self._listener is None:
            return
        try:
            outcome = self._listener(event)
            if inspect.iscoroutine(outcome):
                _drive(outcome)
        except (Exception, asyncio.CancelledError):
            log.exception("on_progress failed; the order goes on")

    def warn(self, message: str, *, lasting: bool = False) -> None:
        """Tell a warning, once, and keep it for the result; a *lasting* one is about the file, not about this run."""
        if message not in self.warnings:
            self.warnings.append(message)
            self.lasting += [message] if lasting else []
            self("warning", message)


async def hand_over(listener: OnProgress, event: Event) -> None:
    """Call a listener from the loop it lives on."""
    try:
        outcome = listener(event)
        if inspect.isawaitable(outcome):
            await outcome
    except Exception:
        log.exception("on_progress failed; the order goes on")


def _drive(work: Coroutine[Any, Any, None]) -> None:
    """Run an async listener of a synchronous `run`: here, or beside a loop that this thread is already in."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    helper = threading.Thread(target=asyncio.run, args=(work,), daemon=True)
    helper.start()
    helper.join()
