"""A worker: takes rows, shows that it is there, and takes over the rows of workers that are gone.

Whether one is gone is asked of the ledger's token, under which it works: a lock that its session, or process, cannot
keep beyond its own end. A stopped worker lives: its rows wait for it. Two workers can run one row at a time all the
same, where one lost its session and goes on. That is harmless: both order the same, and the ledger gives the second the
first one's task; what the first one says of the row is not written (its run does not own the row any more).
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from ...engine import Stop
from ...errors import Interrupted, LedgerError, RunwayNodeError
from .queue import Left
from .records import ALL, CANCELLED, DONE, FAILED, LEFT, OnChange, Outcome, Work, parts
from .verbs import Durable

BEAT = 2.0
"""Seconds between two looks: for dead workers, a lost session, the end."""

PATIENCE = 300.0
"""Seconds for which a worker waits for a database that it lost."""

WRITING = 10.0
"""Seconds in which a finished row's outcome is written; else the row is run again, by whoever finds it."""

log = logging.getLogger(__name__)


def serve(
    durable: Durable,
    work: Work,
    *,
    at_once: int = 1,
    stop: threading.Event | None = None,
    until_done: str | None = None,
    on_change: OnChange | None = None,
) -> None:
    """Do rows until *stop* is set, or until a batch (or `ALL`) has none left that is not over.

    Args:
        durable: Open.
        work: What is done for a row.
        at_once: Rows that this process does at once.
        stop: Set, no row is taken any more, and those under way are left to others.

    Raises:
        LedgerError: The database was lost, and did not come back.

    """
    # One life after another, each with a token of its own.
    first, tell, stop = True, _in_turn(on_change or (lambda _: None)), stop or threading.Event()
    while True:
        try:
            if _live(durable, work, at_once, stop, until_done, tell):
                return
        except LedgerError:
            if first:
                raise
        first = False
        tell({"phase": "lost"})
        if not _again(durable, stop):
            return


def _in_turn(on_change: OnChange) -> OnChange:
    """Tell one thing after another; whoever listens must not end a row."""
    lock = threading.Lock()

    def tell(change: dict[str, Any]) -> None:
        with lock, contextlib.suppress(Exception):
            on_change(change)

    return tell


def _live(
    durable: Durable, work: Work, at_once: int, stop: threading.Event, until_done: str | None, tell: OnChange
) -> bool:
    """Work under one token; whether it is over. False: the token is lost."""
    with durable.ledger.holder() as token:
        life = _Life(durable, token, work, tell)
        with durable.queue.serving(token, at_once, life.run):
            durable.arrive(token)
            tell({"phase": "serving", "worker": token, "at_once": at_once})
            with life.ending(stop):
                while not stop.wait(BEAT):
                    try:
                        if not life.lives():
                            return False
                        life.look()
                        if until_done and not durable.queue.left(None if until_done == ALL else until_done):
                            return True
                    except (LedgerError, SQLAlchemyError) as error:
                        log.warning("The database does not answer: %s", type(error).__name__)
                return True


def _again(durable: Durable, stop: threading.Event) -> bool:
    """Open a lost database anew; whether it is there."""
    end = time.monotonic() + PATIENCE
    durable.close()
    while True:
        try:
            durable.open()
        except LedgerError:
            if time.monotonic() > end:
                raise
            if stop.wait(BEAT):
                return False
        else:
            return True


class _Life:
    """What a worker does under one token."""

    def __init__(self, durable: Durable, token: str, work: Work, tell: OnChange) -> None:
        self._durable, self._token, self._work, self._tell = durable, token, work, tell
        self.over = threading.Event()
        self._rows: set[str] = set()
        self._unclaimed: set[str] = set()
        self._holds: dict[str, threading.Event] = {}
        self._holding = threading.Lock()
        self._asking = threading.Lock()  # or each row that ends would have a session of its own for a moment

    def _alive(self, token: str) -> bool:
        with self._asking:
            return self._durable.ledger.alive(token)

    def run(self, name: str, job: dict[str, Any]) -> Outcome:
        """A row, in a thread of DBOS's; what this returns is the row's end, for ever."""
        batch, number, attempt = parts(name)
        facts = {"batch": batch, "row": number, "attempt": attempt}
        self._rows.add(name)
        try:
            if self.over.is_set():
                raise Left
            # Decided once: what a row that was begun has paid is finished whatever happens to its batch.
            why = self._durable.queue.once("begin", lambda: self._durable.store.stopped(batch))
            if why is not None and self._durable.store.stopped(batch) is not None:  # it may have been resumed since
                return {"status": CANCELLED, "output": None, "error": why, "exit_code": 1}
            self._tell({"phase": "begun", **facts})
            outcome = self._do(batch, job)
            self._tell({"phase": "ended", **facts, **outcome})
        except (Left, LedgerError, SQLAlchemyError) as error:
            self._tell({"phase": LEFT, **facts})
            raise Left from error
        finally:
            self._rows.discard(name)
        return outcome

    def _heeded(self, batch: str) -> threading.Event:
        """What is set as long as nothing of a batch is to be sent, as of now."""
        with self._holding:
            hold = self._holds.setdefault(batch, threading.Event())
            hold.clear() if self._durable.store.stopped(batch) is None else hold.set()
            return hold

    def _do(self, batch: str, job: dict[str, Any]) -> Outcome:
        stop = Stop(self.over)
        stop.hold, stop.detached = self._heeded(batch), True  # whoever ends a worker leaves what is paid running
        try:
            outcome = self._work(job, stop)
        except Interrupted as error:
            raise Left from error
        except Exception as error:
            log.debug("A row's work raised", exc_info=error)
            told = str(error) if isinstance(error, RunwayNodeError) else f"{type(error).__name__}: {error}"
            outcome = {"status": FAILED, "output": None, "error": told, "exit_code": getattr(error, "exit_code", 1)}
        if outcome.get("halt"):
            with self._holding:  # at once, and in one go: a row that begins in between would take the hold off
                stop.hold.set()
                self._durable.halt(batch, str(outcome["halt"]))
        if outcome.get("status") == CANCELLED and self._durable.store.stopped(batch) is None:
            raise Left  # its batch was resumed meanwhile: it is run again, and sends what was held
        # Without a session the row is others', and what went wrong here was perhaps only that: they say how it ends.
        if outcome.get("status") == LEFT or not self._alive(self._token):
            raise Left
        plain: Outcome = json.loads(json.dumps({"status": DONE, **outcome}, default=str))
        return plain

    def lives(self) -> bool:
        """Whether the token is ours still; else the rows under way are others' from now on."""
        if not self._alive(self._token):
            self.over.set()
        return not self.over.is_set()

    def look(self) -> None:
        """Show oneself, and hear; put back rows of who is gone, and ours that never ran."""
        durable, token = self._durable, self._token
        self.hear()
        held = durable.queue.held()
        for worker in self._dead({one.token for one in durable.store.workers()} | set(held)):
            self._put_back(worker, held.get(worker, []))
            durable.store.leave(worker)
        # Claimed for this process, but the claim's end was lost with a connection: DBOS would never come back to it.
        idle = set(held.get(token, ())) - set(durable.queue.active())
        self._put_back(token, sorted(idle & self._unclaimed))
        self._unclaimed = idle

    def hear(self) -> None:
        """Show oneself, and hear which batches were stopped or go on."""
        self._durable.store.beat(self._token, len(self._rows))
        for batch in {parts(row)[0] for row in list(self._rows)}:
            self._heeded(batch)

    def _dead(self, workers: set[str]) -> Iterator[str]:
        """Those that are gone, of the ones after us up to the next that lives: who all asked for all asked too much.

        Who stands still looks after nobody, so now and then somebody looks at all.
        """
        round_us = sorted(workers - {self._token}, key=lambda worker: (worker < self._token, worker))
        all_of_them = secrets.randbelow(1 + len(round_us)) == 0
        for worker in round_us:
            if not self._alive(worker):
                yield worker
            elif not all_of_them:
                return

    def _put_back(self, worker: str, rows: list[str]) -> None:
        found = self._durable.queue.recover(worker, rows) if rows else []
        if found:
            self._tell({"phase": "recovered", "worker": worker, "rows": found})

    @contextlib.contextmanager
    def ending(self, stop: threading.Event) -> Iterator[None]:
        """With the end of this no row runs any more: finished, or with *stop* left to others."""
        try:
            yield
        except BaseException:
            self.over.set()
            raise
        finally:
            self._durable.queue.rest()
            heard = time.monotonic()
            while self._rows and not stop.is_set() and not self.over.is_set():
                time.sleep(0.05)
                if time.monotonic() - heard > BEAT:
                    heard = time.monotonic()
                    with contextlib.suppress(LedgerError, SQLAlchemyError):
                        self.hear() if self.lives() else None
            self.over.set()
            while self._rows:
                time.sleep(0.05)
            end = time.monotonic() + WRITING
            while self._durable.queue.active() and time.monotonic() < end:
                time.sleep(0.05)
            with contextlib.suppress(LedgerError, SQLAlchemyError):
                self._durable.store.leave(self._token)
