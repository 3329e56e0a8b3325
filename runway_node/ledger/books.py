"""What the ledger's rows say together: open calls, owned takes, spending, a row by the start of its digest or its task.

Only reads; rows of sandboxes are told apart by their scope, rows of other account labels are never given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, func, or_, select

from ..errors import Unknown
from .ledger import Ledger
from .records import Attempt, OrderRow, TakeRow
from .schema import attempts, orders
from .states import OPEN, PAID, State

LEAST = 6
"""Characters of a digest or an id that may stand for the whole."""


MANY = 500
"""Digests in one question: SQLite takes a thousand values in the oldest version that is still about."""


class Books:
    """Questions to one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def latest(self, states: Sequence[State] | None = None) -> list[tuple[Attempt, OrderRow]]:
        """Each segment's newest attempt, and older ones that were paid too, with their orders; oldest first.

        Args:
            states: Only those in one of them.

        """
        newest = (
            select(attempts.c.scope, attempts.c.segment, func.max(attempts.c.attempt).label("attempt"))
            .where(self._mine(attempts.c.scope))
            .group_by(attempts.c.scope, attempts.c.segment)
            .subquery()
        )
        same = [attempts.c[name] == newest.c[name] for name in ("scope", "segment")]
        # After a resubmission the late answer of the attempt before may be a second paid task: it is not lost either.
        either = or_(attempts.c.attempt == newest.c.attempt, attempts.c.state.in_(sorted(PAID)))
        query = select(attempts).join(newest, and_(*same)).where(either)
        query = query.order_by(attempts.c.claimed, attempts.c.attempt)
        if states is not None:
            query = query.where(attempts.c.state.in_(list(states)))
        return self._with_orders([Attempt(**row) for row in self._rows(query)])

    def open(self) -> list[tuple[Attempt, OrderRow]]:
        """Those that are not over; claims that nobody holds any more are, for nothing was sent."""
        found = self.latest(sorted(OPEN))
        return [(row, order) for row, order in found if row.state != "claimed" or self._ledger.alive(row.holder)]

    def owned(self, content: str | None = None) -> list[tuple[TakeRow, Attempt, OrderRow]]:
        """Takes, newest first; those of one clip, if its content is given."""
        stored = self.latest(["stored"])
        found = [
            (take, row, order)
            for row, order in stored
            if content is None or content in {order.content, order.file}
            for take in self._ledger.takes_of(row)
        ]
        return sorted(found, key=lambda one: one[0].stored, reverse=True)

    def sent(self, since: float | None) -> list[Attempt]:
        """Every attempt whose POST was sent, sandbox orders apart."""
        query = select(attempts).where(attempts.c.scope == self._ledger.account, attempts.c.sent.is_not(None))
        if since is not None:
            query = query.where(attempts.c.sent >= since)
        return [Attempt(**row) for row in self._rows(query.order_by(attempts.c.sent))]

    def others(self, row: Attempt, since: float) -> int:
        """Other calls on the same account that may have cost something since."""
        query = select(attempts).where(
            attempts.c.fingerprint == row.fingerprint,
            or_(attempts.c.sent >= since, attempts.c.ended >= since, attempts.c.state.in_(["intent", "submitted"])),
        )
        return sum(1 for other in self._rows(query) if Attempt(**other).key != row.key)

    def find(self, which: str) -> tuple[Attempt, OrderRow]:
        """The newest attempt of an order by the start of its digest, or of a call by its task id.

        Raises:
            Unknown: There is none, or more than one; says what there is.

        """
        latest = self.latest()
        found = [pair for pair in latest if _called(which, pair[0])] or self._earlier(which, latest)
        if len({order.digest for _, order in found}) == 1:
            return found[-1]
        if found:
            names = ", ".join(sorted({order.digest[:12] for _, order in found}))
            raise Unknown(f"{which} may be any of {names}", "Give more of it")
        raise Unknown(f"The ledger has no order or task {which}", self._what_there_is(which))

    def _earlier(self, which: str, latest: list[tuple[Attempt, OrderRow]]) -> list[tuple[Attempt, OrderRow]]:
        """The order one of whose earlier attempts had that task."""
        had = self._rows(select(attempts).where(attempts.c.task_id == which, self._mine(attempts.c.scope)))
        segments = {row["segment"] for row in had}
        return [pair for pair in latest if pair[0].segment in segments]

    def _what_there_is(self, which: str) -> str:
        label = self._elsewhere(which)
        if label is not None:
            whose = f'account "{label}"' if label else "no account label"
            return f"It belongs to {whose}: set RUNWAY_NODE_ACCOUNT to that"
        names = [order.digest[:12] for _, order in self.latest()][-5:]
        return f"The newest are {', '.join(dict.fromkeys(names))}" if names else "It has no orders yet"

    def _elsewhere(self, which: str) -> str | None:
        rows = (Attempt(**row) for row in self._rows(select(attempts).where(~self._mine(attempts.c.scope))))
        return next((row.scope.partition("#")[0] for row in rows if _called(which, row)), None)

    def _mine(self, column: Any) -> Any:
        label = self._ledger.account
        # Not LIKE, which takes "ACME" for "acme" on SQLite.
        return or_(column == label, func.substr(column, 1, len(label) + 1) == f"{label}#")

    def _rows(self, query: Any) -> list[Any]:
        if self._ledger.missing:
            return []
        with self._ledger.database.read() as conn:
            return list(conn.execute(query).mappings())

    def _with_orders(self, rows: list[Attempt]) -> list[tuple[Attempt, OrderRow]]:
        digests = sorted({row.order_digest for row in rows})
        found = {
            (row["scope"], row["digest"]): OrderRow(**row)
            for begin in range(0, len(digests), MANY)
            for row in self._rows(select(orders).where(orders.c.digest.in_(digests[begin : begin + MANY])))
        }
        return [(row, found[row.scope, row.order_digest]) for row in rows]


def _called(which: str, row: Attempt) -> bool:
    return which == row.task_id or (len(which) >= LEAST and row.order_digest.startswith(which.lower()))
