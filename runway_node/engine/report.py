"""Reporting: events to whoever listens. A listener that fails is logged and never stops a paid order."""

from __future__ import annotations

import asyncio
import inspect
import logging
import queue
import threading
from collections.abc import Coroutine, Sequence
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
    "conforming": (0.92, 0.98),
    "joining": (0.98, 0.99),
    "done": (1.0, 1.0),
}

CALLS_SHARE = 0.98
"""What all calls of an order are of the whole; the rest is joining them."""


class Report:
    """Builds events and hands them on, in the thread that made it; keeps what they have in common.

    What other threads tell waits for that one (see `drain`): hosts' progress bars know no locks.

    Args:
        listener: The caller's `on_progress`.

    """

    def __init__(self, listener: OnProgress | None) -> None:
        self._listener = listener
        self._thread = threading.get_ident()
        self._waiting: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._overall = self._told = 0.0
        self._calls: list[float] = []
        self._weights: list[float] = []
        self.task_id: str | None = None
        self.digest: str | None = None
        self.attempt: int | None = None
        self.warnings: list[str] = []
        self.lasting: list[str] = []

    def __call__(self, phase: Phase, message: str = "", *, fraction: float | None = None, **facts: Any) -> None:
        """Tell one thing that happened."""
        reached = _reached(phase, fraction)
        overall = self._reach(reached)
        self._tell(
            Event(
                phase=phase, message=message, fraction=fraction, overall=overall, segment_overall=overall,
                task_id=self.task_id, digest=self.digest, attempt=self.attempt, **facts,
            )
        )  # fmt: skip

    def calls(self, weights: Sequence[float]) -> list[CallReport]:
        """A report for each of an order's calls, whose shares of the whole are by *weights*."""
        self._weights, self._calls = list(weights), [0.0] * len(weights)
        return [CallReport(self, index, len(weights)) for index in range(len(weights))]

    def warn(self, message: str, *, lasting: bool = False) -> None:
        """Tell a warning, once, and keep it for the result; a *lasting* one is about the file, not about this run."""
        if self._keep(message, lasting=lasting):
            self("warning", message)

    def drain(self) -> None:
        """Hand on what other threads told; for the thread that made this."""
        while not self._waiting.empty():
            self._hand_on(self._waiting.get())

    def _keep(self, message: str, *, lasting: bool) -> bool:
        with self._guard:
            new = message not in self.warnings
            self.warnings += [message] if new else []
            self.lasting += [message] if new and lasting else []
            return new

    def _reach(self, overall: float) -> float:
        with self._guard:
            self._overall = max(self._overall, overall)
            return self._overall

    def _call_reaches(self, index: int, done: float) -> float:
        """How far the whole is, now that one call is *done* so far."""
        with self._guard:
            self._calls[index] = done
            share = sum(w * one for w, one in zip(self._weights, self._calls, strict=True)) / sum(self._weights)
            self._overall = max(self._overall, share * CALLS_SHARE)
            return self._overall

    def _tell(self, event: Event) -> None:
        log.info("%s %s", event.phase, event.message, extra={"runway_event": event.model_dump()})
        if self._listener is None:
            return
        if threading.get_ident() != self._thread:
            self._waiting.put(event)
            return
        self.drain()
        self._hand_on(event)

    def _hand_on(self, event: Event) -> None:
        if self._listener is None:
            return
        # Of two calls at once, the one that got further may be the first to tell.
        self._told = max(self._told, event.overall)
        try:
            outcome = self._listener(event.model_copy(update={"overall": self._told}))
            if inspect.iscoroutine(outcome):
                _drive(outcome)
        except (Exception, asyncio.CancelledError):
            log.exception("on_progress failed; the order goes on")


class CallReport(Report):
    """What one of several calls tells: through the order's report, with the call's place and share in it."""

    def __init__(self, order: Report, index: int, count: int) -> None:
        super().__init__(None)
        self._order, self._index, self._count = order, index, count
        self.digest = order.digest

    def __call__(self, phase: Phase, message: str = "", *, fraction: float | None = None, **facts: Any) -> None:
        """Tell one thing that happened to this call."""
        done = self._reach(_reached(phase, fraction))
        overall = self._order._call_reaches(self._index, done)  # noqa: SLF001 - one class in two parts
        self._order._tell(  # noqa: SLF001
            Event(
                phase=phase, message=message, fraction=fraction, overall=overall, segment_overall=done,
                task_id=self.task_id, digest=self.digest, attempt=self.attempt,
                segment=self._index, segments=self._count, **facts,
            )
        )  # fmt: skip

    def warn(self, message: str, *, lasting: bool = False) -> None:
        """Tell a warning of this call; kept with the order's."""
        if self._order._keep(message, lasting=lasting):  # noqa: SLF001
            self("warning", message)


def _reached(phase: Phase, fraction: float | None) -> float:
    """How far an order of one call is, in this phase."""
    begin, end = SHARES.get(phase, (0.0, 0.0))
    return begin + (end - begin) * (fraction or 0.0)


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
