"""What the ledger's rows say together: open calls, owned takes, spending, a row by the start of its digest or its task.

Only reads; rows of sandboxes are told apart by their scope, rows of other account labels are never given.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import func, or_, select

from ..errors import Unknown
from .ledger import Ledger
from .records import Attempt, OrderRow, TakeRow
from .rows import seen
from .schema import attempts, orders
from .states import IN_FLIGHT, OPEN, State, telling

LEAST = 6
"""Characters of a digest or an id that may stand for the whole."""


MANY = 500
"""Digests in one question: SQLite takes a thousand values in the oldest version that is still about."""


class Books:
    """Questions to one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def latest(self, states: Sequence[State] | None = None) -> list[tuple[Attempt, OrderRow]]:
        """The attempts that still matter (see `states.telling`), with their orders; oldest first.

        Args:
            states: Only those in one of them.

        """
        query = select(attempts).where(self._mine(attempts.c.scope))
        if states is not None:
            some = select(attempts.c.segment).where(attempts.c.state.in_(list(states)))
            query = query.where(attempts.c.segment.in_(some))
        found = self._telling(map(_attempt, self._rows(query.order_by(attempts.c.attempt))))
        wanted = [row for row in found if states is None or row.state in states]
        return self._with_orders(sorted(wanted, key=lambda row: (row.claimed, row.attempt)))

    def _telling(self, tries: Iterable[Attempt]) -> list[Attempt]:
        """Of any attempts, those that still matter; of each segment's the one that decides last."""
        segments = defaultdict(list)
        for row in tries:
            segments[row.scope, row.segment].append(row)
        return [rows[index] for rows in segments.values() for index in telling(seen(rows, self._ledger.alive))]

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

    def flying(self, row: Attempt) -> list[str]:
        """Ids of the tasks that hold a slot of the call's account."""
        query = select(attempts.c.task_id).where(
            attempts.c.scope == row.scope, attempts.c.fingerprint == row.fingerprint, attempts.c.state == "submitted"
        )
        return [str(found["task_id"]) for found in self._rows(query)]

    def name_of(self, row: Attempt) -> str:
        """What a call is called: its order's digest, and where that has several, its number."""
        query = select(func.max(attempts.c.position).label("last")).where(
            attempts.c.scope == row.scope, attempts.c.order_digest == row.order_digest
        )
        several = any(found["last"] for found in self._rows(query))
        return row.order_digest[:12] + (f":{row.position + 1}" if several else "")

    def aloft(self, holder: str) -> int:
        """How many calls of that run are in flight."""
        mine = select(attempts.c.segment).where(attempts.c.holder == holder, attempts.c.state.in_(sorted(IN_FLIGHT)))
        return len(self._rows(mine))

    def find(self, which: str) -> tuple[Attempt, OrderRow]:
        """The only call that is so called, or the order's last one; see `calls`."""
        return self.calls(which)[-1]

    def calls(self, which: str) -> list[tuple[Attempt, OrderRow]]:
        """An order's calls, in order: of each the attempt that decides.

        Args:
            which: The start of the order's digest, with ":3" for its third call alone; or the id of a task.

        Raises:
            Unknown: There is none, or more than one; says what there is.

        """
        mine = select(attempts).where(self._mine(attempts.c.scope)).order_by(attempts.c.attempt)
        rows = list(map(_attempt, self._rows(mine)))
        exact = [row for row in rows if row.task_id == which]
        found = exact or [row for row in rows if _called(which, row)]
        names = sorted({row.order_digest[:12] for row in found})
        if len(names) > 1:
            raise Unknown(f"{which} may be any of {', '.join(names)}", "Give more of it")
        if not found and len(which) < LEAST:
            raise Unknown(f"{which} is too short to name an order", f"Give at least {LEAST} characters of its digest")
        if not found:
            raise Unknown(f"The ledger has no order or task {which}", self._what_there_is(which))
        last = {row.segment: row for row in (exact or self._telling(found))}
        return self._with_orders(sorted(last.values(), key=lambda row: row.position))

    def _what_there_is(self, which: str) -> str:
        label = self._elsewhere(which)
        if label is not None:
            whose = f'account "{label}"' if label else "no account label"
            return f"It belongs to {whose}: set RUNWAY_NODE_ACCOUNT to that"
        names = [order.digest[:12] for _, order in self.latest()][-5:]
        return f"The newest are {', '.join(dict.fromkeys(names))}" if names else "It has no orders yet"

    def _elsewhere(self, which: str) -> str | None:
        rows = map(_attempt, self._rows(select(attempts).where(~self._mine(attempts.c.scope))))
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


def _attempt(row: Any) -> Attempt:
    return Attempt(**row)


def _called(which: str, row: Attempt) -> bool:
    digest, _, number = which.partition(":")
    here = not number or number == str(row.position + 1)
    return which == row.task_id or (here and len(digest) >= LEAST and row.order_digest.startswith(digest.lower()))
