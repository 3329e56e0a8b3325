"""A ledger that cannot be used is said so in one line before anything is sent, and is left as it was.

And how an older ledger becomes a newer one.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import psutil
import pytest
from sqlalchemy import Engine, event, inspect, text
from sqlalchemy.engine import make_url

from runway_node.engine import run as run_order
from runway_node.errors import LedgerError
from runway_node.ledger import FILE, Books, Ledger, database, schema
from runway_node.models import Limits

from .ledgers import (  # noqa: F401 - fixtures
    CREDITS,
    Room,
    digest,
    room_fixture,
    run_fixture,
    served_fixture,
    server_fixture,
)


@contextlib.contextmanager
def each_connection(*pragmas):
    """Every new connection to SQLite begins with these."""

    def begin(connection, _):
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    event.listen(Engine, "connect", begin)
    try:
        yield
    finally:
        event.remove(Engine, "connect", begin)


@pytest.fixture
def made(tmp_path):
    """A ledger's file with one paid call in it, closed."""
    room = Room(tmp_path / "data", None)
    room.run().reach("stored")
    room.close()
    return tmp_path / "data" / FILE


@pytest.fixture
def refused(runway_sandbox, clip, made):
    """Orders the clip against a data folder; gives the ledger's refusal, once it is sure that nothing was sent."""

    def order():
        settings = runway_sandbox.settings("runway", data_dir=made.parent)
        with pytest.raises(LedgerError) as caught:
            run_order(clip, "dusk", settings=settings)
        assert runway_sandbox.sandbox.counters.creates == 0
        assert caught.value.exit_code == 2
        assert caught.value.mend
        assert len(str(caught.value).splitlines()) == 1
        assert str(made.parent) in str(caught.value)
        return str(caught.value)

    return order


def test_garbage_is_no_ledger(made, refused):
    """A file that is none of SQLite's is refused, and keeps its bytes."""
    made.write_bytes(os.urandom(20_000))
    before = made.read_bytes()
    assert "is no ledger, or is damaged" in refused()
    assert made.read_bytes() == before


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_ledger_cut_short_is_damaged(made, refused, share):
    """A file whose end is missing is refused, and keeps its bytes."""
    before = made.read_bytes()[: int(made.stat().st_size * share)]
    made.write_bytes(before)
    assert "is damaged" in refused()
    assert made.read_bytes() == before


@pytest.mark.parametrize("left", ["nothing", "an empty file"])
def test_a_ledger_that_is_gone_is_not_begun_anew_beside_paid_takes(made, refused, left):
    """Everything would be paid again: it is said, and nothing is written."""
    made.unlink()
    for path in made.parent.glob("ledger.db-*"):
        path.unlink()
    if left == "an empty file":
        made.touch()
    take = made.parent / "takes" / "paid.mp4"
    take.parent.mkdir()
    take.write_bytes(b"paid")
    for create in (True, False):
        with pytest.raises(LedgerError, match=r"missing or empty, but .*takes holds paid takes"):
            Ledger(Room(made.parent, None).settings(), create=create)
    assert [path.stat().st_size for path in made.parent.glob("ledger.db*")] == ([] if left == "nothing" else [0])


def test_another_programs_database_is_left_alone(made, refused):
    """A file of that name with tables that are not ours is told as that."""
    for path in made.parent.glob("ledger.db*"):
        path.unlink()
    with contextlib.closing(sqlite3.connect(made)) as other:
        other.execute("CREATE TABLE theirs (x)")
        other.commit()
    before = made.read_bytes()
    with pytest.raises(LedgerError, match="another program's database, with the table theirs"):
        Ledger(Room(made.parent, None).settings())
    assert made.read_bytes() == before


def test_a_folder_in_its_place_cannot_be_opened(made, refused):
    """Something else under the ledger's name is told as that."""
    made.unlink()
    made.mkdir()
    assert "cannot be opened" in refused()


def test_a_locked_ledger_is_waited_for_and_then_told(made, refused, monkeypatch):
    """Another program that keeps the write lock is named as the reason, after the patience."""
    monkeypatch.setattr(database, "PATIENCE", 0.3)
    with contextlib.closing(sqlite3.connect(made, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        assert "is locked by another program" in refused()
        assert time.monotonic() - began > 0.3


def test_a_lock_that_is_given_back_in_time_is_no_fault(room, run):
    """A write waits for another run's write to end."""
    other = room.run()
    begun = threading.Event()

    def hold():
        with other.ledger.database.write():
            begun.set()
            time.sleep(0.3)

    holder = threading.Thread(target=hold)
    holder.start()
    begun.wait(10)
    assert run.claim().verdict == "claim"
    holder.join(10)
    assert not holder.is_alive()


def test_a_read_only_ledger_is_told(made, refused):
    """SQLite's own refusal to write (here: query_only, for root may write to any file) is said in plain words."""
    with each_connection("query_only=ON"):
        assert "is read-only" in refused()


def test_a_full_disk_is_told(made, refused):
    """SQLite's own refusal to grow the file is said in plain words."""
    with contextlib.closing(sqlite3.connect(made)) as filled:
        filled.execute("UPDATE runway_node_orders SET plan = hex(zeroblob(1500))")  # no room for another in its page
        filled.commit()
    with each_connection("max_page_count=1"):
        assert "is on a full disk" in refused()


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_a_network_file_system_is_refused_before_anything_is_written(tmp_path, room, monkeypatch, kind):
    """Nothing appears in a folder whose locks may not hold; a Postgres ledger does not mind where its folder is."""
    monkeypatch.setattr(database, "file_system", lambda folder: kind)
    settings = room.settings(data_dir=tmp_path / "share")
    if room.url:
        Ledger(settings).__exit__(None, None, None)
        return
    with pytest.raises(LedgerError, match=rf"network file system \({kind}\)") as caught:
        Ledger(settings)
    assert "RUNWAY_NODE_DATABASE_URL" in caught.value.mend
    assert not (tmp_path / "share").exists()


def test_of_two_mounts_in_one_place_the_later_counts(tmp_path, monkeypatch):
    """An automounted share has its automounter below it, under the same name."""
    mounts = [("/", "ext4"), (str(tmp_path), "autofs"), (str(tmp_path), "nfs4")]
    told = [SimpleNamespace(mountpoint=place, fstype=kind, opts="rw") for place, kind in mounts]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: told)
    assert database.file_system(tmp_path / "data") == "nfs4"


def test_a_ledger_that_is_not_there_is_not_made_by_questions(tmp_path):
    """Who only asks gets empty answers, and no file."""
    room = Room(tmp_path / "data", None)
    with Ledger(room.settings(), create=False) as ledger:
        assert (ledger.missing, Books(ledger).latest(), ledger.last("", digest("a"))) == (True, [], None)
    assert not room.folder.exists()


# --- versions ---


def test_the_version_is_written_down(run):
    """A new ledger says which version it has, and when it got it."""
    with run.ledger.database.read() as conn:
        (found,) = conn.execute(schema.versions.select()).all()
    assert found.version == len(schema.MIGRATIONS)
    assert abs(found.applied - time.time()) < 60


def _note(conn):
    conn.execute(text("ALTER TABLE runway_node_orders ADD COLUMN note TEXT DEFAULT 'none'"))


def _fail(conn):
    _note(conn)
    conn.execute(text("SELECT nonsense FROM nowhere"))


def test_an_older_ledger_moves_forward_and_keeps_its_rows(room, run, monkeypatch):
    """The missing steps are done once, and everything is there as before, the fingerprints' key included."""
    before = run.reach("stored")
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, _note))
    after = room.run()
    room.open()
    assert after.now(before) == before
    assert after.terms == run.terms
    with after.ledger.database.read() as conn:
        assert conn.scalar(text("SELECT note FROM runway_node_orders")) == "none"
        assert schema.version_of(conn) == len(schema.MIGRATIONS)


def test_a_step_that_fails_changes_nothing(room, run, monkeypatch):
    """Half a step is undone, and the old program goes on with the ledger."""
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, _fail))
    with pytest.raises(LedgerError):
        room.open()
    monkeypatch.undo()
    ledger = room.open()
    with ledger.database.read() as conn:
        assert "note" not in {column["name"] for column in inspect(conn).get_columns("runway_node_orders")}


def test_a_newer_ledger_is_refused_untouched(made, refused):
    """A program that does not know the version writes nothing into it, not even its own pragmas."""
    with contextlib.closing(sqlite3.connect(made)) as newer:
        newer.execute("INSERT INTO runway_node_versions VALUES (99, 0.0)")
        newer.commit()
        newer.execute("PRAGMA journal_mode=DELETE")
    before = made.read_bytes()
    assert "is of version 99, this program knows" in refused()
    assert made.read_bytes() == before


def test_a_newer_ledger_on_a_server_is_refused(room, run):
    """The same on either database."""
    with run.ledger.database.write() as conn:
        conn.execute(schema.versions.insert().values(version=99, applied=0.0))
    with pytest.raises(LedgerError, match="is of version 99") as caught:
        room.open()
    assert room.url is None or "postgres" not in str(caught.value)


# --- a server ---



@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("mysql://u:pass-word@h/d", "names mysql"),
        ("no url", "is not a database's URL"),
        ("postgresql://u:pass-word@127.0.0.1:1/d", "cannot be used"),
        ("postgresql://u:pass-word@127.0.0.1:bad/d", "is not a database's URL"),
    ],
)
def test_a_server_that_is_none_is_told_without_its_password(tmp_path, url, what, room):
    """What is wrong with the URL is one line, and the password is not in it."""
    with pytest.raises(LedgerError, match=what) as caught:
        Ledger(room.settings(data_dir=tmp_path, database_url=url))
    assert "pass-word" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.slow
def test_a_server_whose_writer_stands_still_is_told(served, monkeypatch):
    """A stopped process may keep the write lock: who waits for it is told so in the end, as on SQLite."""
    monkeypatch.setattr(database, "PATIENCE", 0.3)
    other, run = served.run(), served.run()
    told = []

    def ask():
        try:
            told.append(run.claim())
        except LedgerError as error:
            told.append(error)

    asker = threading.Thread(target=ask)
    with other.ledger.database.write():
        asker.start()
        asker.join(3)
        waited = list(told)
    asker.join()
    assert [type(one) for one in waited] == [LedgerError]


@pytest.mark.slow
def test_a_server_of_another_isolation_keeps_slots_and_budgets(served, server):
    """What a write reads is true while it lasts, also where the database's default is repeatable read."""
    name = make_url(served.url).database
    server.rows(f'ALTER DATABASE "{name}" SET default_transaction_isolation TO \'repeatable read\'')
    runs = [served.run() for _ in range(3)]
    rows = [run.claim(name).row for run, name in zip(runs, "abc", strict=True)]
    with ThreadPoolExecutor() as threads:
        with runs[0].ledger.database.write():  # all three queue, each with a look at the rows taken before
            asked = [threads.submit(run.intend, row, slots=1) for run, row in zip(runs, rows, strict=True)]
            time.sleep(0.3)
        words = sorted(one.result()[0] for one in asked)
    assert words == ["full", "full", "sent"]


@pytest.mark.slow
def test_a_run_whose_session_was_lost_does_not_send(served, server):
    """Its claim counted nothing for a while, so its credits may be another's by now."""
    daily = Limits(max_credits_per_day=CREDITS)
    first = served.run()
    row = first.claim("a", limits=daily).row
    server.kill_sessions(served.url)
    served.run().sent("b", limits=daily)
    with pytest.raises(LedgerError):
        first.intend(row)
    assert [row.state for row in served.rows() if row.sent] == ["intent"]


@pytest.mark.slow
def test_a_server_that_ends_while_a_run_begins_is_told(served, server):
    """No session for the run's lock is a ledger that cannot be used, in one line."""
    ledger = served.open()
    name = make_url(served.url).database
    server.rows(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    server.kill_sessions(served.url)
    with pytest.raises(LedgerError), ledger.holder():
        pass


@pytest.mark.slow
def test_questions_make_no_tables_on_a_server(served, server):
    """Who only asks gets empty answers there, too."""
    with Ledger(served.settings(), create=False) as ledger:
        assert (ledger.missing, Books(ledger).latest()) == (True, [])
    assert server.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", url=served.url) == []
