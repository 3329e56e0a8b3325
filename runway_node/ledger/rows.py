"""Rows read and written, within a transaction that the caller began. Nothing here decides."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Update, bindparam, case, func, insert, select, update

from ..errors import LedgerError
from .database import once_committed
from .records import Attempt, Call, OrderRow, Terms
from .schema import attempts, orders
from .states import HALTS, HELD, IN_FLIGHT, Seen

log = logging.getLogger("runway_node")

DAY = 86400.0
LONGEST = 3 * DAY
"""Seconds after which a task that still has not ended holds no slot: no provider queues or runs one for so long."""

Alive = Callable[[str | None], bool]
"""Whether the run with this token lives."""


def is_(table: Any, *names: str) -> list[Any]:
    """Conditions: each column has the value of that name, given when the statement is executed."""
    return [table.c[name] == bindparam(f"is_{name}") for name in names]


def given(**values: Any) -> dict[str, Any]:
    """Values for `is_`."""
    return {f"is_{name}": value for name, value in values.items()}


def same(table: Any, values: dict[str, Any]) -> list[Any]:
    """Conditions: each column has that value. For statements that are rare."""
    return [table.c[name] == value for name, value in values.items()]


# Statements are made once: making one takes longer than SQLite takes to answer it.
KEY = ("scope", "segment", "attempt")
ORDER = select(orders).where(*is_(orders, "scope", "digest"))
ATTEMPT = select(attempts).where(*is_(attempts, *KEY))
ATTEMPTS = select(attempts).where(*is_(attempts, "scope", "segment")).order_by(attempts.c.attempt)
_LATELY = attempts.c.state.in_(sorted(IN_FLIGHT)), attempts.c.sent > bindparam("since")
FLYING = select(attempts).where(*_LATELY, *is_(attempts, "scope", "fingerprint"))
FAILED = select(attempts.c.segment).where(
    *is_(attempts, "scope", "order_digest", "holder"), attempts.c.state.in_(sorted(HALTS))
)
CLAIMS = select(attempts).where(*is_(attempts, "scope"), attempts.c.state == "claimed")
_SPENT = func.coalesce(attempts.c.cost, case((attempts.c.state == "refused", 0.0), else_=attempts.c.credits))
SPENT = select(func.sum(_SPENT), func.count(case((_SPENT.is_(None), 1)))).where(
    *is_(attempts, "scope"), attempts.c.state != "claimed", attempts.c.sent >= bindparam("midnight")
)
NEW_ORDER, NEW_ATTEMPT = insert(orders), insert(attempts)


@functools.cache
def _change(names: tuple[str, ...]) -> Update:
    return update(attempts).where(*is_(attempts, *KEY)).values({name: bindparam(f"to_{name}") for name in names})


def key_of(row: Attempt) -> dict[str, Any]:
    """Values for the columns that no other row has alike."""
    return given(scope=row.scope, segment=row.segment, attempt=row.attempt)


def order(conn: Connection, scope: str, digest: str) -> OrderRow | None:
    """The order, as it was frozen."""
    row = conn.execute(ORDER, given(scope=scope, digest=digest)).mappings().first()
    return OrderRow(**row) if row else None


def freeze(conn: Connection, new: OrderRow, now: float) -> OrderRow:
    """Write the order, unless it is there: the first one holds. Gives what is there then.

    Raises:
        LedgerError: Another version of this program froze another plan since the caller looked.

    """
    known = order(conn, new.scope, new.digest)
    if known is not None and _calls(known) != _calls(new):
        raise LedgerError("Another run planned the same order otherwise just now", "Run it again")
    if known is None:
        values = {column.name: getattr(new, column.name) for column in orders.columns}
        conn.execute(NEW_ORDER, values | {"created": now})
    return known or new


def renew(conn: Connection, known: OrderRow, new: OrderRow) -> None:
    """Note which clip a key stands for: as long as nothing of the order is paid, the one that is given now."""
    clip = {name: getattr(new, name) for name in ("file", "path", "source", "sketch")}
    if clip["file"] != known.file:
        conn.execute(update(orders).where(*same(orders, {"scope": new.scope, "digest": new.digest})).values(clip))


def _calls(row: OrderRow) -> object:
    """What of a plan makes the paid calls: not how the file is called, or carried, or priced."""
    return json.loads(row.plan).get("segments")


def find(conn: Connection, scope: str, segment: str, attempt: int) -> Attempt | None:
    """One attempt."""
    row = conn.execute(ATTEMPT, given(scope=scope, segment=segment, attempt=attempt)).mappings().first()
    return Attempt(**row) if row else None


def current(conn: Connection, row: Attempt) -> Attempt:
    """The row as it is now."""
    found = find(conn, *row.key)
    if found is None:
        raise LedgerError("A call is no longer in the ledger", "Was the ledger replaced while this ran?")
    return found


def tries(conn: Connection, scope: str, segment: str) -> list[Attempt]:
    """The segment's attempts, oldest first."""
    return [Attempt(**row) for row in conn.execute(ATTEMPTS, given(scope=scope, segment=segment)).mappings()]


def seen(found: Sequence[Attempt], alive: Alive, holder: str | None = None, began: float | None = None) -> list[Seen]:
    """The attempts as `states` judges them, for a run that holds rows as *holder* and began then."""

    def one(row: Attempt) -> Seen:
        ours = holder is not None and row.holder == holder
        news = began is not None and not ours and (row.ended or row.sent or 0.0) > began
        return Seen(row.state, alive=row.state in HELD and alive(row.holder), ours=ours, news=news)

    return [one(row) for row in found]


def insert_claim(
    conn: Connection, new: OrderRow, call: Call, terms: Terms, holder: str, number: int, now: float
) -> Attempt:
    """A new attempt, claimed."""
    values: dict[str, Any] = frozen(terms) | {
        "scope": new.scope, "segment": call.segment, "attempt": number, "order_digest": new.digest,
        "position": call.position, "state": "claimed", "holder": holder, "claimed": now,
        "seconds": call.seconds, "credits": call.credits,
    }  # fmt: skip
    blank: dict[str, Any] = dict.fromkeys(("sender", "cost", "balance", "sent", "ended", "task_id", "error"))
    conn.execute(NEW_ATTEMPT, blank | values)
    return Attempt(**blank | values)


def frozen(terms: Terms) -> dict[str, Any]:
    """The columns that later settings do not change."""
    return {
        "provider": terms.provider, "model": terms.model, "base_url": terms.base_url, "origin": terms.origin,
        "fingerprint": terms.fingerprint, "delete_remote": int(terms.delete_remote),
    }  # fmt: skip


def put(conn: Connection, row: Attempt, **values: Any) -> Attempt:
    """Set columns of the row; as it is then."""
    if "state" in values and values["state"] != row.state:
        ids = {"digest": row.order_digest, "segment": row.segment, "attempt": row.attempt, "task_id": row.task_id}
        words = "call %s: %s -> %s", row.order_digest[:12], row.state, values["state"]
        once_committed(conn, lambda: log.info(*words, extra={"runway_call": ids}))
    changed = {f"to_{name}": value for name, value in values.items()}
    conn.execute(_change(tuple(sorted(values))), key_of(row) | changed)
    return Attempt(**{name: values.get(name, getattr(row, name)) for name in Attempt.__slots__})


def in_flight(conn: Connection, scope: str, fingerprint: str, alive: Alive, now: float) -> list[Attempt]:
    """The calls that hold a slot of this account; an unanswered one whose sender died becomes ambiguous."""
    answer = conn.execute(FLYING, given(scope=scope, fingerprint=fingerprint) | {"since": now - LONGEST})
    found = [given_up(conn, Attempt(**row), alive) for row in answer.mappings().all()]
    return [row for row in found if row.state in IN_FLIGHT]


def halted(conn: Connection, row: Attempt, holder: str) -> bool:
    """Whether another of the order's calls that the same run works on has come to nothing."""
    failed = conn.execute(FAILED, given(scope=row.scope, order_digest=row.order_digest, holder=holder)).scalars()
    return any(segment != row.segment for segment in failed)


def today(
    conn: Connection, scope: str, now: float, alive: Alive, holder: str = "", asked: Collection[str] = ()
) -> float | None:
    """Credits spent since midnight UTC, and reserved by whomever, but for what *holder* has claimed and asks for again.

    A claim counts whatever its age: it is spent on the day it is sent. One that nobody holds any more counts nothing.
    None where a call of unknown cost is among them.
    """
    claims = [Attempt(**row) for row in conn.execute(CLAIMS, given(scope=scope)).mappings()]
    others = (row for row in claims if row.holder != holder or row.segment not in asked)
    held = [row.credits for row in others if alive(row.holder)]
    spent, unknown = conn.execute(SPENT, given(scope=scope) | {"midnight": now - now % DAY}).one()
    return None if unknown or None in held else sum(one or 0.0 for one in held) + float(spent or 0.0)


def given_up(conn: Connection, row: Attempt, alive: Alive) -> Attempt:
    """The row; an unanswered one whose sender died becomes ambiguous."""
    return put(conn, row, state="ambiguous") if row.state == "intent" and not alive(row.holder) else row


def sums(calls: Sequence[Call]) -> tuple[float, float | None]:
    """Seconds and credits that the calls reserve; credits None where a price is unknown."""
    known = [call.credits for call in calls if call.credits is not None]
    return sum(call.seconds for call in calls), sum(known) if len(known) == len(calls) else None
