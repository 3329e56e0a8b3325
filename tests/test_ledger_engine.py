"""What a run makes of what it finds in the ledger: abandoned tasks, a moment's fault, another run at work."""

from __future__ import annotations

import json
import threading

import pytest

from runway_node.engine import Stop
from runway_node.engine import run as run_order
from runway_node.errors import Interrupted, LedgerError
from runway_node.ledger import Books, Ledger

from .ledgers import FREE, Room, Run, call, order, room_fixture, run_fixture, server_fixture  # noqa: F401 - fixtures

pytestmark = pytest.mark.slow


@pytest.fixture
def one_slot(runway_sandbox):
    """Settings that allow one call at a time, on a sandbox."""
    return runway_sandbox.settings("runway", max_concurrency=1)


@pytest.fixture
def stop():
    """A stop that sets itself after ten seconds: a run that nobody serves ends as interrupted."""
    made = Stop()
    timer = threading.Timer(10, made.set)
    timer.start()
    yield made
    timer.cancel()


@pytest.mark.parametrize("where", ["the same sandbox", "http://127.0.0.1:9"])
def test_an_abandoned_task_that_is_gone_frees_its_slot(one_slot, clip, stop, where, monkeypatch):
    """Who waits for a slot is served though a dead run's task is not known any more, or its sandbox is gone."""
    monkeypatch.setattr("runway_node.engine.waiting.GRACE", 0.5)
    there = {} if where.startswith("the") else {"runway_base_url": where}
    with Ledger(one_slot.model_copy(update=there)) as ledger:
        dead = Run(ledger)
        dead.paid("abandoned")
        dead.die()
    assert run_order(clip, "dusk", settings=one_slot, stop=stop).path.exists()


def test_a_ledger_that_fails_for_a_moment_loses_nothing(runway_sandbox, clip, monkeypatch):
    """Locked at "succeeded" and well again at "stored": the run ends with its file, and the take is owned."""
    settings = runway_sandbox.settings("runway")
    honest, failed = Ledger.move, []

    def move(self, row, to, *rest, **values):
        if to == "succeeded" and not failed:
            failed.append(to)
            raise LedgerError("The ledger is locked", "Wait")
        return honest(self, row, to, *rest, **values)

    monkeypatch.setattr(Ledger, "move", move)
    assert run_order(clip, "dusk", settings=settings).path.exists()
    with Ledger(settings) as ledger:
        assert [row.state for row, _ in Books(ledger).latest()] == ["stored"]


def test_a_run_that_waits_for_a_take_to_be_mended_can_be_stopped(runway_sandbox, clip):
    """A damaged take that a live run holds is waited for, until the stop."""
    settings = runway_sandbox.settings("runway")
    result = run_order(clip, "dusk", settings=settings)
    result.takes[0].path.write_bytes(b"damaged")
    result.path.unlink()
    ended, stop = [], Stop()

    def wait():
        try:
            ended.append(run_order(clip, "dusk", settings=settings, stop=stop))
        except Interrupted as error:
            ended.append(error)

    with Ledger(settings) as ledger, ledger.holder() as token:
        ((row, _),) = Books(ledger).latest()
        ledger.change(row, holder=token)
        waiter = threading.Thread(target=wait)
        waiter.start()
        waiter.join(1)
        stop.set()
        waiter.join(5)
        found = list(ended)
    waiter.join()
    assert [type(one) for one in found] == [Interrupted]


def test_two_copies_of_a_clip_claimed_at_once_are_one_order(room, run):
    """Runs that plan the same calls agree, however the file is called, carried or priced for each."""
    plans = [json.dumps({"source": name, "segments": [1], "delivery": how}) for name, how in (("a", 1), ("b", 2))]
    run.ledger.claim(order(plan=plans[0]), [call()], run.terms, run.token, FREE)
    other = room.run()
    (claim,) = other.ledger.claim(order(plan=plans[1]), [call()], other.terms, other.token, FREE)
    assert claim.verdict == "wait"


def test_an_earlier_attempts_task_is_found_by_its_id(run):
    """A task that failed before the order was placed anew is still the order's."""
    row = run.paid()
    run.ledger.move(row, "failed")
    run.claim()
    _, found = Books(run.ledger).find("task-dusk")
    assert found.digest == row.order_digest


def test_a_late_answer_after_a_resubmission_is_not_lost(run):
    """Both attempts are paid then: the earlier one is listed, and resumed, too."""
    first = run.sent()
    run.ledger.move(first, "ambiguous")
    run.ledger.record(run.intend(run.claim(resubmit=True).row)[1], "task-second")
    run.ledger.record(first, "task-first")
    assert [row.task_id for row, _ in Books(run.ledger).open()] == ["task-first", "task-second"]


def test_a_lock_that_was_swept_away_sends_nothing(tmp_path):
    """A cleaner that empties the folder makes a live run look dead: it must not send beside the one that takes over."""
    room = Room(tmp_path / "data", None)
    run = room.run()
    row = run.claim().row
    for path in (tmp_path / "data" / "holders").iterdir():
        path.unlink()
    with pytest.raises(LedgerError, match="lost its lock"):
        run.intend(row)
    room.close()
