"""Who is alive. A run holds a lock that its process cannot keep beyond its own end: never a PID, never a clock.

SQLite: an OS lock on a file beside it. Postgres: a session's advisory lock, seen by all in `pg_locks`.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
import time
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from .database import Database

FOLDER = "holders"
STALE = 3600.0
"""Seconds after which a lock file is looked at though nobody asks for its run."""


class Holders(Protocol):
    """What both kinds can."""

    def hold(self) -> str:
        """Begin to live; gives the token."""

    def release(self, token: str) -> None:
        """End."""

    def alive(self, conn: Connection | None, token: str | None) -> bool:
        """Whether the token's run lives, in this process or another."""

    def close(self) -> None:
        """End all."""


class FileHolders:
    """One locked file a run, in `folder`; a stopped process (SIGSTOP) keeps its lock, a dead one cannot."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, tuple[FileLock, int]] = {}

    def hold(self) -> str:
        """Begin to live; gives the token."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for token in self.stale():
            self.alive(None, token)  # which clears a dead one away
        token = secrets.token_hex(8)
        lock = FileLock(self._path(token), timeout=0, thread_local=False)
        lock.acquire()
        self._held[token] = lock, self._path(token).stat().st_ino
        return token

    def release(self, token: str) -> None:
        """End."""
        held = self._held.pop(token, None)
        if held is not None:
            held[0].release()
            with contextlib.suppress(OSError):
                self._path(token).unlink(missing_ok=True)

    def alive(self, conn: Connection | None, token: str | None) -> bool:  # noqa: ARG002 - the other kind needs it
        """Whether the token's run lives, in this process or another."""
        if token is None:
            return False
        path = self._path(token)
        try:
            there = path.stat().st_ino
        except FileNotFoundError:
            return False  # ours too: a file that somebody swept away is a lock that nobody sees
        except OSError:
            return True
        if token in self._held:
            return there == self._held[token][1]
        lock = FileLock(path, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            return True
        except OSError:
            return True  # not to be told: then nothing is taken from it
        lock.release()
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        return False

    def close(self) -> None:
        """End all."""
        for token in list(self._held):
            self.release(token)

    def stale(self) -> list[str]:
        """Tokens whose lock files are old. Young ones are left alone: their run may be just about to lock its own."""
        before = time.time() - STALE
        found = []
        for path in self._folder.glob("*.lock"):
            with contextlib.suppress(OSError):
                found += [path.stem] if path.stat().st_mtime < before else []
        return found

    def _path(self, token: str) -> Path:
        return self._folder / f"{token}.lock"


class SessionHolders:
    """One advisory lock a run, all held by one session; with the session, or the server, they are gone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._session: Connection | None = None
        self._guard = threading.Lock()

    def hold(self) -> str:
        """Begin to live; gives the token."""
        token = f"{secrets.randbits(63):016x}"
        with self._guard, self._database.telling():
            try:
                self._lock(token)
            except DBAPIError as error:
                if not error.connection_invalidated or self._session is None:
                    raise
                # The server went away, and with the session its locks, so who held them is dead: others may begin.
                self._session.close()
                self._session = None
                self._lock(token)
        return token

    def _lock(self, token: str) -> None:
        if self._session is None:
            self._session = self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self._session.execute(text("SELECT pg_advisory_lock(:key)"), {"key": int(token, 16)})

    def release(self, token: str) -> None:
        """End."""
        with self._guard, contextlib.suppress(Exception):
            if self._session is not None:
                self._session.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": int(token, 16)})

    def alive(self, conn: Connection | None, token: str | None) -> bool:
        """Whether the token's run lives, in this process or another."""
        if token is None:
            return False
        if conn is None:
            with self._database.read() as own:
                return self.alive(own, token)
        if re.fullmatch("[0-9a-f]{16}", token) is None:
            return False
        key = int(token, 16)
        found = conn.scalar(
            text(
                "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted "
                "AND classid = :high AND objid = :low "
                "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            ),
            {"high": key >> 32, "low": key & 0xFFFFFFFF},
        )
        return found is not None

    def close(self) -> None:
        """End all."""
        with self._guard, contextlib.suppress(Exception):
            if self._session is not None:
                self._session.close()
                self._session = None


def holders(database: Database, folder: Path) -> Holders:
    """The kind that goes with the database."""
    return FileHolders(folder / FOLDER) if database.sqlite else SessionHolders(database)
