"""Any order of events at all, and still: paid once, within the limits, everybody served.

Hypothesis plays runs that begin, crash, stall and wait, over a real ledger and a provider of a few lines that counts.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy.engine import make_url

from runway_node.errors import OverLimit
from runway_node.ledger import FILE, IN_FLIGHT, Attempt, Moved, may, rescue
from runway_node.models import Limits

from .ledgers import CREDITS, Room, Run, digest

NAMES = ("dusk", "dusk, changed", "dawn", "noon")
"""A source that changed is another order."""

SLOTS, ORDERS = 2, 5
"""Calls at once, and calls whose reservations the day's credits cover."""

DAILY = Limits(max_credits_per_day=ORDERS * CREDITS)
ENDED = frozenset({"refused", "failed", "cancelled", "expired", "ambiguous"})
AGAIN = {"": frozenset(), "reorder": frozenset({"expired"}), "resubmit": frozenset({"ambiguous", "intent"})}

AGAINS = st.sampled_from(["", "", "", *AGAIN])
ANSWERS = st.sampled_from(["accepted"] * 5 + ["refused", "ambiguous", "lost", "stopped"])
"""What a POST comes to: "lost" was accepted, and nobody hears of it; "stopped" was surely not sent."""

LOG = (
    "CREATE TABLE moves (before TEXT, after TEXT)",
    ("CREATE TRIGGER log_moves AFTER UPDATE OF state ON runway_node_attempts WHEN NEW.state <> OLD.state "
    "BEGIN INSERT INTO moves VALUES (OLD.state, NEW.state); END"),
)
LOG_ON_POSTGRES = (
    LOG[0],
    ("CREATE FUNCTION log_move() RETURNS trigger LANGUAGE plpgsql AS "
    "'BEGIN INSERT INTO moves VALUES (OLD.state, NEW.state); RETURN NEW; END'"),
    ("CREATE TRIGGER log_moves AFTER UPDATE OF state ON runway_node_attempts FOR EACH ROW "
    "WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION log_move()"),
)


def counts(row):
    """Credits a call counts for: its cost once that is known, nothing where it was refused, else what it reserved."""
    return row.cost if row.cost is not None else 0.0 if row.state == "refused" else row.credits


@dataclass
class Task:
    """What the provider works on; `bill` is the most it will cost until it ends."""

    name: str
    state: str = "running"
    bill: float = CREDITS
    stated: float | None = None


class Provider:
    """Takes orders, ends tasks, forgets them, and counts."""

    def __init__(self):
        self.tasks: dict[str, Task] = {}

    def accept(self, name):
        task_id = f"task-{len(self.tasks)}"
        self.tasks[task_id] = Task(name)
        return task_id

    def end(self, task, state, cost):
        if task.state == "running":
            task.state, task.stated = state, cost
            task.bill = CREDITS if cost is None else cost

    def accepted(self, name):
        return sum(task.name == name for task in self.tasks.values())


class Process:
    """One command in a process of its own: the engine's own way through the ledger, a step at a time."""

    def __init__(self, world, name, again):
        self.world, self.name, self.again = world, name, again
        self.run = Run(world.room.open())
        self.run.ledger.salvage()
        self.began = self.run.ledger.now()
        self.row = self.task_id = self.outcome = None
        self.made, self.stage, self.stalled = 0, "asking", False

    def step(self, answer="accepted"):
        """Do the next thing; what somebody else did meanwhile is heard as the engine hears it."""
        try:
            getattr(self, f"_{self.stage}")(answer)
        except Moved as moved:
            if not self._heard(moved.row):
                self.stage = "asking"
        except OverLimit:
            self.end("over the limit")

    def end(self, outcome):
        """The command ends, and with it the lock."""
        self.outcome = outcome
        self.run.die()
        self.run.ledger.__exit__(None, None, None)
        self.world.processes.remove(self)

    @property
    def task(self):
        """What the provider says of the row's task."""
        return self.world.provider.tasks[self.row.task_id]

    def _heard(self, row):
        if row.state in ENDED:
            self.end(row.state)
        return row.state in ENDED

    def _asking(self, _):
        before = {row.key: row.state for row in self.world.rows()}
        before_us = {row.key for row in self.world.rows() if (row.ended or row.sent or 0.0) <= self.began}
        claim = self.run.claim(self.name, DAILY, began=self.began, **({self.again: True} if self.again else {}))
        self.row = claim.row
        match claim.verdict:
            case "claim" | "take over":
                self.stage = "prepared"
                self.made += claim.verdict == "claim"
                assert self.made <= 1
                assert all(key in before_us for key in before if key[:2] == self.row.key[:2])
                earlier = {state for key, state in before.items() if key[:2] == self.row.key[:2]}
                assert earlier <= {"claimed", "refused", "failed", "cancelled"} | AGAIN[self.again]
            case "adopt":
                self.stage = "fetching" if self.row.state == "succeeded" else "polling"
            case "wait":
                self.stage = "waiting"
            case "owned":
                self._owned()
            case "ended":
                self.end(self.row.state)
            case other:
                self.end(other)

    def _owned(self):
        if self.row.task_id in self.world.files:
            self.end("served")
            return
        held = self.run.ledger.adopt(self.row, self.run.token)
        if held is None:
            return
        if self.task.state == "succeeded":
            self.row = held
            self._fetching(None)
        else:
            self.run.ledger.move(held, "expired")
            if self.again != "reorder":
                self.end("expired")

    def _waiting(self, _):
        now = self.run.now(self.row)
        anew = now.key != self.row.key
        if not anew and self._heard(now):
            return
        if anew or now.state == "stored" or not self.run.ledger.alive(now.holder):
            self.stage = "asking"

    def _prepared(self, _):
        word, found = self.run.intend(self.row, SLOTS)
        if word == "lost":
            raise Moved(found)
        if word == "sent":
            self.row, self.stage = found, "posting"
            return
        for orphan in self.run.ledger.orphans(self.row):
            held = self.run.ledger.adopt(orphan, self.run.token)
            if held is not None:
                self.run.ledger.let_go(self._looked(held))

    def _looked(self, row):
        task = self.world.provider.tasks[row.task_id]
        if task.state == "running":
            return row
        return self.run.ledger.move(row, "expired" if task.state == "gone" else task.state, cost=task.stated)

    def _posting(self, answer):
        match answer:
            case "accepted":
                self.task_id, self.stage = self.world.provider.accept(self.name), "answered"
            case "refused" | "ambiguous":
                self.run.ledger.move(self.row, answer)
                self.end(answer)
            case "lost":
                self.world.provider.accept(self.name)
                self.run.ledger.move(self.row, "ambiguous")
                self.end("ambiguous")
            case _:
                self.run.ledger.move(self.row, "claimed")
                self.end("stopped")

    def _answered(self, answer):
        self.world.heard.add(self.task_id)
        if answer == "refused":  # by the database: the id goes to a file, and the process dies of it
            assert self.run.ledger.rescue(self.row, self.task_id)
            self.end("crashed")
            return
        late = any(row.key == self.row.key and row.state == "ambiguous" for row in self.world.rows())
        assert self.stalled or not late
        try:
            self.row, self.stage = self.run.ledger.record(self.row, self.task_id), "polling"
        except Moved:
            pytest.fail(f"the paid {self.task_id} found no row")
        if late:
            self.world.late.add(self.row.key)

    def _polling(self, _):
        self.row = self._looked(self.row)
        if not self._heard(self.row) and self.row.state == "succeeded":
            self.stage = "fetching"

    def _fetching(self, _):
        if self.task.state == "gone":
            self.run.ledger.move(self.row, "expired")
            self.end("expired")
            return
        self.run.ledger.keep(self.row, f"takes/{self.row.task_id}.mp4", digest(self.row.task_id), 9)
        self.world.files.add(self.row.task_id)
        self.end("served")


class Machine(RuleBasedStateMachine):
    """The world: one ledger, one provider, some processes, the disk's takes."""

    server, log = None, LOG

    @initialize()
    def begin_world(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ledger-machine-"))
        self.room = Room(self.folder, self.server and self.server.fresh())
        self.room.open()
        self.conn = self.connected()
        for statement in self.log:
            self.conn.execute(statement)
        self.provider, self.processes = Provider(), []
        self.files, self.late, self.heard = set(), set(), set()

    def connected(self):
        """A connection beside the ledger's own."""
        conn = sqlite3.connect(self.folder / FILE, isolation_level=None)
        conn.row_factory = sqlite3.Row
        return conn

    def rows(self):
        return [Attempt(**row) for row in self.conn.execute("SELECT * FROM runway_node_attempts")]

    def picked(self, which):
        return self.processes[which % len(self.processes)]

    def goes_on(self, process, answer, steps):
        for _ in range(steps):
            if process.outcome is None:
                process.step(answer)

    @precondition(lambda self: len(self.processes) < 6)
    @rule(name=st.sampled_from(NAMES), again=AGAINS, answer=ANSWERS, steps=st.integers(0, 4))
    def begin(self, name, again, answer, steps):
        """A command begins: a first one, the same again, or a second process with the same order."""
        self.processes.append(Process(self, name, again))
        self.goes_on(self.processes[-1], answer, steps)

    @precondition(lambda self: self.processes)
    @rule(which=st.integers(0, 5), answer=ANSWERS, steps=st.integers(1, 3))
    def go_on(self, which, answer, steps):
        """A process does its next things; what the POST comes to is chosen here."""
        self.goes_on(self.picked(which), answer, steps)

    @precondition(lambda self: self.processes)
    @rule()
    def all_go_on(self):
        """Every process does its next thing."""
        for process in list(self.processes):
            process.step()

    @precondition(lambda self: self.processes)
    @rule(which=st.integers(0, 4), arrived=st.booleans(), luck=st.integers(0, 3))
    def crash(self, which, arrived, luck):
        """A process is killed: its lock goes, no row changes; a POST that it was in may have arrived."""
        if luck:
            return
        process = self.picked(which)
        if process.stage == "posting" and arrived:
            self.provider.accept(process.name)
        process.end("crashed")

    @precondition(lambda self: any(process.stage in {"posting", "answered"} for process in self.processes))
    @rule(which=st.integers(0, 4))
    def taken_for_dead(self, which):
        """A process loses its lock while its POST is on its way, and lives on."""
        posting = [process for process in self.processes if process.stage in {"posting", "answered"}]
        stalled = posting[which % len(posting)]
        stalled.stalled = True
        stalled.run.die()

    @precondition(lambda self: self.provider.tasks)
    @rule(
        which=st.integers(0, 9),
        end=st.sampled_from([("succeeded", CREDITS), ("succeeded", 100.0), ("succeeded", None), ("failed", None),
                             ("failed", 0.0), ("cancelled", None), ("cancelled", 60.0)]),
    )  # fmt: skip
    def provider_ends(self, which, end):
        """The provider ends a task, and says what it cost, or does not."""
        self.provider.end(list(self.provider.tasks.values())[which % len(self.provider.tasks)], *end)

    @precondition(lambda self: self.provider.tasks)
    @rule(which=st.integers(0, 9), luck=st.integers(0, 2))
    def provider_forgets(self, which, luck):
        """A task is gone: its link and its result with it."""
        if luck:
            return
        list(self.provider.tasks.values())[which % len(self.provider.tasks)].state = "gone"

    @precondition(lambda self: any(process.stage == "polling" for process in self.processes))
    @rule(which=st.integers(0, 4))
    def cancel(self, which):
        """A run is stopped while its task runs: the task is cancelled, unless it ended."""
        polling = [process for process in self.processes if process.stage == "polling"]
        process = polling[which % len(polling)]
        if process.task.state == "running":
            self.provider.end(process.task, "cancelled", None)
            with contextlib.suppress(Moved):
                process.run.ledger.move(process.row, "cancelled")
            process.end("stopped")

    @precondition(lambda self: self.files)
    @rule(which=st.integers(0, 9))
    def damage(self, which):
        """A take is damaged on the disk."""
        self.files.remove(sorted(self.files)[which % len(self.files)])

    @invariant()
    def paid_once(self):
        """No order has more tasks than attempts that were sent, and none has two attempts that are not over."""
        rows = self.rows()
        for name in NAMES:
            ours = [row for row in rows if row.order_digest == digest(name)]
            assert self.provider.accepted(name) <= sum(row.sent is not None for row in ours)
            assert sum(row.state in {"claimed", "intent"} for row in ours) <= 1
        known = [row.task_id for row in rows if row.task_id is not None]
        assert len(known) == len(set(known))

    @invariant()
    def within_the_limits(self):
        """What is reserved and spent, by the ledger and by the provider, stays within the day's credits; slots too."""
        rows = self.rows()
        alive = {process.run.token for process in self.processes}
        counted = sum(counts(row) for row in rows if row.state != "claimed" or row.holder in alive)
        assert counted <= DAILY.max_credits_per_day
        assert sum(task.bill for task in self.provider.tasks.values()) <= DAILY.max_credits_per_day
        flying = [row for row in rows if row.state in IN_FLIGHT and row.key not in self.late]
        dead = [row for row in flying if row.state == "intent" and row.holder not in alive]
        assert len(flying) - len(dead) <= SLOTS

    @invariant()
    def by_the_table(self):
        """The database itself saw no change of a state that the table does not have."""
        moves = self.conn.execute("SELECT before, after FROM moves")
        assert all(may(move["before"], move["after"]) for move in moves)

    def teardown(self):
        """Nobody dies any more: every command comes to an outcome, a new one too, and no task's record is left over."""
        if not hasattr(self, "folder"):
            return
        try:
            self.processes.append(Process(self, "night", ""))
            for _ in range(60):
                for process in list(self.processes):
                    process.step()
                for task in self.provider.tasks.values():
                    self.provider.end(task, "succeeded", CREDITS)
            assert self.processes == []
            self.room.open().salvage()
            assert list(rescue.files(self.folder)) == []
            assert self.heard <= {row.task_id for row in self.rows()}
            self.within_the_limits()
            self.paid_once()
            self.by_the_table()
        finally:
            for process in list(self.processes):
                process.end("left")
            self.conn.close()
            self.room.close()
            shutil.rmtree(self.folder)
            if self.server:
                self.server.drop(self.room.url)


class OnPostgres(Machine):
    """The same world with its ledger on a server."""

    log = LOG_ON_POSTGRES

    def connected(self):
        import psycopg
        from psycopg.rows import dict_row

        parts = make_url(self.room.url)
        told = {"host": parts.query["host"], "port": parts.query["port"], "user": parts.username}
        return psycopg.connect(**told, dbname=parts.database, autocommit=True, row_factory=dict_row)


COMMON = {
    "deadline": None, "database": None, "derandomize": True, "suppress_health_check": list(HealthCheck),
    "stateful_step_count": 40,
}  # fmt: skip
TestQuick = Machine.TestCase
TestQuick.settings = settings(max_examples=5, **COMMON)


@pytest.fixture(scope="module")
def on_server(postgres):
    """The server of `OnPostgres`."""
    OnPostgres.server = postgres


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the test server is POSIX's")
@pytest.mark.usefixtures("on_server")
class TestPostgres(OnPostgres.TestCase):
    """The same on Postgres."""

    settings = settings(max_examples=25, **COMMON)


@pytest.mark.slow
class TestThorough(Machine.TestCase):
    """The same, for longer."""

    settings = settings(max_examples=100, **{**COMMON, "stateful_step_count": 60})
