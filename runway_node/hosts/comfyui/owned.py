"""The list of what is owned, for a widget: looked up beside ComfyUI's loop, which asks for it again and again."""

from __future__ import annotations

import threading
import time

from ... import engine
from ...errors import RunwayNodeError
from ...settings import load_settings
from .words import choices

FRESH = 3.0
"""Seconds for which a list is not looked up again."""

PATIENCE = 1.0
"""Seconds that a description waits for a new list, before the one before it is shown."""


class Shelf:
    """The newest orders with takes, as the list shows them."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._looking: threading.Thread | None = None
        self._looked = float("-inf")
        self._lines = ["the list is not here yet: refresh the node"]

    def lines(self) -> list[str]:
        """The list, as new as it can be had at once."""
        with self._guard:
            if self._looking is None and time.monotonic() - self._looked > FRESH:
                self._looking = threading.Thread(target=self._look, name="runway-takes", daemon=True)
                self._looking.start()
            looking = self._looking
        if looking is not None:
            looking.join(PATIENCE)
        return self._lines

    def _look(self) -> None:
        """Where the ledger cannot be read, the list says so; the node itself says why."""
        try:
            lines = choices(engine.takes(settings=load_settings())) or ["no take is owned yet"]
        except RunwayNodeError:
            lines = ["the ledger cannot be read: see runway-node doctor"]
        with self._guard:
            self._lines, self._looked, self._looking = lines, time.monotonic(), None
