"""Where an order's files are: its paid takes, and what was finished from them; never their bytes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select, update

from .database import Database
from .records import Attempt, ResultRow, TakeRow
from .rows import KEY, same
from .schema import results, takes


class Shelf:
    """The part of the ledger that knows files.

    Args:
        database: Open, or missing: then every question has an empty answer.
        store: Which data folder's files are ours.

    """

    def __init__(self, database: Database, store: str) -> None:
        self.database = database
        self.missing = database.missing
        self.store = store

    def takes_of(self, row: Attempt) -> list[TakeRow]:
        """Where the call's take is, this data folder first."""
        found = [TakeRow(**one) for one in self._all(select(takes).where(*same(takes, names(row))))]
        return sorted(found, key=lambda take: take.store != self.store)

    def also(self, row: Attempt, store: str, path: str, sha256: str, size: int) -> None:
        """The call's take is kept in a shared store too, at *path* there."""
        with self.database.write() as conn:
            now = self.database.now(conn)
            put_take(conn, row, store, {"path": path, "sha256": sha256, "size": size, "stored": now})

    def forget_take(self, row: Attempt) -> int:
        """The data folder has the call's take no longer; how many others do."""
        with self.database.write() as conn:
            conn.execute(delete(takes).where(*same(takes, names(row)), takes.c.store == self.store))
            return len(conn.execute(select(takes.c.store).where(*same(takes, names(row)))).all())

    def result(self, scope: str, digest: str, variant: str) -> ResultRow | None:
        """The finished file that this data folder has."""
        where = {"scope": scope, "digest": digest, "variant": variant, "store": self.store}
        return next((ResultRow(**row) for row in self._all(select(results).where(*same(results, where)))), None)

    def results_with(self, sha256: str) -> list[ResultRow]:
        """Finished files of exactly these bytes."""
        return [ResultRow(**row) for row in self._all(select(results).where(results.c.sha256 == sha256))]

    def finish(self, result: ResultRow) -> None:
        """Note a finished file."""
        with self.database.write() as conn:
            key = {"scope": result.scope, "digest": result.digest, "variant": result.variant, "store": self.store}
            what = {
                "path": result.path, "sha256": result.sha256, "made": self.database.now(conn), "facts": result.facts,
            }  # fmt: skip
            if conn.execute(update(results).where(*same(results, key)).values(what)).rowcount == 0:
                conn.execute(insert(results).values(key | what))

    def _all(self, query: Select[Any]) -> list[Any]:
        if self.missing:
            return []
        with self.database.read() as conn:
            return list(conn.execute(query).mappings())


def put_take(conn: Connection, row: Attempt, store: str, what: dict[str, Any]) -> None:
    """Write down where a take is, over what was written before."""
    key = {**names(row), "store": store}
    if conn.execute(update(takes).where(*same(takes, key)).values(what)).rowcount == 0:
        conn.execute(insert(takes).values(key | what))


def names(row: Attempt) -> dict[str, Any]:
    """The columns that no other row has alike, with their values."""
    return dict(zip(KEY, row.key, strict=True))
