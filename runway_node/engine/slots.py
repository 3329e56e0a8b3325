"""A place among the calls under way: waited for in turn, taken by writing the intent, the last act before the POST."""

from __future__ import annotations

import math
import random
import time

from ..errors import Interrupted, SourceError, StillRunning
from ..ledger import Attempt, Moved
from .desk import Desk
from .order import Order
from .orphans import Orphans
from .turns import HEARD_WITHIN

BALANCE_HOLDS = 30.0
"""Seconds for which a balance is still the one "just before" the POST."""

SLOT_PAUSE = 1.0
"""Seconds between two looks for a free slot; one that this run gives back itself is heard of at once."""


def wait_for_slot(desk: Desk, row: Attempt, order: Order) -> Attempt:
    """Wait for a slot and write the intent, after what this process began earlier.

    Raises:
        Interrupted: Stopped, or another of the order's calls came to nothing.
        StillRunning: None came free in time.
        SourceError: The clip changed.
        Moved: Somebody else took the claim over.

    """
    with desk.line.turns(row.provider).take((desk.rank, row.position), desk.stop):
        return _next(desk, desk.caught_up(row), order)


def _heed(desk: Desk) -> None:
    if desk.stop.is_set():
        raise Interrupted("Stopped before the order was placed", "Nothing was ordered")


def _next(desk: Desk, row: Attempt, order: Order) -> Attempt:
    """The next slot. Who waits polls what nobody else does, or a slot might never come free."""
    told, orphans, began = False, Orphans(desk), time.monotonic()
    asked, balance = -math.inf, None
    while True:
        if time.monotonic() - asked > BALANCE_HOLDS:
            asked, balance = time.monotonic(), desk.balance(row)
        if order.changed():
            raise SourceError("The clip or a still changed on its way", "Nothing was ordered; run it again")
        _heed(desk)
        desk.line.freed.clear()
        word, found = desk.ledger.intend(row, desk.token, desk.settings.max_concurrency, balance=balance)
        match word:
            case "sent":
                desk.tell(found, "intent", f"{row.model} on {row.provider}")
                return found
            case "lost":
                raise Moved(found)
            case "halted":
                raise Interrupted("Another call of the order came to nothing", "Nothing was ordered")
        if not told:
            told = True
            desk.tell(row, "waiting", f"{desk.settings.max_concurrency} calls are under way; waiting for one to end")
        began = _patient(desk, row, order, began)
        orphans.look_after(row)
        _pause(desk)


def _patient(desk: Desk, row: Attempt, order: Order, began: float) -> float:
    """Since when the wait counts: while the run's own calls hold slots, it is not in vain.

    Raises:
        StillRunning: It has been too long.

    """
    if time.monotonic() - began <= order.policy.queue_timeout:
        return began
    if desk.books.aloft(desk.token):
        return time.monotonic()
    held = ", ".join(desk.books.flying(row)) or "none that is known yet"
    raise StillRunning(
        f"No slot came free in time; nothing was ordered (tasks that hold one: {held})",
        "See runway-node tasks; allow more at once with max_concurrency (RUNWAY_NODE_MAX_CONCURRENCY)",
    )


def _pause(desk: Desk) -> None:
    until = time.monotonic() + SLOT_PAUSE * (0.5 + random.random())  # noqa: S311 - spreads the looks
    while not desk.line.freed.wait(HEARD_WITHIN) and time.monotonic() < until and not desk.stop.is_set():
        pass
