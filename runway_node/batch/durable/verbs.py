"""A batch's verbs: enqueue, look, cancel, halt, resume. Whoever asks need not run a row.

A batch that is stopped says so in its own row of the store: that is the truth on all machines. Cancelling what waits in
the queue only spares the time to take it out.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from ...errors import Unknown, WrongUse
from ...ledger import Ledger
from ...models.words import counted
from ...settings import Settings
from .queue import Queue
from .records import BEGAN, CANCELLED, DONE, LEFT, OPEN, RUNNING, Batch, Row, Status, Stopped, Worker
from .store import Store

FORMAT = 1
"""The format of a row. Releases that agree in it work on the same rows; a new one is a new number."""

VERSION = f"rows-{FORMAT}"


class Durable:
    """Batches in the ledger's Postgres, or on one machine in a file beside the ledger.

    Args:
        settings: Where, and whose.
        version: The format of a row.
        create: Make it where there is none; else `missing` tells, and every question has an empty answer.

    Raises:
        LedgerError: The database cannot be used.
        WrongUse: DBOS is not installed.

    """

    def __init__(self, settings: Settings, *, version: str = VERSION, create: bool = True) -> None:
        self.settings, self.version, self._create = settings, version, create
        self.missing = False
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Open it; what is not there is made, unless it should not."""
        with contextlib.ExitStack() as stack:
            self.ledger = stack.enter_context(Ledger(self.settings, create=self._create))
            self.missing = self.ledger.missing
            if not self.missing:
                self.store = Store(self.ledger, self.settings.data_dir)
                stack.callback(self.store.close)
                self.queue = Queue(self.store, self.version)
                self.missing = not self._create and not self.store.exists()
            if not self.missing:
                self.queue.make()
                self.store.make()
            self._open = stack.pop_all()

    def close(self) -> None:
        """Close all connections."""
        self._open.close()

    def arrive(self, token: str) -> None:
        """Note that this process is a worker, under a token of the ledger's."""
        self.store.arrive(token, socket.gethostname(), os.getpid(), self.version)

    @contextlib.contextmanager
    def present(self) -> Iterator[None]:
        """Count as a worker while this is open, though no row is taken yet."""
        with self.ledger.holder() as token:
            self.arrive(token)
            try:
                yield
            finally:
                self.store.leave(token)

    def enqueue(self, batch: str, jobs: Iterable[dict[str, Any]], *, anew: bool = False) -> int:
        """Enqueue what is missing of a batch, and anew what ended otherwise than done; how many.

        A job is JSON's values, without any key; its number is its own "row", else its place from 1. What waits, is
        under way or is done stays as it is. A batch that was stopped goes on.

        Args:
            anew: Rows that are done too: what they gave is there no more.

        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", batch):
            raise WrongUse(f"A batch cannot be named {batch!r}", "Use letters, digits, dots, dashes and underscores")
        self.store.begin(batch)
        there = self.queue.rows(batch)
        numbered = ((int(job.get("row", place)), job) for place, job in enumerate(jobs, 1))
        wanted = ((number, job) for number, job in numbered if _wanted(there.get(number), anew=anew))
        began = {BEGAN: self.ledger.now()}
        return self.queue.add(batch, ((number, _next(there.get(number)), job | began) for number, job in wanted))

    def status(self, batch: str | None = None) -> Status:
        """What became of a batch, or of all, and who works.

        Raises:
            Unknown: There is no such batch.

        """
        if self.missing:
            _known(batch, [])
            return Status()
        found = self.store.batches(batch)
        _known(batch, found)
        told = [
            Batch(one.id, one.created, one.stopped, one.reason, self._rows(one.id), self.queue.job(one.id))
            for one in found
        ]
        return Status(tuple(told), self._workers())

    def _rows(self, batch: str) -> tuple[Row, ...]:
        rows = self.queue.rows(batch).values()
        gone = {
            worker for worker in {row.worker for row in rows if row.state == RUNNING} if not self.ledger.alive(worker)
        }
        return tuple(replace(row, state=LEFT) if row.state == RUNNING and row.worker in gone else row for row in rows)

    def _workers(self) -> tuple[Worker, ...]:
        return tuple(
            Worker(
                one.token, one.host, one.pid, one.version, one.since, one.seen, one.running,
                self.ledger.alive(one.token),
            )
            for one in self.store.workers()
        )  # fmt: skip

    def outcomes(self, batch: str) -> list[dict[str, Any]]:
        """What each row of a batch came to, in their order; those that are not over have only a state."""
        rows = self.status(batch).batches[0].rows
        return [{"row": row.number, "attempt": row.attempt, **(row.outcome or {}), "status": row.state} for row in rows]

    def cancel(self, batch: str) -> int:
        """Send nothing of a batch any more; what is at the provider is finished. How many rows will not be begun.

        Raises:
            WrongUse: It is over.

        """
        if not self.status(batch).batches[0].open:
            raise WrongUse(f"Batch {batch} is over: there is nothing to cancel", "See: runway-node batch status")
        return self._stop(batch, "cancelled", "")

    def halt(self, batch: str, reason: str) -> int:
        """`cancel`, for a reason that is remembered."""
        return self._stop(batch, "halted", reason)

    def _stop(self, batch: str, how: Stopped, reason: str) -> int:
        _known(batch, [] if self.missing else self.store.batches(batch))
        self.store.stop(batch, how, reason)
        return self.queue.drop(batch)

    def resume(self, batch: str) -> int:
        """Let a stopped batch go on: what was not begun, and the rows that made it halt; how many."""
        _known(batch, [] if self.missing else self.store.batches(batch))
        self.store.begin(batch)
        rows = self.queue.rows(batch, jobs=True).values()
        again = (row for row in rows if row.state == CANCELLED or (row.outcome or {}).get("halt"))
        began = {BEGAN: self.ledger.now()}
        return self.queue.add(batch, ((row.number, row.attempt + 1, (row.job or {}) | began) for row in again))

    def forget(self, batch: str) -> int:
        """Remove a batch that is over from the database; its results stay. How many rows it had.

        Raises:
            WrongUse: Rows of it are not over.

        """
        found = self.status(batch).batches[0]
        if found.open:
            first = f"first: runway-node batch cancel {batch}"
            mend = "let a worker finish them: runway-node worker --drain" if found.stopped else f"wait, or {first}"
            rows = f"{counted(found.open, 'row')} that {'is' if found.open == 1 else 'are'} not over"
            raise WrongUse(f"Batch {batch} has {rows}", mend[0].upper() + mend[1:])
        self.queue.forget(batch)
        if not self.queue.rows(batch):  # else somebody gave it again meanwhile
            self.store.forget(batch)
        return len(found.rows)


def _next(there: Row | None) -> int:
    return 1 if there is None else there.attempt + 1


def _wanted(there: Row | None, *, anew: bool) -> bool:
    return there is None or (there.state not in OPEN and (anew or there.state != DONE))


def _known(batch: str | None, found: list[Any]) -> None:
    if batch is not None and not found:
        raise Unknown(f"There is no batch {batch}", "See: runway-node batch status")
