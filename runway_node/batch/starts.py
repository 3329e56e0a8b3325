"""Who begins next: rows set out in the table's order, as many at a time as there are cores to prepare their clips.

Nobody is held up for long: rows that share an order wait for one another, and a long clip must not stop all others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..engine.turns import HEARD_WITHIN, Rank
from ..models import Event
from .meter import Tell

HEAD_START = 5.0
"""Seconds after which another row sets out, whatever those before it still prepare."""

BEFORE = frozenset({"planned", "claimed", "preparing", "delivering", "intent", "submitting", "warning"})
"""Phases in which a row may be on its way to its first order; with all others it is sent, waits, or needs none."""


class Starts:
    """The rows of one process, as they set out.

    Args:
        most: How many prepare their first order at a time.
        settle: Seconds for which a row lets earlier ones come before it, where they come in no order.

    """

    def __init__(self, most: int, settle: float = 0.0) -> None:
        self._most, self._settle = most, settle
        self._changed = threading.Condition()
        self._waiting: list[Rank] = []
        self._ahead: dict[Rank, float] = {}

    def wait(self, rank: Rank, stop: threading.Event) -> None:
        """Wait until the row of this rank may set out, or *stop* is set."""
        settled = time.monotonic() + self._settle
        with self._changed:
            self._waiting.append(rank)
            while not (stop.is_set() or (min(self._waiting) == rank and self._clear(settled))):
                self._changed.wait(HEARD_WITHIN)
            self._waiting.remove(rank)
            self._ahead[rank] = time.monotonic() + HEAD_START
            self._changed.notify_all()

    def _clear(self, settled: float) -> bool:
        now = time.monotonic()
        return now >= settled and sum(now < until for until in self._ahead.values()) < self._most

    @contextmanager
    def under_way(self, rank: Rank, tell: Tell | None) -> Iterator[Tell]:
        """A row that set out: what hears its events, by which the next one's turn comes."""

        def hear(event: Event) -> None:
            if event.phase not in BEFORE:
                self._gone(rank)
            if tell is not None:
                tell(event)

        try:
            yield hear
        finally:
            self._gone(rank)

    def _gone(self, rank: Rank) -> None:
        with self._changed:
            if self._ahead.pop(rank, None) is not None:
                self._changed.notify_all()
