"""The database under the ledger: opened, guarded, one writer at a time. Its faults are told in plain words.

A write begins by taking the only write lock there is (SQLite: BEGIN IMMEDIATE; Postgres: one advisory lock), so what is
read within it stays true until it is committed.
"""

from __future__ import annotations

import contextlib
import platform
import secrets as randomness
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Connection, Engine, create_engine, event, insert, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from ..errors import LedgerError
from ..settings import Settings
from . import schema

FILE = "ledger.db"
PATIENCE = 30.0
"""Seconds to wait for the write lock; a write takes milliseconds."""

WRITERS = 0x52554E57
"""The advisory lock that a write takes on Postgres; any number that others do not use."""

TOLD = "runway_node"

SESSION = {
    "synchronous_commit": "on", "idle_in_transaction_session_timeout": 20_000,
    "tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3,
}  # fmt: skip
"""For each session on Postgres: what is committed is on its disk; a client that is gone loses its locks in a minute,
and one that stands still within a write loses it before others lose their patience."""

ALIVE = {
    "connect_timeout": 10, "tcp_user_timeout": 30_000,
    "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3,
}  # fmt: skip
"""The same from our side: the session that holds the locks is idle for as long as a run lasts."""

REMOTE = frozenset(
    {
        "nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afpfs", "webdav", "davfs", "ncpfs", "afs", "ceph",
        "glusterfs", "lustre", "gpfs", "beegfs", "ocfs2", "gfs2", "orangefs", "pvfs2", "coda", "vboxsf", "vmhgfs",
        "drvfs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse", "fuse.davfs",
        "fuse.vmhgfs-fuse", "fuse.juicefs", "fuse.blobfuse", "macfuse", "osxfuse",
    }
)  # fmt: skip
"""File systems on which locks or shared memory, and so SQLite's promises, may silently not hold."""


class Database:
    """One ledger's database.

    Args:
        settings: Names the Postgres URL or the data folder.
        create: Make it where there is none; else `missing` says so and nothing is touched.

    Raises:
        LedgerError: It cannot be used; nothing was changed.

    """

    def __init__(self, settings: Settings, *, create: bool = True) -> None:
        self.url = settings.database_url
        self.file = None if self.url else settings.data_dir / FILE
        self._create, self._data_dir = create, settings.data_dir
        there = self.file is None or self.file.exists()
        self.missing = not create and not there
        self.where = str(self.file) if self.file else "the database of RUNWAY_NODE_DATABASE_URL"
        self._engine: Engine | None = None
        if not there:
            self._not_lost()
        if self.missing:
            return
        self._engine = self._sqlite(self.file) if self.file else self._postgres(self.url.get_secret_value())  # type: ignore[union-attr]
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    @property
    def sqlite(self) -> bool:
        """Whether it is a file on this machine."""
        return self.file is not None

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine, for the sessions that hold locks."""
        assert self._engine is not None
        return self._engine

    def close(self) -> None:
        """Close all connections."""
        if self._engine is not None:
            self._engine.dispose()

    def _sqlite(self, file: Path) -> Engine:
        local(file.parent)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerError(
                f"The data folder {file.parent} cannot be made ({error.strerror})", "Set RUNWAY_NODE_DATA_DIR"
            ) from error
        engine = create_engine(
            URL.create("sqlite", database=str(file)),
            poolclass=QueuePool,
            hide_parameters=True,
            connect_args={"timeout": PATIENCE, "check_same_thread": False},
        )

        @event.listens_for(engine, "connect")
        def _connect(connection: Any, _: object) -> None:
            connection.isolation_level = None  # we say BEGIN ourselves
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA fullfsync=1")  # macOS: through the drive's own cache; elsewhere it is nothing

        return engine

    def _postgres(self, url: str) -> Engine:
        try:
            parsed = make_url(url)
            if parsed.get_backend_name() not in {"postgres", "postgresql"}:
                raise LedgerError(
                    f"RUNWAY_NODE_DATABASE_URL names {parsed.get_backend_name()}",
                    "Use postgresql://..., or leave it out",
                )
            engine = create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                pool_pre_ping=True,
                hide_parameters=True,
                isolation_level="READ COMMITTED",
                connect_args=ALIVE,
            )
        except ModuleNotFoundError:
            raise LedgerError("RUNWAY_NODE_DATABASE_URL needs psycopg", "pip install 'runway-node[postgres]'") from None
        except (ArgumentError, NoSuchModuleError, ValueError):
            raise LedgerError(
                "RUNWAY_NODE_DATABASE_URL is not a database's URL", "Write postgresql://user:password@host/name"
            ) from None

        @event.listens_for(engine, "connect")
        def _connect(connection: Any, _: object) -> None:
            # Said after connecting, for poolers refuse what they do not know in the start-up.
            with connection.cursor() as cursor:
                for name, value in (SESSION | {"lock_timeout": int(PATIENCE * 1000)}).items():
                    cursor.execute(f"SET {name} = {value}")
            connection.commit()

        return engine

    def _prepare(self) -> None:
        known = len(schema.MIGRATIONS)
        with self.read() as conn:
            have, others = schema.version_of(conn), schema.foreign(conn)
        if have > known:
            raise LedgerError(
                f"The ledger {self.where} is of version {have}, this program knows {known}",
                "Update runway-node; the ledger was not touched",
            )
        if have == 0 and self.sqlite:
            if others:
                raise LedgerError(
                    f"{self.where} is another program's database, with the table {others[0]}",
                    "Move it away, or set RUNWAY_NODE_DATA_DIR; it was not touched",
                )
            self._not_lost()
        if have == 0 and not self._create:
            self.missing = True
            return
        if self.sqlite:
            self._write_ahead()
        if have < known:
            with self.write() as conn:
                schema.migrate(conn, self.now(conn))
                if conn.scalar(select(schema.secrets.c.value).where(schema.secrets.c.name == "fingerprint")) is None:
                    conn.execute(insert(schema.secrets).values(name="fingerprint", value=randomness.token_hex(32)))

    def _not_lost(self) -> None:
        """Refuse to begin anew where paid takes show that there was a ledger: each order would be paid again."""
        folder = self._data_dir
        takes = next((take for place in ("takes", "accounts/*/takes") for take in folder.glob(f"{place}/*.mp4")), None)
        if takes is not None:
            raise LedgerError(
                f"{self.where} is missing or empty, but {takes.parent} holds paid takes",
                "Restore it from a copy; or set RUNWAY_NODE_DATABASE_URL if the ledger is there; or begin anew with "
                "another RUNWAY_NODE_DATA_DIR, which pays for every order again",
            )

    def _write_ahead(self) -> None:
        """Switch a ledger that we know to the write-ahead log, once."""
        with self.telling(), contextlib.closing(self.engine.raw_connection()) as connection:
            cursor = connection.cursor()
            if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                _wal(cursor)
            cursor.close()

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with self.telling(), self.engine.begin() as conn:
            if self.sqlite:
                _say(conn, "BEGIN")
            yield conn

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that nobody else writes beside; committed, and on the disk, when this ends."""
        with self.telling(), self.engine.begin() as conn:
            if self.sqlite:
                _say(conn, "BEGIN IMMEDIATE")
            else:
                conn.execute(text(f"SELECT pg_advisory_xact_lock({WRITERS})"))
            told = conn.info[TOLD] = []
            yield conn
        for tell in told:
            tell()

    def now(self, conn: Connection) -> float:
        """Seconds since the epoch by the database's clock."""
        if self.sqlite:
            return time.time()  # the file is on this machine, and so is its clock
        return float(conn.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0.0)

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """The driver's errors as ours, in plain words."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise self._fault(error) from error

    def _fault(self, error: Exception) -> LedgerError:
        said = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        if not self.sqlite and isinstance(error, DBAPIError) and not getattr(error.orig, "sqlstate", None):
            # Not even connected: the driver may quote what it took for the host, a piece of a password perhaps.
            said = f"it cannot be reached: {type(error.orig).__name__}"
        words = said.strip().splitlines()[0] if said.strip() else type(error).__name__
        for sign, what, mend in FAULTS:
            if sign in said.lower():
                return LedgerError(f"The ledger {self.where} {what} ({words})", mend)
        if self.sqlite:
            return LedgerError(f"The ledger {self.where} cannot be used ({words})", "Check the folder and the disk")
        return LedgerError(f"The ledger's database cannot be used ({words})", "Check RUNWAY_NODE_DATABASE_URL")


FAULTS = (
    ("database is locked", "is locked by another program", "Close what holds it, then run this again"),
    ("lock timeout", "is being written to by a run that does not go on", "End that run, then run this again"),
    ("readonly", "is read-only", "Make the file and its folder writable"),
    ("disk is full", "is on a full disk", "Free some space, then run this again"),
    ("not a database", "is no ledger, or is damaged", "Move it away, or restore it; it was not touched"),
    ("malformed", "is damaged", "Restore it from a copy, or move it away; it was not touched"),
    ("unable to open", "cannot be opened", "Check the folder, or set RUNWAY_NODE_DATA_DIR"),
    ("disk i/o error", "is on a disk that fails", "Check the disk; keep the folder on a local one"),
    ("locking protocol", "is on a disk whose locks do not work", "Keep the folder on a local disk"),
)
"""What the drivers say, what that means, and the mend."""


def once_committed(conn: Connection, tell: Callable[[], None]) -> None:
    """Call *tell* when the write that *conn* is in is on the disk; never where it is undone."""
    conn.info[TOLD].append(tell)


def _say(conn: Connection, word: str) -> None:
    """To the driver itself: an engine with a listener for "begin" looks for listeners at every statement."""
    connection: Any = conn.connection.dbapi_connection
    connection.execute(word)


def _wal(connection: Any) -> None:
    """Switch to the write-ahead log; while another process does the same SQLite says "locked" without waiting."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except Exception as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


def local(folder: Path) -> None:
    """Refuse a folder on a network file system, where that can be told.

    Raises:
        LedgerError: It is on one.

    """
    kind = file_system(folder)
    if kind in REMOTE:
        raise LedgerError(
            f"The data folder {folder} is on a network file system ({kind}), where the ledger's locks may not hold",
            "Set RUNWAY_NODE_DATA_DIR to a local disk, or RUNWAY_NODE_DATABASE_URL to a Postgres database",
        )


def file_system(folder: Path) -> str:
    """The file system's name that *folder* is, or will be, on; "" where it cannot be told."""
    path = folder.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    path = path.resolve()
    if str(path).startswith("\\\\"):
        return "smb"
    try:
        mounts = psutil.disk_partitions(all=True)
    except (OSError, RuntimeError, NotImplementedError):
        return ""
    best = max(  # of two in one place the later one is on top
        (mount for mount in reversed(mounts) if path.is_relative_to(mount.mountpoint)),
        key=lambda mount: len(mount.mountpoint),
        default=None,
    )
    if best is None:
        return ""
    if best.fstype == "9p" and "microsoft" in platform.release().lower():
        return "drvfs"  # a Windows disk seen from WSL
    return "smb" if "remote" in best.opts.split(",") else best.fstype.lower()
