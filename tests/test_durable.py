"""Rows on a durable queue: killed, stopped, handed over, cancelled, halted; on Postgres and in a file.

The work is make-believe (tests/batch_worker.py): what is paid once is the ledger's matter, and tested there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy.engine import make_url

from runway_node.batch.durable import ALL, Durable, queue, records, serve, workers
from runway_node.errors import LedgerError, Unknown, WrongUse
from runway_node.settings import load_settings

from .batch_worker import worker

pytestmark = pytest.mark.slow  # a queue polls, workers are processes

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 40.0
POSIX = pytest.mark.skipif(os.name != "posix", reason="SIGKILL and SIGSTOP are POSIX's")
PASSWORD = "canary-pass-7c1"


class Crew:
    """Workers in processes of their own, on one database."""

    def __init__(self, folder, url=None):
        self.folder, self.url, self.all = folder, url, []
        places = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT))))
        self.environment = {**os.environ, "PYTHONPATH": places, "RUNWAY_NODE_DATA_DIR": str(folder / "data")}
        if url:
            self.environment["RUNWAY_NODE_DATABASE_URL"] = url

    def settings(self):
        return load_settings(data_dir=self.folder / "data", database_url=self.url)

    def durable(self, **how):
        return Durable(self.settings(), **how)

    def hire(self, **told):
        words = [f"{name}={value}" for name, value in told.items()]
        log, errors = (self.folder / f"{name}-{len(self.all)}" for name in ("log", "errors"))
        with log.open("w") as out, errors.open("w") as err:
            started = subprocess.Popen(
                [sys.executable, "-m", "tests.batch_worker", str(self.folder), *words],
                stdout=out, stderr=err, env=self.environment, cwd=ROOT,
            )  # fmt: skip
        started.log, started.errors = log, errors
        self.all.append(started)
        return started

    def ran(self, what="begun", by=None):
        """The rows that began, ended or were left, in that order."""
        path = self.folder / "ran"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [int(row) for word, row, pid in lines if word == what and (by is None or int(pid) == by.pid)]

    def close(self):
        for one in self.all:
            if one.poll() is None:
                one.kill()
                one.wait()
        # Nobody's log is printed, whatever befell: DBOS's goes to ours, which goes where the program says.
        assert [one.errors.read_text() for one in self.all] == [""] * len(self.all)


@pytest.fixture
def crew(tmp_path):
    """Workers on a file."""
    made = Crew(tmp_path)
    yield made
    made.close()


@pytest.fixture
def team(tmp_path, database):
    """Workers on a Postgres, whose URL has a password."""
    made = Crew(tmp_path, make_url(database).set(password=PASSWORD).render_as_string(hide_password=False))
    yield made
    made.close()


@pytest.fixture
def hasty(monkeypatch):
    """A worker in this process looks often."""
    monkeypatch.setattr(queue, "POLL", 0.05)
    monkeypatch.setattr(workers, "BEAT", 0.1)


def until(true):
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def jobs(count, **values):
    return [{"row": row, **values} for row in range(1, count + 1)]


def phases(one, phase):
    told = [json.loads(line) for line in one.log.read_text().splitlines()]
    return [change for change in told if change["phase"] == phase]


@POSIX
def test_a_killed_and_a_stopped_worker(team):
    """Of three workers one is killed and one stands still for a while: all rows are done, none twice without need."""
    with team.durable() as durable:
        durable.enqueue("film", jobs(60, seconds=0.1))
        killed, stopped, sound = (team.hire(until_done="film") for _ in range(3))
        until(lambda: min(len(team.ran("ended", one)) for one in team.all) >= 2)
        stopped.send_signal(signal.SIGSTOP)
        killed.kill()
        until(lambda: durable.status("film").batches[0].counts.get("done", 0) >= 58)
        time.sleep(1)  # five looks of whoever is there
        rows, token = durable.status("film").batches[0].rows, phases(stopped, "serving")[0]["worker"]
        assert {row.worker for row in rows if row.state != "done"} <= {token}
        assert durable.ledger.alive(token)
        stopped.send_signal(signal.SIGCONT)
        assert sound.wait(PATIENCE) == stopped.wait(PATIENCE) == 0
        assert durable.status("film").batches[0].counts == {"done": 60}
    twice = {row for row, count in Counter(team.ran()).items() if count > 1}
    assert twice <= set(team.ran(by=killed)[-3:])
    assert set(team.ran("ended")) == set(range(1, 61))
    assert PASSWORD not in "".join(one.log.read_text() for one in team.all)


@POSIX
def test_sigterm_hands_rows_over(team):
    """A worker that is told to end leaves its rows at once, and a live one takes them over."""
    with team.durable() as durable:
        durable.enqueue("film", jobs(2, seconds=2))
        first = team.hire()
        until(lambda: len(team.ran()) == 2)
        second = team.hire(until_done=ALL)
        first.terminate()
        assert first.wait(PATIENCE) == 0
        assert second.wait(PATIENCE) == 0
        assert durable.status("film").batches[0].counts == {"done": 2}
        assert durable.status().workers == ()
    assert sorted(team.ran("left", first)) == sorted(team.ran("ended", second)) == [1, 2]
    assert len(phases(first, "left")) == 2


@POSIX
def test_a_lost_session(team, postgres):
    """A worker whose sessions the server ended goes on under a new token, and finishes."""
    with team.durable() as durable:
        durable.enqueue("film", jobs(6, seconds=1))
    one = team.hire(until_done="film")
    until(lambda: len(team.ran("ended")) >= 1)
    postgres.kill_sessions(team.url)
    assert one.wait(PATIENCE) == 0
    with team.durable() as durable:
        assert durable.status("film").batches[0].counts == {"done": 6}
    assert len({change["worker"] for change in phases(one, "serving")}) == 2


@POSIX
def test_a_worker_that_was_thought_dead(team, postgres):
    """It stands still while the server ends its sessions, and goes on: what the other one said of its row stays."""
    with team.durable() as durable:
        durable.enqueue("film", jobs(1, seconds=0.7))
    first = team.hire(until_done="film")
    until(lambda: team.ran() == [1])
    first.send_signal(signal.SIGSTOP)
    postgres.kill_sessions(team.url)
    second = team.hire(until_done="film")
    assert second.wait(PATIENCE) == 0
    first.send_signal(signal.SIGCONT)
    assert first.wait(PATIENCE) == 0
    with team.durable() as durable:
        told = durable.outcomes("film")
    assert [(row["status"], row["attempt"], row["pid"]) for row in told] == [("done", 1, second.pid)]


@POSIX
def test_an_outage(team, postgres):
    """A database that is away for a while: the worker waits for it and finishes; told to end meanwhile, it ends."""
    name = make_url(team.url).database
    with team.durable() as durable:
        durable.enqueue("film", jobs(4, seconds=1))
    one, told = team.hire(until_done="film"), team.hire()
    until(lambda: len(team.ran()) == 4)
    postgres.rows(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    postgres.kill_sessions(team.url)
    told.terminate()
    time.sleep(2)
    postgres.rows(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert one.wait(PATIENCE) == 0
    assert told.wait(PATIENCE) == 0
    with team.durable() as durable:
        assert durable.status("film").batches[0].counts == {"done": 4}


@POSIX
def test_a_halt_stops_all(team):
    """A row that says that the batch should stop: nothing is begun any more on any machine, and it is told why."""
    bad = team.folder / "bad"
    bad.touch()
    with team.durable() as durable:
        rows = jobs(24, seconds=0.3)
        rows[2] |= {"fails": str(bad), "halt": "the account is empty"}
        durable.enqueue("film", rows)
        both = [team.hire(until_done="film") for _ in range(2)]
        assert [one.wait(PATIENCE) for one in both] == [0, 0]
        batch = durable.status("film").batches[0]
        assert (batch.stopped, batch.reason) == ("halted", "the account is empty")
        assert batch.counts["failed"] == 1
        assert batch.counts["done"] + 1 == len(team.ran()) < 24
        bad.unlink()
        assert durable.resume("film") == 24 - batch.counts["done"]
        assert team.hire(until_done="film", at_once=8).wait(PATIENCE) == 0
        assert durable.status("film").batches[0].counts == {"done": 24}
    assert max(Counter(team.ran()).values()) == 2


@POSIX
def test_killed_on_one_machine(crew):
    """A process that works on a file and is killed: started again it goes on, and begins no row that is told done."""
    with crew.durable() as durable:
        durable.enqueue("film", jobs(12, seconds=0.2))
    first = crew.hire(until_done="film")
    until(lambda: len(crew.ran("ended")) >= 4)
    first.kill()
    first.wait()
    assert crew.hire(until_done="film").wait(PATIENCE) == 0
    with crew.durable() as durable:
        assert [told["status"] for told in durable.outcomes("film")] == ["done"] * 12
    assert {row for row, count in Counter(crew.ran("ended")).items() if count > 1} <= set(crew.ran(by=first)[-3:])


def test_postgres_holds_no_password(team, postgres):
    """No table of the database has its password, and no error shows it."""
    with team.durable() as durable:
        durable.enqueue("film", jobs(1))
        serve(durable, worker(team.folder), until_done=ALL)
    names = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    tables = postgres.rows(names, url=team.url)
    assert len(tables) > 10
    for schema, table in tables:
        assert PASSWORD not in str(postgres.rows(f'SELECT * FROM "{schema}"."{table}"', url=team.url))
    with pytest.raises(LedgerError) as refused:
        Crew(team.folder, f"postgresql://someone:{PASSWORD}@127.0.0.1:9/none").durable().open()
    assert PASSWORD not in str(refused.value)


def test_enqueued_twice(crew, hasty):
    """What waits or is done is not enqueued again; what failed is, and then done."""
    bad = crew.folder / "bad"
    bad.touch()
    rows = jobs(3)
    rows[1]["fails"] = str(bad)
    with crew.durable() as durable:
        assert durable.enqueue("film", rows) == 3
        assert durable.enqueue("film", rows) == 0
        serve(durable, worker(crew.folder), until_done="film")
        assert [(told["row"], told["status"], told["exit_code"]) for told in durable.outcomes("film")] == [
            (1, "done", 0), (2, "failed", 1), (3, "done", 0),
        ]  # fmt: skip
        bad.unlink()
        assert durable.enqueue("film", [*rows, {"row": 4}]) == 2
        serve(durable, worker(crew.folder), until_done="film")
        assert [(told["attempt"], told["status"]) for told in durable.outcomes("film")] == [
            (1, "done"), (2, "done"), (1, "done"), (1, "done"),
        ]  # fmt: skip
    assert crew.ran("ended") == [1, 2, 3, 2, 4] or Counter(crew.ran("ended")) == {1: 1, 2: 2, 3: 1, 4: 1}


def test_cancelled_and_resumed(crew, hasty):
    """A cancelled batch finishes what is under way and begins nothing more, until it is resumed."""
    with crew.durable() as durable:
        durable.enqueue("film", jobs(5, seconds=0.6))
        working = threading.Thread(
            target=lambda: serve(durable, worker(crew.folder), at_once=2, until_done="film"), daemon=True
        )
        working.start()
        until(lambda: len(crew.ran()) == 2)
        assert durable.cancel("film") == 3
        working.join(PATIENCE)
        batch = durable.status("film").batches[0]
        assert (batch.stopped, batch.counts) == ("cancelled", {"done": 2, "cancelled": 3})
        assert durable.resume("film") == 3
        serve(durable, worker(crew.folder), at_once=5, until_done="film")
        assert durable.status("film").batches[0].counts == {"done": 5}
    assert Counter(crew.ran()) == dict.fromkeys(range(1, 6), 1)


@pytest.mark.parametrize("where", ["crew", "team"])
def test_what_is_over_can_be_forgotten(where, request, hasty):
    """Nothing of it stays in the database, another batch does; what is not over is refused, and stays."""
    crew = request.getfixturevalue(where)
    with crew.durable() as durable:
        for batch in ("film", "other"):
            durable.enqueue(batch, [{"row": 1}, {"row": 2}])
        with pytest.raises(WrongUse, match="Batch film has 2 rows that are not over"):
            durable.forget("film")
        serve(durable, worker(crew.folder), until_done=ALL)
        assert durable.forget("film") == 2
        assert [one.id for one in durable.status().batches] == ["other"]
        assert (durable.queue.rows("film"), len(durable.queue.rows("other"))) == ({}, 2)
        with pytest.raises(Unknown):
            durable.status("film")


def test_a_forgotten_batch_may_be_given_again(crew, hasty):
    """It begins anew."""
    with crew.durable() as durable:
        durable.enqueue("film", [{"row": 1}])
        durable.cancel("film")
        durable.forget("film")
        assert durable.enqueue("film", [{"row": 1}]) == 1
        serve(durable, worker(crew.folder), until_done="film")
        assert durable.status("film").batches[0].counts == {"done": 1}


def test_begun_rows_survive_a_cancel(crew, hasty):
    """A row that a dead worker had begun is finished though its batch was cancelled meanwhile: it may be paid for."""
    with crew.durable() as durable:
        durable.enqueue("film", jobs(3, seconds=1.5))
        stop = threading.Event()
        working = threading.Thread(target=lambda: serve(durable, worker(crew.folder), stop=stop), daemon=True)
        working.start()
        until(lambda: len(crew.ran()) == 1)
        stop.set()
        working.join(PATIENCE)
        assert durable.cancel("film") == 2
        serve(durable, worker(crew.folder), until_done="film")
        assert durable.status("film").batches[0].counts == {"done": 1, "cancelled": 2}


def test_recovered_by_two(crew, hasty):
    """Of two who put a dead worker's row back one does so, and neither once it is taken again."""
    with crew.durable() as durable, crew.durable() as other:
        durable.enqueue("film", jobs(1, seconds=1.5))
        stop = threading.Event()
        working = threading.Thread(target=lambda: serve(durable, worker(crew.folder), stop=stop), daemon=True)
        working.start()
        until(lambda: len(crew.ran()) == 1)
        stop.set()
        working.join(PATIENCE)
        ((dead, rows),) = other.queue.held().items()
        assert other.queue.recover(dead, rows) == ["film:1"]
        assert durable.queue.recover(dead, rows) == []
        serve(durable, worker(crew.folder), until_done=ALL)
        assert durable.queue.recover(dead, rows) == []
        assert durable.status("film").batches[0].counts == {"done": 1}


def test_a_fault_of_the_database_is_no_answer(crew, hasty, monkeypatch):
    """A row whose first question met a failing database is asked again, and done: the fault is not its end."""
    with crew.durable() as durable:
        durable.enqueue("film", jobs(1))
        honest, asked = durable.store.stopped, []

        def stopped(batch):
            asked.append(batch)
            if len(asked) == 1:
                raise LedgerError("The database is away")
            return honest(batch)

        monkeypatch.setattr(durable.store, "stopped", stopped)
        serve(durable, worker(crew.folder), until_done="film")
        assert durable.status("film").batches[0].counts == {"done": 1}
    assert len(asked) > 1


def test_another_version_leaves_rows_alone(crew, hasty):
    """A worker of another format takes no row, and finds nothing to do."""
    with crew.durable() as durable:
        durable.enqueue("film", jobs(2))
    with crew.durable(version="rows-2") as other:
        serve(other, worker(crew.folder), until_done=ALL)
        assert other.status("film").batches[0].counts == {"waiting": 2}
    assert crew.ran() == []


def test_a_raising_work_is_a_failed_row(crew, hasty):
    """Work that raises, which it should not, ends its row as failed; the others go on."""

    def work(job, stop):
        if job["row"] == 1:
            raise WrongUse("There is no clip", "Give one")
        return {"status": "done", "output": None, "error": None, "exit_code": 0}

    with crew.durable() as durable:
        durable.enqueue("film", jobs(2))
        serve(durable, work, until_done="film")
        told = durable.outcomes("film")
    assert (told[0]["status"], told[0]["error"], told[0]["exit_code"]) == ("failed", "There is no clip. Give one", 2)
    assert told[1]["status"] == "done"


def test_nothing_is_made_by_looking(crew):
    """Asked for batches where there were never any, it says so and makes no file."""
    with crew.durable(create=False) as durable:
        assert durable.status() == records.Status()
        with pytest.raises(Unknown):
            durable.cancel("film")
    assert not (crew.folder / "data").exists()


@pytest.mark.parametrize("name", ["", "a:b", "ä", "-x", "x" * 101])
def test_a_batch_has_a_plain_name(crew, name):
    """A batch's name is part of its rows' ids."""
    with crew.durable() as durable, pytest.raises(WrongUse):
        durable.enqueue(name, jobs(1))


def test_an_account_keeps_its_batches(crew):
    """One account's batch is not another's to enqueue, or to see."""
    with crew.durable() as durable:
        durable.enqueue("film", jobs(1))
    with Durable(load_settings(data_dir=crew.folder / "data", account="other")) as durable:
        with pytest.raises(WrongUse):
            durable.enqueue("film", jobs(1))
        assert durable.status().batches == ()


def test_a_claim_without_a_run_is_put_back():
    """A row that this process has claimed and does not run is put back at the second look: it may just begin."""
    told = []
    durable = SimpleNamespace(
        store=SimpleNamespace(beat=lambda *_: None, workers=list),
        queue=SimpleNamespace(
            held=lambda: {"me": ["film:1", "film:2"]}, active=lambda: ["film:2"], recover=lambda _, rows: list(rows)
        ),
        ledger=SimpleNamespace(alive=lambda _: True),
    )
    life = workers._Life(durable, "me", None, told.append)
    life.look()
    assert told == []
    life.look()
    assert told == [{"phase": "recovered", "worker": "me", "rows": ["film:1"]}]


def test_everybody_is_looked_after(monkeypatch):
    """Each worker asks for the next ones up to one that lives; now and then for all, past one that stands still."""
    lives = {"a", "c", "f"}
    durable = SimpleNamespace(ledger=SimpleNamespace(alive=lambda token: token in lives))
    monkeypatch.setattr(workers.secrets, "randbelow", lambda _: 1)

    def found(token):
        return list(workers._Life(durable, token, None, None)._dead(set("abcdef")))

    assert [found(token) for token in "acf"] == [["b"], ["d", "e"], []]
    monkeypatch.setattr(workers.secrets, "randbelow", lambda _: 0)
    assert found("f") == ["b", "d", "e"]
