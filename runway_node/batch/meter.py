"""What a row's calls cost, heard in its events: a row that came to nothing may have been charged all the same."""

from __future__ import annotations

from collections.abc import Callable

from ..models import Event, sum_known

Tell = Callable[[Event], None]

ENDS = frozenset({"succeeded", "failed", "cancelled", "expired"})
"""After these the provider has said what it charges."""


class Meter:
    """Hears a row's events, and hands them on."""

    def __init__(self, tell: Tell | None = None) -> None:
        self._tell = tell
        self._costs: dict[str, float | None] = {}
        self.stored: list[str] = []
        """Takes that are owned, by their place in the data folder."""
        self.ordered = False
        """Whether there is a remote task that the row is about, sent now or before."""

    def __call__(self, event: Event) -> None:
        """Hear one."""
        task = event.task_id or ""
        self.ordered = self.ordered or bool(task)
        if event.phase == "submitted":
            self._costs[task] = None  # until the provider says
        elif event.phase in ENDS:
            self._costs[task] = event.credits
        elif event.phase == "stored":
            self.stored.append(event.message)
        if self._tell is not None:
            self._tell(event)

    @property
    def spent(self) -> float | None:
        """Credits charged for what was sent here, or came to its end here; None where the provider has not said."""
        return sum_known(list(self._costs.values()))
