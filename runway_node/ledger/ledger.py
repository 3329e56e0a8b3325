"""The ledger: every order and paid call, and what may be done with each. The only writer of the database.

Each change of a state is one commit, checked against the transition table and against the state that was read before.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, update

from ..errors import LedgerError, RunwayNodeError, WrongUse, facts
from ..models import Limits, check_limits
from . import rescue, rows
from .records import Attempt, Call, Claim, OrderRow, Sending, Terms
from .rows import same
from .schema import attempts, orders
from .shelf import names, put_take
from .states import IN_FLIGHT, PAID, PAYS, STUCK, State, Verdict, may, verdict
from .who import Who


class Moved(RunwayNodeError):
    """A row is not in the state that was expected of it: somebody else moved it meanwhile."""

    def __init__(self, row: Attempt) -> None:
        super().__init__(f"The call is {row.state} by now", task_id=row.task_id)
        self.row = row


class IllegalMove(RunwayNodeError):
    """A change that the transition table does not have: a fault of this program."""


class Judged(NamedTuple):
    """A segment, its attempts, the one that decides, and what is to be done."""

    call: Call
    tries: list[Attempt]
    deciding: int | None
    word: Verdict


class Ledger(Who):
    """One ledger, seen by one account label (see `Who` for what it is opened with)."""

    # --- orders ---

    def order(self, scope: str, digest: str) -> OrderRow | None:
        """An order as it was frozen."""
        if self.missing:
            return None
        with self.database.read() as conn:
            return rows.order(conn, scope, digest)

    def kin(self, scope: str, kin: str) -> list[OrderRow]:
        """Orders that differ in nothing but the clip's content, newest first."""
        where = (orders.c.scope == scope) & (orders.c.kin == kin)
        return [OrderRow(**row) for row in self._all(select(orders).where(where).order_by(orders.c.created.desc()))]

    def look(self, scope: str, segment: str, **again: bool) -> tuple[Attempt | None, Verdict]:
        """What `claim` would say of the segment just now, and the attempt that decides it: see `states.telling`."""
        if self.missing:
            return None, "claim"
        with self.database.read() as conn:
            found = rows.tries(conn, scope, segment)
            index, word = verdict(rows.seen(found, self._alive_in(conn)), **again)
            return None if index is None else found[index], word

    def last(self, scope: str, segment: str) -> Attempt | None:
        """The segment's attempt that decides what a run would do."""
        return self.look(scope, segment)[0]

    def tries(self, scope: str, segment: str) -> list[Attempt]:
        """The segment's attempts, oldest first."""
        with self.database.read() as conn:
            return rows.tries(conn, scope, segment)

    def now(self) -> float:
        """Seconds since the epoch by the database's clock."""
        with self.database.read() as conn:
            return self.database.now(conn)

    def today(self, scope: str) -> float | None:
        """Credits spent or reserved since midnight UTC; None where that is not known."""
        if self.missing:
            return 0.0
        with self.database.read() as conn:
            return rows.today(conn, scope, self.database.now(conn), self._alive_in(conn))

    def current(self, row: Attempt) -> Attempt:
        """The row as it is now."""
        with self.database.read() as conn:
            return rows.current(conn, row)

    # --- claims ---

    def claim(
        self,
        order: OrderRow,
        calls: Sequence[Call],
        terms: Terms,
        holder: str,
        limits: Limits,
        *,
        began: float | None = None,
        only: int | None = None,
        ordered: Sequence[Call] = (),
        reorder: bool = False,
        resubmit: bool = False,
    ) -> list[Claim]:
        """Say what this run may do with each segment, and reserve what it will pay; all in one transaction.

        Where one segment is for a person to decide, nothing is claimed; what is paid already is gone on with.

        Args:
            began: When the command was given: what other runs' calls came to since is its outcome too.
            only: Claim this one alone; of the others, only those that are for a person to decide are told of.
            ordered: What this run has claimed before, which counts with the rest.
            reorder, resubmit: See `states.telling`.

        Raises:
            OverLimit: It would cost more than allowed; nothing is reserved.

        """
        with self.database.write() as conn:
            alive = self._alive_in(conn)
            now = self.database.now(conn)
            known = rows.freeze(conn, order, now)
            judged = []
            for call in calls:
                tries = rows.tries(conn, order.scope, call.segment)
                seen = rows.seen(tries, alive, holder, began)
                one = Judged(call, tries, *verdict(seen, reorder=reorder, resubmit=resubmit))
                if only in {None, call.position} or not _ours(one, holder):
                    judged.append(one)
            judged = [one for one in _together(judged) if only in {None, one.call.position} or one.word in STUCK]
            pays = [one.call for one in judged if one.word in PAYS]
            if pays:
                spent = functools.partial(rows.today, conn, order.scope, now, alive, holder, {c.segment for c in pays})
                before, now_pays = rows.sums(ordered), rows.sums(pays)
                check_limits(limits, *now_pays, terms.model, spent, provider=terms.provider, before=before)
            if len(pays) == len(calls):
                rows.renew(conn, known, order)
            claims = [self._claimed(conn, one, order, terms, holder, now) for one in judged]
            return [claim for claim in claims if claim is not None]

    def _claimed(
        self, conn: Connection, judged: Judged, order: OrderRow, terms: Terms, holder: str, now: float
    ) -> Claim | None:
        """Do what was judged; None where another segment is for a person to decide, and this one has no attempt."""
        call, tries, deciding, word = judged
        if word in {"ambiguous", "claim"}:
            tries = [rows.given_up(conn, row, self._alive_in(conn)) for row in tries]
        row = None if deciding is None else tries[deciding]
        if word == "claim":
            number = tries[-1].attempt + 1 if tries else 1
            made = rows.insert_claim(conn, order, call, terms, holder, number, now)
            return Claim(verdict=word, row=made, before=row)
        if row is None:
            return None
        if word == "take over":
            what = rows.frozen(terms) | {"seconds": call.seconds, "credits": call.credits, "claimed": now}
            row = rows.put(conn, row, holder=holder, **what)
        elif word == "adopt" or (word == "owned" and not self._alive_in(conn)(row.holder)):
            row = rows.put(conn, row, holder=holder)  # also what is owned: gc leaves alone what a run is about
        return Claim(verdict=word, row=row)

    def intend(self, row: Attempt, holder: str, slots: int, *, balance: float | None) -> tuple[Sending, Attempt]:
        """The last act before the POST: whether it may go, by the holder's token and a free slot.

        Takes room for a rescue record first, so that a disk that is full is found before money is spent.
        """
        try:
            rescue.take_room(self.settings.data_dir, holder, row.segment)
        except OSError as error:
            raise LedgerError(
                f"The data folder {self.settings.data_dir} cannot be written ({error.strerror})",
                "Free some space; nothing was sent",
            ) from error
        with self.database.write() as conn:
            tries = rows.tries(conn, row.scope, row.segment)
            now_row = next((one for one in tries if one.key == row.key), None) or rows.current(conn, row)
            late = any(one.state in PAID for one in tries)  # an earlier attempt's answer came after all
            if now_row.holder != holder or now_row.state != "claimed" or late:
                return "lost", now_row
            if not self._alive_in(conn)(holder):
                raise LedgerError("The run lost its lock on the ledger, so others take it for dead", "Run it again")
            if rows.halted(conn, now_row, holder):
                return "halted", now_row
            now = self.database.now(conn)
            if len(rows.in_flight(conn, row.scope, row.fingerprint, self._alive_in(conn), now)) >= slots:
                return "full", now_row
            return "sent", rows.put(conn, now_row, state="intent", sender=holder, sent=now, balance=balance)

    def record(self, row: Attempt, task_id: str) -> Attempt:
        """The answer came: the task's id, also where the call was taken for lost meanwhile."""
        with self.database.write() as conn:
            now_row = rows.current(conn, row)
            if now_row.task_id == task_id:
                return now_row
            if now_row.sender != row.sender or not may(now_row.state, "submitted"):
                raise Moved(now_row)
            made = rows.put(conn, now_row, state="submitted", task_id=task_id, ended=None, error=None)
        rescue.drop(self._room(row))
        return made

    def rescue(self, row: Attempt, task_id: str) -> str:
        """Keep the id of a task outside the database; where it is kept, or "" where nothing takes it."""
        try:
            return str(rescue.write(self._room(row), row.scope, row.segment, row.attempt, task_id))
        except OSError:
            return ""

    def _room(self, row: Attempt) -> Path:
        return rescue.room(self.settings.data_dir, str(row.sender), row.segment)

    def salvage(self) -> list[Attempt]:
        """Take in the ids that were rescued; the rows that have them now."""
        taken = []
        for found in rescue.read(self.settings.data_dir):
            with self.database.write() as conn:
                row = rows.find(conn, found.scope, found.segment, found.attempt)
                if row is None or row.sender != rescue.token_of(found.path):
                    continue  # another ledger's: the temporary folder is shared
                if row.task_id is None and may(row.state, "submitted"):
                    row = rows.put(conn, row, state="submitted", task_id=found.task_id, ended=None, error=None)
                    taken.append(row)
            if row.task_id == found.task_id:
                rescue.drop(found.path)
        for path in rescue.rooms(self.settings.data_dir):
            if not self.needed(rescue.token_of(path)):
                rescue.drop(path)
        return taken

    # --- moves ---

    def move(self, row: Attempt, to: State, error: RunwayNodeError | None = None, **values: Any) -> Attempt:
        """Change the state of *row*.

        Raises:
            IllegalMove: The table has no such change.
            Moved: Somebody else changed it meanwhile.

        """
        with self.database.write() as conn:
            moved = self._move(conn, row, to, error, values)
        if row.state == "intent":
            rescue.drop_blank(self._room(row))
        return moved

    def keep(self, row: Attempt, path: str, sha256: str, size: int) -> Attempt:
        """The take is checked, whole and synced at *path* below the data folder: stored."""
        with self.database.write() as conn:
            now = self.database.now(conn)
            put_take(conn, row, self.store, {"path": path, "sha256": sha256, "size": size, "stored": now})
            if rows.current(conn, row).state == "stored":
                return rows.current(conn, row)
            return self._move(conn, row, "stored", None, {})

    def change(self, row: Attempt, **values: Any) -> Attempt:
        """Set facts of *row* that are no state."""
        with self.database.write() as conn:
            return rows.put(conn, rows.current(conn, row), **values)

    def adopt(self, row: Attempt, holder: str) -> Attempt | None:
        """Hold a row whose holder is gone; None where it lives, or the row moved on."""
        with self.database.write() as conn:
            now_row = rows.current(conn, row)
            busy = now_row.holder != holder and self._alive_in(conn)(now_row.holder)
            if now_row.state != row.state or busy:
                return None
            return rows.put(conn, now_row, holder=holder)

    def attach(self, row: Attempt, task_id: str, fingerprint: str) -> Attempt:
        """A person says which task the call became, and with whose key it can be asked for.

        Raises:
            Moved: The call is not what it was.
            IllegalMove: It is in no state that waits for a task.
            WrongUse: The task is another order's.

        """
        with self.database.write() as conn:
            now_row = rows.current(conn, row)
            if now_row.state != row.state:
                raise Moved(now_row)
            same_task = select(attempts).where(*same(attempts, {"task_id": task_id, "base_url": row.base_url}))
            others = (Attempt(**one) for one in conn.execute(same_task).mappings().all())
            if other := next((one for one in others if one.key != row.key), None):
                raise WrongUse(f"Task {task_id} belongs to order {other.order_digest[:12]}", "Check the id")
            if row.task_id == task_id and row.state in PAID:
                return rows.put(conn, now_row, fingerprint=fingerprint)  # the same task, asked for with another key
            self._check(row, "submitted")
            return rows.put(
                conn, now_row, state="submitted", task_id=task_id, fingerprint=fingerprint,
                holder=None, ended=None, error=None, delete_remote=min(now_row.delete_remote, 1),
            )  # fmt: skip

    def let_go(self, row: Attempt) -> None:
        """Hold it no longer."""
        with self.database.write() as conn:
            conn.execute(
                update(attempts).where(*same(attempts, names(row)), attempts.c.holder == row.holder).values(holder=None)
            )

    def orphans(self, row: Attempt) -> list[Attempt]:
        """Calls in flight on the same account that nobody holds; an unanswered one of them becomes ambiguous."""
        with self.database.write() as conn:
            alive = self._alive_in(conn)
            flying = rows.in_flight(conn, row.scope, row.fingerprint, alive, self.database.now(conn))
            return [other for other in flying if other.state == "submitted" and not alive(other.holder)]

    # --- inside a transaction ---

    def _alive_in(self, conn: Connection) -> rows.Alive:
        return lambda token: self.alive(token, conn)

    @staticmethod
    def _check(row: Attempt, to: State) -> None:
        if not may(row.state, to):
            raise IllegalMove(f"A call cannot become {to} once it is {row.state}", "This is our fault: report it")

    def _move(
        self, conn: Connection, row: Attempt, to: State, error: RunwayNodeError | None, values: dict[str, Any]
    ) -> Attempt:
        now_row = rows.current(conn, row)
        another = row.state in {"claimed", "intent"} and now_row.holder != row.holder
        another |= row.state in {"submitted", "succeeded"} and now_row.task_id != row.task_id
        if now_row.state != row.state or another:
            raise Moved(now_row)
        self._check(row, to)
        told = None if error is None else json.dumps(facts(error))
        if to == "claimed":
            values |= {"sender": None, "sent": None, "balance": None}
        ended = None if to in IN_FLIGHT or to == "claimed" else self.database.now(conn)
        return rows.put(conn, now_row, state=to, error=told, ended=ended, **values)


def _together(judged: list[Judged]) -> list[Judged]:
    """What to do with each segment; where one is for a person to decide, nothing is ordered for the others."""
    if not any(one.word in STUCK for one in judged):
        return judged
    return [one._replace(word="wait") if one.word in PAYS else one for one in judged]


def _ours(judged: Judged, holder: str) -> bool:
    """Whether this very run works on it."""
    return judged.deciding is not None and judged.tries[judged.deciding].holder == holder
