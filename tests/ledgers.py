"""A real ledger to play with: made-up orders, runs that live and die as processes do, on SQLite and on Postgres.

Nothing here sends anything, and nothing here is a test.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

import pytest
from sqlalchemy import select

from runway_node.ledger import Attempt, Call, Claim, Ledger, OrderRow, Sending
from runway_node.ledger.schema import attempts
from runway_node.models import Limits
from runway_node.settings import load_settings

SECONDS, CREDITS = 5.0, 140.0
KEY = "key-one"
FREE = Limits()


def digest(name: str) -> str:
    """Some digest for a name, always the same."""
    return hashlib.sha256(name.encode()).hexdigest()


def order(name: str = "dusk", scope: str = "", **values: Any) -> OrderRow:
    """An order as the engine names it."""
    told: dict[str, Any] = {
        "content": digest(f"{name} content"), "file": digest(f"{name} file"), "kin": digest("kin"), "sketch": "",
        "source": f"{name}.mp4", "path": f"/clips/{name}.mp4", "step": '{"prompt":"dusk"}', "plan": "{}", "seed": 7,
    }  # fmt: skip
    return OrderRow(digest=digest(name), scope=scope, **told | values)


def call(name: str = "dusk", seconds: float = SECONDS, credits: float | None = CREDITS, position: int = 0) -> Call:
    """An order's paid call."""
    return Call(segment=digest(f"{name} {position}"), position=position, seconds=seconds, credits=credits)


class Run:
    """What one process has: a ledger of its own and a token under which it holds rows."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._held = ledger.holder()
        self.token = self._held.__enter__()
        self.terms = ledger.terms("runway", "aleph2")
        self.scope = ledger.scope(self.terms.origin, self.terms.fingerprint)

    def claim(self, name: str = "dusk", limits: Limits = FREE, price: float | None = CREDITS, **again: Any) -> Claim:
        """Ask for an order of one call."""
        (given,) = self.ledger.claim(
            order(name, self.scope), [call(name, credits=price)], self.terms, self.token, limits, **again
        )
        return given

    def intend(self, row: Attempt, slots: int = 100) -> tuple[Sending, Attempt]:
        """The last act before the POST."""
        return self.ledger.intend(row, self.token, slots, balance=None)

    def sent(self, name: str = "dusk", **options: Any) -> Attempt:
        """Claim an order and write the intent."""
        word, row = self.intend(self.claim(name, **options).row)
        assert word == "sent"
        return row

    def paid(self, name: str = "dusk", **options: Any) -> Attempt:
        """Claim an order, write the intent, get a task's id."""
        return self.ledger.record(self.sent(name, **options), f"task-{name}")

    def reach(self, state: str, name: str = "dusk") -> Attempt:
        """Bring an order to a state, by legal moves."""
        if state == "claimed":
            return self.claim(name).row
        if state == "intent":
            return self.sent(name)
        if state in {"refused", "ambiguous"}:
            return self.ledger.move(self.sent(name), state)
        row = self.paid(name)
        if state == "submitted":
            return row
        if state in {"failed", "cancelled", "expired"}:
            return self.ledger.move(row, state)
        row = self.ledger.move(row, "succeeded", cost=CREDITS)
        return row if state == "succeeded" else self.ledger.keep(row, f"takes/{name}.mp4", digest(name), 9)

    def now(self, row: Attempt) -> Attempt:
        """The row as the ledger has it."""
        found = self.ledger.last(row.scope, row.segment)
        assert found is not None
        return found

    def die(self) -> None:
        """Lose the lock, as a killed process does, and change no row."""
        self._held.__exit__(None, None, None)


class Room:
    """One ledger's place; each `run` is another process, as far as the ledger can tell."""

    def __init__(self, folder: Any, url: str | None) -> None:
        self.folder, self.url = folder, url
        self._open: list[Ledger] = []
        self._runs: list[Run] = []
        self._settings: dict[str, Any] = {}

    def settings(self, **values: Any) -> Any:
        """Settings that lead here."""
        where = {"database_url": self.url} if self.url else {}
        told = {"data_dir": self.folder, "runway_key": KEY, **where, **values}
        return self._settings.get(repr(told)) or self._settings.setdefault(repr(told), load_settings(**told))

    def open(self, **values: Any) -> Ledger:
        """The ledger, opened once more."""
        self._open.append(Ledger(self.settings(**values)))
        return self._open[-1]

    def run(self, **values: Any) -> Run:
        """A run of a process of its own; it lives until it dies, or the test ends."""
        self._runs.append(Run(self.open(**values)))
        return self._runs[-1]

    def rows(self, *states: str) -> list[Any]:
        """All attempts of everybody, as they are in the database."""
        with self.open().database.read() as conn:
            found = [Attempt(**row) for row in conn.execute(select(attempts)).mappings()]
        return [row for row in found if not states or row.state in states]

    def close(self) -> None:
        """Close what was opened."""
        for ledger in self._open:
            ledger.__exit__(None, None, None)


@pytest.fixture(name="server")
def server_fixture(postgres):
    """The session's PostgreSQL server."""
    return postgres


POSTGRES = pytest.param(
    "postgres", marks=[pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="the test server is POSIX's")]
)
"""Its server takes two seconds to start."""


@pytest.fixture(name="room", params=["sqlite", POSTGRES])
def room_fixture(request, tmp_path):
    """A place for a ledger, on each kind of database."""
    url = request.getfixturevalue("server").fresh() if request.param == "postgres" else None
    made = Room(tmp_path / "data", url)
    yield made
    made.close()
    if url:
        request.getfixturevalue("server").drop(url)


@pytest.fixture(name="run")
def run_fixture(room):
    """A run of a process of its own."""
    return room.run()


@pytest.fixture(name="served")
def served_fixture(server, tmp_path):
    """A place for a ledger on Postgres alone."""
    made = Room(tmp_path / "data", server.fresh())
    yield made
    made.close()
    server.drop(made.url)
