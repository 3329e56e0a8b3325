"""What saves a paid task's id when the ledger breaks in the middle, and what is left of a process that was killed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from runway_node.errors import LedgerError
from runway_node.ledger import rescue

from .ledgers import room_fixture, run_fixture, server_fixture  # noqa: F401 - fixtures

FOREIGN = "0123456789abcdef"
"""A token nobody holds."""


def test_a_full_disk_without_room_for_a_rescue_is_found_before_the_post(run, monkeypatch):
    """Where no id could be kept, the intent is not even written."""
    row = run.claim().row
    monkeypatch.setattr(Path, "write_bytes", _full)
    with pytest.raises(LedgerError, match=r"No space left.*nothing was sent"):
        run.intend(row)
    assert run.now(row).state == "claimed"


def _full(*_):
    raise OSError(28, "No space left on device")


def test_an_id_that_the_database_refuses_is_rescued_and_salvaged(room, run):
    """The next run reads the file, the row gets its task, and the file is gone."""
    row = run.sent()
    where = Path(run.ledger.rescue(row, "task-paid"))
    run.die()
    other = room.run()
    (taken,) = other.ledger.salvage()
    assert (taken.key, taken.state, taken.task_id) == (row.key, "submitted", "task-paid")
    assert not where.exists()
    assert other.ledger.salvage() == []


def test_the_rescue_needs_no_further_room(room, run, monkeypatch):
    """Its bytes were taken before the POST: the record lies in the same file, which does not grow."""
    row = run.sent()
    (kept,) = rescue.files(room.folder)
    size = kept.stat().st_size
    assert run.ledger.rescue(row, "t" * 200) == str(kept)
    assert kept.stat().st_size == size


def test_a_folder_that_takes_nothing_is_evaded(room, run, monkeypatch, tmp_path):
    """Where the data folder is gone the id goes to the temporary folder, and is found there."""
    monkeypatch.setattr(rescue.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    row = run.sent()
    shutil.rmtree(room.folder / rescue.FOLDER)
    (room.folder / rescue.FOLDER).write_text("in the way")
    where = Path(run.ledger.rescue(row, "task-paid"))
    assert where.is_relative_to(tmp_path / "tmp")
    assert where.parent.stat().st_mode & 0o077 == 0
    (room.folder / rescue.FOLDER).unlink()
    assert room.run().ledger.salvage()[0].task_id == "task-paid"


def test_a_record_of_another_ledgers_call_is_left_alone(room, run, monkeypatch, tmp_path):
    """The temporary folder is shared: the same order in another ledger has another sender, and another task."""
    monkeypatch.setattr(rescue.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    row = run.sent()
    spare = rescue._spare(f"{FOREIGN}-{row.segment[:16]}.json")
    spare.parent.mkdir(parents=True)
    told = {"scope": row.scope, "segment": row.segment, "attempt": row.attempt, "task_id": "task-foreign"}
    spare.write_text(json.dumps(told))
    assert room.run().ledger.salvage() == []
    assert run.now(row) == row
    assert spare.exists()


def test_a_record_is_kept_until_the_row_has_its_id(room, run):
    """A row that cannot take it now does not make the record vanish."""
    row = run.sent()
    where = Path(run.ledger.rescue(row, "task-paid"))
    run.ledger.move(row, "refused")
    assert room.run().ledger.salvage() == []
    assert where.exists()


def test_rooms_of_dead_runs_are_swept_and_those_of_the_living_kept(room):
    """A blank room goes with its run."""
    alive, dead, sweeper = room.run(), room.run(), room.run()
    alive.sent("a")
    dead.sent("b")
    dead.die()
    sweeper.ledger.salvage()
    assert [rescue.token_of(path) for path in rescue.files(room.folder)] == [alive.token]


def test_a_room_that_vanishes_while_it_is_swept_is_no_fault(room, run, monkeypatch):
    """Two runs may sweep at once."""
    run.sent()
    run.die()
    (path,) = rescue.files(room.folder)
    gone = path.with_name(f"{FOREIGN}-gone.json")
    monkeypatch.setattr(rescue, "files", lambda data_dir: iter([gone, path]))
    room.run().ledger.salvage()


def test_no_room_is_left_where_all_went_well(room, run):
    """A recorded call's room is given back."""
    run.paid()
    assert list(rescue.files(room.folder)) == []



HOLD = """
import sys, time
from pathlib import Path
from tests.ledgers import Room
run = Room(Path(sys.argv[1]), sys.argv[2] or None).run()
run.claim("claimed")
run.sent("intent")
print(run.token, flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_a_killed_process_holds_nothing(room):
    """SIGKILL: its claim is another's at once, its intent ambiguous; while it is stopped or runs, neither is."""
    command = [sys.executable, "-c", HOLD, str(room.folder), room.url or ""]
    process = subprocess.Popen(command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline().strip()
        run = room.run()
        assert [run.claim(name).verdict for name in ("claimed", "intent")] == ["wait", "wait"]
        psutil.Process(process.pid).suspend()
        assert [run.claim(name).verdict for name in ("claimed", "intent")] == ["wait", "wait"]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    until = time.monotonic() + 5  # the server notices the broken connection by itself
    while run.claim("claimed").verdict == "wait" and time.monotonic() < until:
        time.sleep(0.02)
    assert run.now(run.claim("claimed").row).holder == run.token
    assert run.claim("intent").verdict == "ambiguous"
