"""Where batches are kept: one engine for DBOS and for two small tables beside its own. Only this file writes these.

On Postgres it is the ledger's database, so that queue and ledger can never be two; on one machine a file beside it.
DBOS is handed the engine, never the URL: it has no password that it could tell.

Sessions: a worker holds `POOL` at most here, one that keeps it alive, and one for the ledger's questions: six; the work
of a row opens its own. Postgres allows 100 unless told otherwise.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Float,
    Integer,
    MetaData,
    Table,
    Text,
    create_engine,
    delete,
    event,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from ...errors import LedgerError, WrongUse
from ...ledger import Ledger
from ...ledger.database import ALIVE, PATIENCE, SESSION
from .records import Stopped

FILE = "batches.db"
POOL = 4
MAKERS = 0x52554E42
"""The advisory lock under which the tables are made; any number that others do not use."""

metadata = MetaData()

batches = Table(
    "runway_node_batches",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("stopped", Text, nullable=False),
    Column("reason", Text, nullable=False),
)

workers = Table(
    # For people: whether a worker lives is asked of its session, never read here.
    "runway_node_workers",
    metadata,
    Column("token", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("since", Float, nullable=False),
    Column("seen", Float, nullable=False),
    Column("running", Integer, nullable=False),
)


class Store:
    """The batches of one ledger.

    Args:
        ledger: Open; names the database and the account.
        folder: The data folder.

    """

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self._ledger = ledger
        self.account = ledger.account
        self.file = folder / FILE if ledger.database.sqlite else None
        self.where = str(self.file or ledger.database.where)
        self.engine = _sqlite(self.file) if self.file else _postgres(ledger.database.engine.url)

    def close(self) -> None:
        """Close all connections, and open no other one.

        DBOS tries again for ever where a connection fails: a thread of it that still waits for the database would keep
        the process from ending.
        """

        @event.listens_for(self.engine, "do_connect")
        def _refuse(*_: object) -> None:
            raise LedgerError("The batches are closed")

        self.engine.dispose()

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """The driver's errors as ours, in plain words."""
        if self.file is None:
            with self._ledger.database.telling():
                yield
            return
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            words = str(getattr(error, "orig", error)).strip().splitlines()[0]
            raise LedgerError(f"The batches in {self.where} cannot be used ({words})", "Check the disk") from error

    @contextlib.contextmanager
    def _write(self) -> Iterator[Connection]:
        with self.telling(), self.engine.begin() as conn:
            if self.file is not None:
                conn.exec_driver_sql("BEGIN IMMEDIATE")
            yield conn

    @contextlib.contextmanager
    def _read(self) -> Iterator[Connection]:
        with self.telling(), self.engine.begin() as conn:
            yield conn

    def exists(self) -> bool:
        """Whether there was ever a batch here."""
        if self.file is not None and not self.file.exists():
            return False  # looking would make it
        with self._read() as conn:
            return bool(inspect(conn).has_table(workers.name))

    def make(self) -> None:
        """Make the tables where they are missing."""
        if self.file is not None:
            with contextlib.suppress(SQLAlchemyError), self.engine.connect() as conn:  # busy: the next one does it
                conn.exec_driver_sql("PRAGMA journal_mode=WAL")
        with self._write() as conn:
            if self.file is None:
                conn.execute(text(f"SELECT pg_advisory_xact_lock({MAKERS})"))
            metadata.create_all(conn)

    def begin(self, batch: str) -> None:
        """Note a batch, or let a stopped one go on.

        Raises:
            WrongUse: It is another account's.

        """
        with self._write() as conn:
            found = conn.execute(select(batches.c.account).where(batches.c.id == batch)).first()
            if found is None:
                values = {"account": self.account, "created": self._now(conn), "stopped": "", "reason": ""}
                conn.execute(insert(batches).values(id=batch, **values))
            elif found.account != self.account:
                raise WrongUse(f"Batch {batch} is another account's", "Give it another name")
            else:
                conn.execute(update(batches).where(batches.c.id == batch).values(stopped="", reason=""))

    def stop(self, batch: str, how: Stopped, reason: str) -> None:
        """Let nothing of a batch be begun any more; the first reason stays."""
        with self._write() as conn:
            going = (batches.c.id == batch) & (batches.c.stopped == "")
            conn.execute(update(batches).where(going).values(stopped=how, reason=reason))

    def stopped(self, batch: str) -> str | None:
        """Why nothing of a batch is to be begun; None where it goes on."""
        with self._read() as conn:
            found = conn.execute(select(batches.c.stopped, batches.c.reason).where(batches.c.id == batch)).first()
        return (found.reason or f"The batch was {found.stopped}") if found is not None and found.stopped else None

    def batches(self, batch: str | None = None) -> list[Any]:
        """The account's batches, newest first; or the one."""
        query = select(batches).where(batches.c.account == self.account).order_by(batches.c.created.desc())
        with self._read() as conn:
            return list(conn.execute(query if batch is None else query.where(batches.c.id == batch)))

    def forget(self, batch: str) -> None:
        """A batch was never there."""
        with self._write() as conn:
            conn.execute(delete(batches).where(batches.c.id == batch))

    def arrive(self, token: str, host: str, pid: int, version: str) -> None:
        """A worker begins."""
        with self._write() as conn:
            now = self._now(conn)
            values = {"host": host, "pid": pid, "version": version, "since": now, "seen": now, "running": 0}
            conn.execute(insert(workers).values(token=token, **values))

    def beat(self, token: str, running: int) -> None:
        """A worker is there."""
        with self._write() as conn:
            told = {"seen": self._now(conn), "running": running}
            conn.execute(update(workers).where(workers.c.token == token).values(**told))

    def leave(self, token: str) -> None:
        """A worker is gone."""
        with self._write() as conn:
            conn.execute(delete(workers).where(workers.c.token == token))

    def workers(self) -> list[Any]:
        """All workers, eldest first."""
        with self._read() as conn:
            return list(conn.execute(select(workers).order_by(workers.c.since)))

    def _now(self, conn: Connection) -> float:
        if self.file is not None:
            return time.time()  # the file is on this machine, and so is its clock
        return float(conn.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0.0)


def _postgres(url: URL) -> Engine:
    engine = create_engine(
        url, pool_size=POOL, max_overflow=0, pool_pre_ping=True, hide_parameters=True, connect_args=ALIVE
    )

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _: object) -> None:
        told = SESSION | {"lock_timeout": int(PATIENCE * 1000)}
        with connection.cursor() as cursor:
            for name, value in told.items():
                cursor.execute(f"SET {name} = {value}")
        connection.commit()

    return engine


def _sqlite(file: Path) -> Engine:
    url = URL.create("sqlite", database=str(file))
    engine = create_engine(
        url, poolclass=QueuePool, pool_size=POOL, max_overflow=0, hide_parameters=True,
        connect_args={"timeout": PATIENCE, "check_same_thread": False},
    )  # fmt: skip

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _: object) -> None:
        # As DBOS itself opens a file: its writers wait for one another. The log lets readers not wait for them.
        connection.isolation_level = "IMMEDIATE"
        for word in ("foreign_keys=ON", "synchronous=FULL", "fullfsync=1"):
            connection.execute(f"PRAGMA {word}")

    return engine
