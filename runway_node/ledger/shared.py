"""One open ledger for all runs of this process that have the same settings: one pool, one session that holds locks.

A batch of twenty rows at once would else hold sixty sessions of a Postgres that gives a hundred.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from ..settings import Settings
from .ledger import Ledger

_guard = threading.Lock()
_open: dict[Any, tuple[Ledger, int]] = {}


@contextlib.contextmanager
def opened(settings: Settings, *, create: bool = True) -> Iterator[Ledger]:
    """The ledger, opened by the first that needs it, closed by the last.

    Args:
        create: Make it where there is none; else `missing` tells, and it is not shared.

    Raises:
        LedgerError: It cannot be used; nothing was changed.

    """
    key = _key(settings)
    with _guard:
        held = _open.get(key)
        if held is None:
            ledger = Ledger(settings, create=create)
            held = ledger, 0
        if not held[0].missing:
            _open[key] = held[0], held[1] + 1
    try:
        yield held[0]
    finally:
        with _guard:
            left = _open[key][1] - 1 if not held[0].missing else 0
            if left:
                _open[key] = held[0], left
            else:
                _open.pop(key, None) if not held[0].missing else None
                held[0].__exit__(None, None, None)


def _key(settings: Settings) -> tuple[Any, ...]:
    """All by which two ledgers may differ; keys too, for a ledger judges by those of its settings."""
    secrets = (settings.database_url, settings.runway_key, settings.cometapi_key)
    told = tuple(None if secret is None else secret.get_secret_value() for secret in secrets)
    return (*told, settings.data_dir, settings.account, settings.runway_base_url, settings.cometapi_base_url)
