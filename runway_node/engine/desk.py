"""The desk of one run: its ledger, token and clients. Its own changes of a state pass here, so that they are told."""

from __future__ import annotations

import contextlib
import logging
import threading
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

from ..client import Client
from ..errors import LedgerError, RunwayNodeError, SettingsError
from ..ledger import Attempt, Books, Ledger, Moved, State
from ..models import Phase
from ..settings import KEY_VARIABLES, Settings
from .lending import Lender
from .report import Report
from .turns import line_of

log = logging.getLogger("runway_node")

LEAST_POLL = 5.0
"""Seconds between two looks that Runway asks for (its API documentation); less is used on loopback only."""

OVER: frozenset[State] = frozenset({"refused", "failed", "cancelled", "expired"})
"""Nobody reads the clip of these any more; that of a task which succeeded goes once its result is at home."""


@dataclass(slots=True)
class Behind:
    """What the ledger did not take of one call: the row as it has it, the task's id, the moves."""

    row: Attempt
    task_id: str | None = None
    moves: list[tuple[State, RunwayNodeError | None, dict[str, Any]]] = field(default_factory=list)


class Desk:
    """What a run works with.

    Args:
        settings: Keys, folders, limits.
        ledger: Open.
        token: Under which it holds rows.
        stop: Heard by every wait.
        report: Tells what happens.

    Of all calls that this process works on, one at a time has its turn to wait for a slot, and `freed` wakes it.

    """

    def __init__(self, settings: Settings, ledger: Ledger, token: str, stop: threading.Event, report: Report) -> None:
        self.settings = settings
        self.ledger = ledger
        self.books = Books(ledger)
        self.token = token
        self.stop = stop
        self.report = report
        self.line = line_of(ledger)
        self.rank = self.line.arrived()
        self.lender = Lender(settings, ledger)
        self._clients: dict[tuple[str, str, str], Client] = {}
        self._behind: dict[tuple[str, str, int], Behind] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients.values():
            client.__exit__(kind, error, trace)

    def beside(self, *, report: Report | None = None, stop: threading.Event | None = None) -> Desk:
        """The same desk with clients of its own, telling somebody else or hearing another stop."""
        desk = Desk(self.settings, self.ledger, self.token, stop or self.stop, report or self.report)
        desk._behind, desk.rank = self._behind, self.rank
        desk.lender = self.lender
        return desk

    def hearing(self, stop: threading.Event) -> Desk:
        """The same desk, clients and all, hearing another stop."""
        desk = self.beside(stop=stop)
        desk._clients = self._clients  # noqa: SLF001 - one desk in two guises
        return desk

    def client(self, row: Attempt) -> Client:
        """Whom to ask about this call: the provider and address it was claimed for, with the account it was sent by.

        Raises:
            SettingsError: The key is another account's.

        """
        where = (row.provider, row.base_url, row.fingerprint)
        if where not in self._clients:
            name = f"{row.provider}_base_url"
            settings = self.settings.model_copy(update={name: row.base_url})
            key = settings.key(row.provider).get_secret_value()
            if self.ledger.fingerprint(row.origin, key) != row.fingerprint:
                raise SettingsError(
                    f"Order {row.order_digest[:12]} was placed with another {row.provider} key",
                    f"Set {KEY_VARIABLES[row.provider]} to that key, or give the call to this one: "
                    f"runway-node attach {row.order_digest[:12]} {row.task_id or 'TASK_ID'}",
                )
            self._clients[where] = Client(settings, row.provider)
        return self._clients[where]

    def balance(self, row: Attempt) -> float | None:
        """The account's credits, where the provider tells them and answers at once."""
        with contextlib.suppress(RunwayNodeError):
            account = self.client(row).account()
            return account.credits if account else None
        return None

    def tell(self, row: Attempt, phase: Phase, message: str = "", **facts: Any) -> None:
        """Say what happened to this call."""
        self.report.digest, self.report.attempt = row.order_digest, row.attempt
        self.report.task_id = row.task_id
        self.report(phase, message, **facts)

    def salvage(self) -> None:
        """Take in the ids of paid tasks that the ledger did not take when they came."""
        for row in self.ledger.salvage():
            self.tell(row, "submitted", f"task {row.task_id} was in a rescue file")

    def record(self, row: Attempt, task_id: str, estimated: float | None = None) -> Attempt:
        """The order was accepted. An id that the ledger does not take is printed, and kept in a file."""
        try:
            row = self.ledger.record(row, task_id)
        except (LedgerError, Moved) as error:
            self._behind[row.key] = Behind(row, task_id)
            row = replace(row, state="submitted", task_id=task_id)
            where = self.ledger.rescue(row, task_id)
            kept = f"it is kept in {where}, which runway-node resume reads" if where else "write it down"
            self.report.task_id = task_id
            told = f"the id of paid task {task_id} could not be stored ({error.what}); {kept}"
            log.log(logging.ERROR, told)  # on stderr where nobody has set up a log: somebody must see it
            self.report.warn(told)
        self.tell(row, "submitted", f"task {task_id}", credits=estimated)
        return row

    def move(
        self, row: Attempt, to: State, message: str = "", error: RunwayNodeError | None = None, **values: Any
    ) -> Attempt:
        """Change the call's state, and tell it.

        A ledger that fails here loses nothing paid: the run goes on, and the next one finds the call where it was.

        Raises:
            Moved: Somebody else changed it meanwhile.

        """
        try:
            row = self.ledger.move(self.caught_up(row), to, error, **values)
        except LedgerError as fault:
            self._behind.setdefault(row.key, Behind(row)).moves.append((to, error, values))
            row = replace(row, state=to, **values)
            self.report.warn(f"the ledger could not be told that the call is {to} ({fault.what})")
        self.line.freed.set()  # it may have held a slot
        self.tell(row, to, message, credits=row.cost)
        if to in OVER:
            self.lender.take_away(row, self.report)
        return row

    def unmoved(self, row: Attempt) -> None:
        """Look whether the call is still where we know it to be.

        Raises:
            Moved: Somebody else changed it meanwhile.

        """
        with contextlib.suppress(LedgerError):
            now = self.ledger.current(row)
            if row.key not in self._behind and now.state != row.state:
                raise Moved(now)

    def keep(self, row: Attempt, path: str, sha256: str, size: int) -> Attempt:
        """The call's take is checked and synced."""
        try:
            row = self.ledger.keep(self.caught_up(row), path, sha256, size)
        except LedgerError as fault:
            self.report.warn(f"the ledger could not be told of the take {path} ({fault.what})")
        self.tell(row, "stored", path)
        return row

    def caught_up(self, row: Attempt) -> Attempt:
        """The row, with all in the ledger that it did not take before."""
        behind = self._behind.get(row.key)
        if behind is None:
            return row
        if behind.task_id is not None:
            behind.row, behind.task_id = self.ledger.record(behind.row, behind.task_id), None
        while behind.moves:
            to, error, values = behind.moves[0]
            behind.row = self.ledger.move(behind.row, to, error, **values)
            del behind.moves[0]
        del self._behind[row.key]
        return behind.row


def interval_of(desk: Desk, row: Attempt) -> float:
    """Seconds between two looks at the call."""
    asked = desk.settings.poll_interval
    return asked if row.origin == "sandbox" else max(LEAST_POLL, asked)


def orphaned_sandbox(desk: Desk, row: Attempt) -> bool:
    """Whether the call is a sandbox's that our settings no longer name: if nobody answers there, it is gone."""
    return row.origin == "sandbox" and row.base_url != desk.settings.base_url(row.provider)
