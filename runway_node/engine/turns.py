"""Turns at something of which there are only so many: whoever is first in rank goes first, and a stop is heard."""

from __future__ import annotations

import contextlib
import threading
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
