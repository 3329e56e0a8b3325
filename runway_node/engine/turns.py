"""Turns at something of which there are only so many: whoever is first in rank goes first, and a stop is heard."""

from __future__ import annotations

import contextlib
import itertools
import threading
import weakref
from collections.abc import Iterator

from ..errors import Interrupted

HEARD_WITHIN = 0.1
"""Seconds after which a stop is heard while waiting."""

Rank = tuple[int, ...]


class Turns:
    """So many turns at once, by rank: smaller first.

    Args:
        count: How many may have one at a time.

    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: list[Rank] = []
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def take(self, rank: Rank, stop: threading.Event) -> Iterator[None]:
        """Have a turn.

        Raises:
            Interrupted: `stop` was set first.

        """
        with self._changed:
            self._waiting.append(rank)
            try:
                while not self._free or min(self._waiting) != rank:
                    self._changed.wait(HEARD_WITHIN)
                    if stop.is_set():
                        raise Interrupted("Stopped before the order was placed", "Nothing was ordered")
                self._free -= 1
            finally:
                self._waiting.remove(rank)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()


class Line:
    """Who waits for a slot, of all runs of this process with one ledger: the database is asked by the first alone."""

    def __init__(self) -> None:
        self.freed = threading.Event()
        self._numbers = itertools.count()
        self._turns: dict[str, Turns] = {}
        self._guard = threading.Lock()

    def arrived(self) -> int:
        """A run's number: what began earlier goes first."""
        return next(self._numbers)

    def turns(self, provider: str) -> Turns:
        """The turns of one provider's calls: another one's slots are apart."""
        with self._guard:
            return self._turns.setdefault(provider, Turns(1))


_lines: weakref.WeakKeyDictionary[object, Line] = weakref.WeakKeyDictionary()
_lines_guard = threading.Lock()


def line_of(ledger: object) -> Line:
    """The line before this open ledger's slots."""
    with _lines_guard:
        return _lines.setdefault(ledger, Line())
