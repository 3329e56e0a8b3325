"""A clip lent to the provider: put where it can read it, tried as it will read it, taken away when its task has ended.

Its name can be guessed by nobody and made again by whoever has the ledger, so that a dead run's clip is taken away too.
No name and no link of it is ever told.
"""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote

from ..client import preflight
from ..errors import RunwayNodeError, StoreError
from ..ledger import Attempt, Ledger
from ..models import URL_CHARS
from ..settings import Settings
from ..storage import Store, open_store
from .report import Report

PROBE_BYTES = 512
"""What is put into a store to learn whether links into it can be read."""

BAD_FOR = 300.0
"""Seconds for which it is believed that they cannot; that they can is believed for good."""

WEEK = 7 * 86400.0
"""Seconds: no bucket signs for longer."""

_VERDICTS: dict[tuple[str, str, str], tuple[str, float]] = {}
_ONE_PROBE = threading.Lock()


class Lender:
    """What the setting `delivery_store` is used for.

    Args:
        settings: Name the store and where it can be read.
        ledger: Whose secret makes the names.

    """

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._settings, self._ledger = settings, ledger
        self._lent: dict[tuple[str, str, int], bool] = {}

    def why_not(self, base_url: str) -> str:
        """Why the provider at *base_url* could not read what is lent; "" where it can. One probe a process."""
        about = (self._settings.delivery_store or "", self._settings.public_base_url or "", base_url)
        with _ONE_PROBE:
            why, until = _VERDICTS.get(about, ("", 0.0))
            if time.monotonic() >= until:
                why = probed(self._settings, base_url)
                self._believe(base_url, why)
        return why

    def _believe(self, base_url: str, why: str) -> None:
        about = (self._settings.delivery_store or "", self._settings.public_base_url or "", base_url)
        _VERDICTS[about] = (why, time.monotonic() + BAD_FOR if why else float("inf"))

    def lend(self, row: Attempt, clip: Path, seconds: float) -> str:
        """The link to the clip, put where the provider can read it.

        Args:
            row: The call's.
            clip: An mp4.
            seconds: How long it may be wanted.

        Raises:
            StoreError: It cannot be put there, or not be read there; nothing is left there.

        """
        store, key = _store(self._settings), self._name(row, row.attempt)
        self._lent[row.key] = True
        try:
            store.put(clip, key)
            link = _link(self._settings, store, key, seconds)
            why = _tried(self._settings, row.base_url, link, clip.stat().st_size)
        except RunwayNodeError as error:
            why = error.what
        if why:
            self._believe(row.base_url, why)
            raise StoreError(why)
        return link

    def first(self, row: Attempt) -> None:
        """The call was never tried before, by anybody: until it is lent there is nothing to take away."""
        if row.attempt == 1:
            self._lent[row.key] = False

    def take_away(self, row: Attempt, report: Report) -> None:
        """Remove the call's clip, its earlier attempts' too; best effort."""
        if self._settings.delivery_store is None or self._lent.get(row.key) is False:
            return
        try:
            store = _store(self._settings)
            for attempt in range(1, row.attempt + 1):
                store.delete(self._name(row, attempt))
        except (RunwayNodeError, OSError) as error:
            why = error.what if isinstance(error, RunwayNodeError) else error.strerror
            whose = f"task {row.task_id}" if row.task_id else "a call that was not sent"
            report.warn(f"a clip of {whose} may be left in {self._settings.delivery_store} ({why})")
        else:
            self._lent[row.key] = False

    def _name(self, row: Attempt, attempt: int) -> str:
        return f"{self._ledger.unguessable('lent', row.scope, row.segment, str(attempt))}.mp4"


def probed(settings: Settings, base_url: str) -> str:
    """Why the provider at *base_url* could not read what is lent; "" where it can. Leaves nothing."""
    key = f"{secrets.token_hex(20)}.mp4"
    try:
        store = _store(settings)
        with tempfile.TemporaryDirectory() as folder:
            probe = Path(folder, "probe.mp4")
            probe.write_bytes(bytes(PROBE_BYTES))
            store.put(probe, key)
        try:
            return _tried(settings, base_url, _link(settings, store, key, 600.0), PROBE_BYTES)
        finally:
            store.delete(key)
    except RunwayNodeError as error:
        return error.what


def _tried(settings: Settings, base_url: str, link: str, size: int) -> str:
    """Why the provider could not read the link, "" where it can."""
    why = preflight(base_url, link, size, URL_CHARS)
    return why if settings.public_base_url else why.replace("the link", "the signed link", 1)


def _store(settings: Settings) -> Store:
    if settings.delivery_store is None:
        raise StoreError("no delivery_store is set")
    return open_store(settings.delivery_store)


def _link(settings: Settings, store: Store, key: str, seconds: float) -> str:
    if settings.public_base_url:
        return f"{settings.public_base_url}/{quote(key)}"
    return store.sign("GET", key, min(seconds, WEEK))
